"""The stage that has strong networks label images, for a light network to learn from them.

OUT/labels/ gets a map for every image under the image's own name, OUT/classes.yaml the classes and
OUT/report.json the figures. OUT/made_by.json says what made the maps and OUT/images.jsonl holds the
figures of each image, so that a cut run goes on where it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn

from saane_ros.data.images.files import is_image, read_image
from saane_ros.data.images.folders import natural_key
from saane_ros.data.images.labelled import (
    IGNORED,
    LabelClasses,
    counterparts,
    read_classes,
)
from saane_ros.embedding.segmenting import Segmentation, load_segmentation
from saane_ros.errors import SaaneError
from saane_ros.files import lock_folder, replacing_file, telling_full_disk
from saane_ros.progress import progress
from saane_ros.reading import no_folder, read_text
from saane_ros.training.teachers import Teacher, Verdict, verdict
from saane_ros.weights.card_files import load_card
from saane_ros.weights.tensors import tensors_digest

LONGEST = 1024
"""Pixels of a label map's longer side; the networks' own inputs are smaller."""

MADE_BY, FIGURES = "made_by.json", "images.jsonl"


@dataclass(frozen=True)
class PseudoLabels:
    """teachers: model cards, each with the file of counterparts of its classes, if it needs one.

    images: folders below `data`.  classes: a file of classes or a model card; "" for the first
    teacher's own.  confidence, flip, scales: see `Teacher` and `verdict`.
    """

    teachers: tuple[tuple[str, Path | None], ...]
    images: tuple[Path, ...]
    out: Path
    data: Path = Path()
    classes: str = ""
    confidence: float = 0.5
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    weights: str = ""
    device: str = "auto"


def write_pseudo_labels(options: PseudoLabels) -> dict[str, Any]:
    """Label every image that has no label map yet; the figures, also in OUT/report.json."""
    pictures = _pictures(options)
    loaded = [
        load_segmentation(name, options.weights, options.device) for name, _ in options.teachers
    ]
    classes = _classes(options.classes, loaded[0])
    meant = [
        counterparts(segmentation.class_names, classes.classes, path)
        for segmentation, (_, path) in zip(loaded, options.teachers, strict=True)
    ]
    made_by = _made_by(options, classes, loaded, meant)
    _check_maker(options.out, made_by)
    teachers = [
        Teacher(segmentation, own, len(classes.classes), options.flip, options.scales)
        for segmentation, own in zip(loaded, meant, strict=True)
    ]
    lock = lock_folder(options.out, f"run labels images into {options.out}")
    try:
        with telling_full_disk(options.out / "labels"):
            _write_json(options.out / MADE_BY, made_by)
            _write_classes(options.out / "classes.yaml", classes)
            _label(options, pictures, teachers)
            report = _report(options, classes.classes, list(pictures))
            _write_json(options.out / "report.json", report)
    finally:
        os.close(lock)
    return report


def _pictures(options: PseudoLabels) -> dict[str, Path]:
    """The images by the name of their label map below OUT/labels/, in natural order."""
    found: dict[str, Path] = {}
    for folder in options.images:
        given = options.data / folder
        if not given.is_dir():
            raise no_folder(given, "a folder of images below --data")
        below = os.path.relpath(given.absolute(), options.data.absolute())
        if below.startswith(".."):
            raise SaaneError(
                f"{given} does not lie below {options.data}: give a folder that holds all --images "
                "with --data, as label maps are named by the way from there."
            )
        paths = [path for path in given.rglob("*") if is_image(path)]
        if not paths:
            raise SaaneError(f"No image was found below {given}: name a folder of images.")
        for path in sorted(paths, key=lambda path: natural_key(str(path))):
            name = (PurePosixPath(below) / path.relative_to(given).as_posix()).with_suffix(".png")
            if found.setdefault(str(name), path) != path:
                raise SaaneError(
                    f"{found[str(name)]} and {path} would share one label map: rename one."
                )
    if any(
        (options.out / "labels").absolute() in path.absolute().parents for path in found.values()
    ):
        raise SaaneError(
            f"The label maps in {options.out} are among the images: choose an --out outside them."
        )
    return found


def _classes(given: str, first: Segmentation) -> LabelClasses:
    if not given:
        return LabelClasses(first.class_names, first.dynamic)
    if Path(given).is_file():
        found = read_classes(Path(given))
        return LabelClasses(found.classes, found.dynamic)
    semantics = load_card(given).semantics
    if semantics is None or not semantics.classes:
        raise SaaneError(f"Model {given} names no classes: give a card that does, or a file.")
    return LabelClasses(semantics.classes, semantics.dynamic)


def _made_by(
    options: PseudoLabels,
    classes: LabelClasses,
    loaded: Sequence[Segmentation],
    meant: Sequence[dict[int, int]],
) -> dict[str, Any]:
    """What decides about the labels, as JSON gives it back."""
    teachers = []
    for (name, _), segmentation, own in zip(options.teachers, loaded, meant, strict=True):
        names = {segmentation.class_names[a]: classes.classes[b] for a, b in own.items()}
        digest = tensors_digest(
            {
                f"{part}.{key}": value
                for part in ("trunk", "network")
                for key, value in _tensors(getattr(segmentation, part))
            }
        )
        size = [segmentation.preprocessing.height, segmentation.preprocessing.width]
        teachers.append(
            {"model": name, "weights": digest[:16], "input": size, "counterparts": names}
        )
    return {
        "teachers": teachers,
        "classes": list(classes.classes),
        "dynamic": list(classes.dynamic),
        "confidence": options.confidence,
        "flip": options.flip,
        "scales": list(options.scales),
    }


def _tensors(network: nn.Module | None) -> Iterable[tuple[str, Tensor]]:
    return network.state_dict().items() if network is not None else ()


def _check_maker(out: Path, made_by: dict[str, Any]) -> None:
    path = out / MADE_BY
    if not path.is_file():
        if (out / "labels").exists():
            raise SaaneError(
                f"{out / 'labels'} was not made by this command: give another folder with --out."
            )
        return
    try:
        before = json.loads(read_text(path, "The file"))
    except ValueError:
        before = {}
    other = [
        key for key in made_by if not isinstance(before, dict) or before.get(key) != made_by[key]
    ]
    if other:
        raise SaaneError(
            f"{out} holds labels that were made with other {', '.join(other)} (see {MADE_BY}): "
            "give another folder with --out, or remove that one."
        )


def _label(options: PseudoLabels, pictures: dict[str, Path], teachers: Sequence[Teacher]) -> None:
    journal = options.out / FIGURES
    figures = _read_figures(journal)
    labels = options.out / "labels"
    done = {name for name in figures if (labels / name).is_file()}
    with replacing_file(journal) as temporary:  # without a line that a kill cut
        temporary.write_text("".join(json.dumps(figures[name]) + "\n" for name in sorted(done)))
    missing = {name: path for name, path in pictures.items() if name not in done}
    known = [teacher.known for teacher in teachers]
    with journal.open("a", encoding="utf-8") as lines:
        for name, path in progress(missing.items(), "pseudo-labels", len(missing), "image"):
            image = read_image(path)
            size = _map_size(image.shape[0], image.shape[1])
            found = verdict(
                [teacher.answer(image, size) for teacher in teachers], known, options.confidence
            )
            with replacing_file(labels / name) as temporary:
                temporary.write_bytes(cv2.imencode(".png", found.labels)[1].tobytes())
            lines.write(json.dumps({"map": name, **_figures(found)}) + "\n")
            lines.flush()


def _map_size(height: int, width: int) -> tuple[int, int]:
    shrink = min(1.0, LONGEST / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _figures(found: Verdict) -> dict[str, Any]:
    """Plain values of one image; `pixels` and `confidence` are sums by label that occurs."""
    pixels = np.bincount(found.labels.ravel(), minlength=256)
    sums = np.bincount(found.labels.ravel(), found.confidence.ravel(), minlength=256)
    occurring = [int(label) for label in np.flatnonzero(pixels)]
    return {
        "pixels": {str(label): int(pixels[label]) for label in occurring},
        "confidence": {str(label): round(float(sums[label]), 3) for label in occurring},
        "asked": found.asked,
        "agreed": found.agreed,
        "refused": found.refused,
    }


def _read_figures(journal: Path) -> dict[str, dict[str, Any]]:
    """The figures of each image by the name of its map; lines that were cut are left out."""
    figures = {}
    for line in read_text(journal, "The file").splitlines() if journal.is_file() else ():
        try:
            figures[json.loads(line)["map"]] = json.loads(line)
        except (ValueError, KeyError, TypeError):
            continue
    return figures


def _report(options: PseudoLabels, names: Sequence[str], maps: Sequence[str]) -> dict[str, Any]:
    """The figures of all images of this call, however many calls have labelled them."""
    figures = _read_figures(options.out / FIGURES)
    rows = [figures[name] for name in maps]
    pixels, sums = (_summed(rows, key) for key in ("pixels", "confidence"))
    total, labelled = pixels.sum(), pixels.sum() - pixels[IGNORED]
    further = {
        name: _agreement([(r["asked"][i], r["agreed"][i], r["refused"][i]) for r in rows], total)
        for i, (name, _) in enumerate(options.teachers[1:])
    }
    return {
        "images": len(rows),
        "ignored": float(pixels[IGNORED] / total),
        "confidence": _ratio(sums[: len(names)].sum(), labelled),
        "classes": {
            name: {
                "pixels": int(pixels[i]),
                "share": float(pixels[i] / total),
                "confidence": _ratio(sums[i], pixels[i]),
            }
            for i, name in enumerate(names)
        },
        "agreement": further,
    }


def _summed(rows: Sequence[dict[str, Any]], key: str) -> NDArray[np.float64]:
    total = np.zeros(256)
    for row in rows:
        for label, value in row[key].items():
            total[int(label)] += value
    return total


def _agreement(counts: Sequence[tuple[int, int, int]], total: float) -> dict[str, float | None]:
    """asked: share of all pixels.  agreed: share of those.  refused: share of all pixels."""
    asked, agreed, refused = (float(n) for n in np.sum(counts, axis=0))
    return {
        "asked": asked / total,
        "agreed": _ratio(agreed, asked),
        "refused": refused / total,
    }


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with replacing_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n")


def _write_classes(path: Path, classes: LabelClasses) -> None:
    values = {"classes": list(classes.classes), "dynamic": list(classes.dynamic)}
    with replacing_file(path) as temporary:
        temporary.write_text(
            yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100)
        )


def report_table(report: dict[str, Any]) -> str:
    """The figures as text, one row a class that occurs."""
    lines = [f"{'':<24}{'share':>8}{'confidence':>12}"]
    for name, row in report["classes"].items():
        if row["pixels"]:
            lines.append(f"{name:<24}{row['share']:8.1%}{row['confidence']:12.3f}")
    lines.append(f"{'ignored':<24}{report['ignored']:8.1%}")
    for name, row in report["agreement"].items():
        agreed = "" if row["agreed"] is None else f" and agreed on {row['agreed']:.1%} of those"
        lines.append(
            f"{name} was asked on {row['asked']:.1%} of the pixels{agreed}; it had "
            f"{row['refused']:.1%} of all ignored by contradicting"
        )
    return "\n".join(lines)
