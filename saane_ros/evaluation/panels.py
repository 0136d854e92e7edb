"""A page of panels: queries, what several systems find for them, what they attend to and see.

Attention maps of one system and modality have one scale on the whole page, from the lowest to the
highest value shown, so that the pictures can be compared; it stands below each of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.evaluation.evaluator import Evaluation
from saane_ros.evaluation.report import Picture, Report
from saane_ros.types import Embedding, Rgb
from saane_ros.visualization import class_colours, overlay_attention, overlay_labels

SIDE = 360
"""Pixels of the longer side of a picture."""
ATTENTION_OPACITY, LABEL_OPACITY = 0.65, 0.55


@dataclass(frozen=True)
class Seen:
    """What a system says of an image that it is shown with.  what: "query" or "found"."""

    what: str
    image: Rgb
    embedding: Embedding


@dataclass(frozen=True)
class Shown:
    """A system with its figures, and the two images of each chosen query where it has maps."""

    evaluation: Evaluation
    embedder: Embedder | None
    seen: dict[int, list[Seen]]


def chosen_queries(dataset: Dataset, wanted: Sequence[str]) -> list[int]:
    """Rows of the queries of these names; of one number, so many spread evenly over the drive.

    Drawn are those that have a match.  Raises SaaneError for a name that is not there.
    """
    names = list(dataset.queries.names)
    if len(wanted) == 1 and wanted[0] not in names and wanted[0].isdecimal():
        matched = np.flatnonzero([len(rows) > 0 for rows in dataset.correct])
        count = min(int(wanted[0][:9]), len(matched))
        if not count:
            raise SaaneError("No query is asked for: give --queries a number above 0, or names.")
        return matched[np.linspace(0, len(matched) - 1, count).round().astype(int)].tolist()
    for name in wanted:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1) or names[:1]
            raise SaaneError(
                f"{dataset.name} has no query {name!r}: give names such as {close[0]}, or a number."
            )
    return [names.index(name) for name in wanted]


def write_panels(
    evaluations: Sequence[Evaluation],
    embedders: Mapping[str, Embedder],
    queries: dict[str, list[int]],
    command: str,
    path: Path,
) -> None:
    """The page.  embedders: by name of the system.  queries: chosen rows by name of the dataset."""
    report = Report("Panels", "What each system finds, where it looks, and what it sees there.")
    report.paragraph(
        "A green border: the found image is right; a red one: it is not. Of the right references "
        "of a query the middle one is shown as its place. Distances are of the descriptors of one "
        "system and not comparable between systems. Attention is laid over the grey image, on one "
        "scale for all pictures of a system and modality on this page.",
        quiet=True,
    )
    for name, rows in queries.items():
        own = [one for one in evaluations if one.dataset.name == name]
        shown = [_shown(one, embedders.get(one.system), rows) for one in own]
        report.heading(name)
        for number, row in enumerate(rows):
            report.subheading(f"Query {number + 1} of {len(rows)}")
            _panel(report, shown, row)
    report.commands(command)
    report.write(path)


def _shown(evaluation: Evaluation, embedder: Embedder | None, rows: Sequence[int]) -> Shown:
    if embedder is None:
        return Shown(evaluation, None, {})
    dataset, seen = evaluation.dataset, {}
    for row in rows:
        images = [
            dataset.queries.read(row),
            dataset.references.read(int(evaluation.matches.found[row])),
        ]
        found = embedder.embed(images, attention=True, labels=True)
        if found[0].attention or found[0].labels is not None:
            seen[row] = [
                Seen(what, _at_side(image), one)
                for what, image, one in zip(("query", "found"), images, found, strict=True)
            ]
    return Shown(evaluation, embedder, seen)


def _panel(report: Report, shown: Sequence[Shown], row: int) -> None:
    dataset = shown[0].evaluation.dataset
    tiles = [Picture(_at_side(dataset.queries.read(row)), dataset.queries.names[row], "query")]
    if len(right := dataset.correct[row]):
        middle = int(right[len(right) // 2])
        image, name = dataset.references.read(middle), dataset.references.names[middle]
        tiles.append(Picture(_at_side(image), name, "its place"))
    report.tiles(tiles + [_found(one.evaluation, row) for one in shown])
    for one in shown:
        if pictures := list(_maps(one, row)):
            report.subheading(one.evaluation.system, depth=2)
            report.tiles(pictures)
    for names, classes in _classes(shown, row):
        colours = class_colours(names)
        report.legend([(names[k], colours[k].tolist()) for k in classes])


def _found(evaluation: Evaluation, row: int) -> Picture:
    dataset, matches = evaluation.dataset, evaluation.matches
    found = int(matches.found[row])
    image, name = _at_side(dataset.references.read(found)), dataset.references.names[found]
    caption = f"{name}, distance {matches.distance[row]:.3f}"
    if np.isfinite(matches.error[row]):
        caption += f", {matches.error[row]:.0f} m off"
    if not len(dataset.correct[row]):
        return Picture(image, f"{caption}; the query has no match", evaluation.system)
    right = bool(matches.correct[row])
    verdict = f"{evaluation.system}: {'right' if right else 'wrong'}"
    return Picture(image, caption, verdict, "good" if right else "bad")


def _maps(shown: Shown, row: int) -> Iterator[Picture]:
    """Attention maps and segmentation of a query and of what was found for it."""
    for one in shown.seen.get(row, ()):
        grey = cv2.cvtColor(cv2.cvtColor(one.image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        for modality, values in one.embedding.attention.items():
            limits = low, high = _range(shown, modality)
            yield Picture(
                overlay_attention(np.asarray(grey, np.uint8), values, ATTENTION_OPACITY, limits),
                f"{modality} attention, {values.min():.3f} to {values.max():.3f}",
                one.what,
                scale=(f"{low:.3f}", f"{high:.3f}"),
            )
        if one.embedding.labels is not None and shown.embedder is not None:
            names = shown.embedder.class_names
            labelled = overlay_labels(one.image, one.embedding.labels, names, LABEL_OPACITY)
            yield Picture(labelled, "segmentation", one.what)


def _range(shown: Shown, modality: str) -> tuple[float, float]:
    """The lowest and highest attention of a modality in everything that a system is shown with."""
    maps = [
        one.embedding.attention[modality]
        for pair in shown.seen.values()
        for one in pair
        if modality in one.embedding.attention
    ]
    return float(min(map(np.min, maps))), float(max(map(np.max, maps)))


def _classes(shown: Sequence[Shown], row: int) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    """Class names of each different segmentation, and the classes that it shows, most first."""
    counted: dict[tuple[str, ...], np.ndarray] = {}
    for one in shown:
        for seen in one.seen.get(row, ()):
            if seen.embedding.labels is not None and one.embedder is not None:
                names = tuple(one.embedder.class_names)
                counts = np.bincount(seen.embedding.labels.ravel(), minlength=len(names))
                counted[names] = counted.get(names, 0) + counts
    for names, counts in counted.items():
        order = np.argsort(-counts, kind="stable")
        yield names, [int(k) for k in order if counts[k] > 0]


def _at_side(image: Rgb) -> Rgb:
    scale = SIDE / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
