"""Intersection over union of label maps, per class and for static against dynamic pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.images.labelled import IGNORED

Confusion = NDArray[np.int64]


def confusion_of(
    labels: NDArray[np.uint8], predicted: NDArray[np.integer], classes: int
) -> Confusion:
    """Pixel counts (classes, classes) by true label (row) and predicted label (column)."""
    known = labels != IGNORED
    pairs = labels[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def intersection_over_union(confusion: Confusion) -> NDArray[np.float64]:
    """IoU (classes,); NaN for a class that is neither labelled nor predicted."""
    hits = np.diag(confusion).astype(np.float64)
    union = confusion.sum(0) + confusion.sum(1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


def merged_classes(confusion: Confusion, groups: Sequence[Iterable[int]]) -> Confusion:
    """The confusion of groups of classes, such as static and dynamic ones."""
    member = np.zeros((len(groups), len(confusion)), np.int64)
    for row, group in zip(member, groups, strict=True):
        row[list(group)] = 1
    return member @ confusion @ member.T


def iou_report(
    confusion: Confusion,
    names: Sequence[str],
    dynamic: Sequence[str] = (),
    known: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Plain values: IoU by class, their mean, pixel accuracy, and the static/dynamic split.

    The IoU of a class that is neither there nor predicted is None.
    known: the classes that the labels can hold; only their IoU counts, but to predict another
    class on their pixels is a mistake.
    """
    ious = intersection_over_union(confusion)
    counted = range(len(names)) if known is None else known
    report: dict[str, Any] = {
        "mIoU": float(np.nanmean(ious[list(counted)])),
        "pixel_accuracy": float(np.trace(confusion) / max(confusion.sum(), 1)),
        "IoU": {names[i]: None if np.isnan(ious[i]) else float(ious[i]) for i in counted},
    }
    if dynamic:
        moving = [i for i, name in enumerate(names) if name in dynamic]
        still = [i for i in range(len(names)) if i not in moving]
        split = intersection_over_union(merged_classes(confusion, [still, moving]))
        report["static_dynamic_IoU"] = float(np.nanmean(split))
        report["static_IoU"], report["dynamic_IoU"] = map(float, split)
    return report


def iou_table(reports: dict[str, dict[str, Any]]) -> str:
    """A text table: one column per split, one row per class and summary."""
    names = list(dict.fromkeys(name for report in reports.values() for name in report["IoU"]))
    others = [key for key in next(iter(reports.values())) if key != "IoU"]
    rows = [(name, [report["IoU"].get(name) for report in reports.values()]) for name in names]
    rows += [(key, [report[key] for report in reports.values()]) for key in others]
    width = max(len(name) for name, _ in rows)
    lines = [" " * width + "".join(f"{split:>12}" for split in reports)]
    for name, values in rows:
        cells = (" " * 12 if value is None else f"{value:12.3f}" for value in values)
        lines.append(f"{name:<{width}}" + "".join(cells).rstrip())
    return "\n".join(lines)
