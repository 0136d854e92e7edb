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
    confusion: Confusion, names: Sequence[str], dynamic: Sequence[str] = ()
) -> dict[str, Any]:
    """Plain values: IoU by class, their mean, pixel accuracy, and the static/dynamic split."""
    ious = intersection_over_union(confusion)
    report: dict[str, Any] = {
        "mIoU": float(np.nanmean(ious)),
        "pixel_accuracy": float(np.trace(confusion) / max(confusion.sum(), 1)),
        "IoU": {name: float(iou) for name, iou in zip(names, ious, strict=True)},
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
    splits = list(reports)
    first = reports[splits[0]]
    rows = [*((name, "IoU") for name in first["IoU"])]
    rows += [(key, "") for key in first if key != "IoU"]
    width = max(len(name) for name, _ in rows)
    lines = [" " * width + "".join(f"{split:>12}" for split in splits)]
    for name, inside in rows:
        values = [(reports[s][inside] if inside else reports[s])[name] for s in splits]
        lines.append(f"{name:<{width}}" + "".join(f"{value:12.3f}" for value in values))
    return "\n".join(lines)
