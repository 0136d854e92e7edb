"""The report of an evaluation: tables, curves, distance matrices and the worst failures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.images.lists import NoImages
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.evaluation.charts import Axis, Series, chart
from saane_ros.evaluation.evaluator import Evaluation
from saane_ros.evaluation.metrics import HEADLINE, SAANE_COMPARABLE, precision_recall
from saane_ros.evaluation.protocols import FOOTNOTES
from saane_ros.evaluation.report import Picture, Report
from saane_ros.evaluation.results_table import TITLES, Block, Section
from saane_ros.types import Rgb
from saane_ros.visualization import Tile, attention_tile, side_by_side

SERIES_PER_CHART = 4
MATRIX_SIDE = 360
WORST = 4
TILE_HEIGHT = 240
ATTENTION_OPACITY = 0.55


def write_report(
    evaluations: Sequence[Evaluation],
    found: Sequence[Block],
    embedders: dict[str, NetworkEmbedder],
    command: str,
    path: Path,
    sections: Sequence[Section] = (),
) -> None:
    """`embedders` by name of the system: those whose attention maps can be shown.

    sections: tables of all datasets together, shown first.
    """
    report = Report("Evaluation", "Place recognition of every model on every dataset.")
    for section in sections:
        report.heading(section.title)
        report.paragraph(section.words)
        report.table(section.columns, section.rows)
        report.charts(section.charts)
    for block in found:
        report.heading(block.title)
        report.paragraph(block.words)
        report.table(TITLES, block.rows, strong=[block.best])
        rows = [one for one in evaluations if one.dataset.name == block.title]
        if rows:
            _dataset(report, rows, embedders)
    report.heading("How to read the figures")
    for note in FOOTNOTES:
        report.paragraph(note, quiet=True)
    report.commands(command)
    report.write(path)


def _dataset(
    report: Report, rows: Sequence[Evaluation], embedders: dict[str, NetworkEmbedder]
) -> None:
    for start in range(0, len(rows), SERIES_PER_CHART):
        group = rows[start : start + SERIES_PER_CHART]
        report.charts([_curves(group, HEADLINE), _curves(group, SAANE_COMPARABLE)])
    report.pictures([Picture(_matrices(rows), MATRIX_CAPTION)])
    for row in rows:
        if not isinstance(row.dataset.queries, NoImages):
            panels = _failures(row, embedders.get(row.system))
            if panels:
                report.paragraph(
                    f"{row.system}: the wrong answers it was surest of, by window ratio."
                )
                report.pictures(panels)


def _curves(rows: Sequence[Evaluation], cell: str) -> tuple[str, str]:
    """A chart of one cell of the grid, and its caption."""
    second, convention = cell.split("+")
    series = []
    for row in rows:
        matched = np.array([len(correct) > 0 for correct in row.dataset.correct])
        ratios = row.matches.plain_ratio if second == "plain" else row.matches.windowed_ratio
        curve = precision_recall(ratios[matched], row.matches.correct[matched], convention)
        series.append(Series(row.system, curve.recall, curve.precision))
    name = "headline" if cell == HEADLINE else "paper"
    drawn = chart(series, Axis("recall", 0, 1), Axis("precision", 0, 1))
    return drawn, f"{cell.replace('windowed', 'window')} ({name})"


MATRIX_CAPTION = (
    "Distances, queries downwards and references to the right, bright is near; each scaled to its "
    "own 1 % and 99 % quantile."
)


def _matrices(rows: Sequence[Evaluation]) -> Rgb:
    tiles = [Tile(row.system, matrix_picture(row.search.distances)) for row in rows]
    return side_by_side(tiles, rows[0].dataset.name, MATRIX_SIDE, columns=min(3, len(tiles)))


def matrix_picture(distances: NDArray[np.floating]) -> Rgb:
    """A distance matrix (Q, N) as a picture of at most `MATRIX_SIDE` pixels a side."""
    values = np.asarray(distances, np.float32)
    low, high = np.quantile(values, (0.01, 0.99))
    near = 1 - np.clip((values - low) / max(float(high - low), 1e-12), 0, 1)
    scale = MATRIX_SIDE / max(near.shape)
    size = max(1, round(near.shape[1] * scale)), max(1, round(near.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    levels = np.rint(cv2.resize(near, size, interpolation=method) * 255).astype(np.uint8)
    coloured = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), np.uint8)


def worst_failures(evaluation: Evaluation, count: int = WORST) -> list[int]:
    """Queries that have a match and got a wrong one, the surest first."""
    matches, dataset = evaluation.matches, evaluation.dataset
    wrong = [q for q, c in enumerate(dataset.correct) if len(c) and not matches.correct[q]]
    return sorted(wrong, key=lambda q: -matches.windowed_ratio[q])[:count]


def _failures(evaluation: Evaluation, embedder: NetworkEmbedder | None) -> list[Picture]:
    return [_panel(evaluation, q, embedder) for q in sorted(worst_failures(evaluation))]


def _panel(evaluation: Evaluation, query: int, embedder: NetworkEmbedder | None) -> Picture:
    dataset, matches = evaluation.dataset, evaluation.matches
    found, right = int(matches.found[query]), _nearest_right(evaluation, query)
    shown = dataset.queries.read(query), dataset.references.read(found)
    tiles = [
        Tile("query", shown[0]),
        Tile("found", shown[1]),
        Tile("right", dataset.references.read(right)),
    ]
    attended = _attention_tiles(shown, embedder)
    columns = max(len(tiles), len(attended))
    tiles += [Tile("", None)] * (columns - len(tiles)) + attended
    caption = _caption(dataset, evaluation, query, right)
    return Picture(side_by_side(tiles, caption, TILE_HEIGHT, columns), caption, "wrong", "bad")


def _attention_tiles(shown: Sequence[Rgb], embedder: NetworkEmbedder | None) -> list[Tile]:
    """Every attention map of the query and of what was found, each on a scale of its own."""
    if embedder is None:
        return []
    query, found = embedder.embed(shown, attention=True)
    return [
        attention_tile(
            f"{modality} attention, {what}",
            image,
            one.attention[modality],
            ATTENTION_OPACITY,
            TILE_HEIGHT,
        )
        for modality in query.attention
        for what, image, one in (("query", shown[0], query), ("found", shown[1], found))
    ]


def _nearest_right(evaluation: Evaluation, query: int) -> int:
    """The correct reference that the system found nearest."""
    rows = evaluation.dataset.correct[query]
    return int(rows[evaluation.search.distances[query, rows].argmin()])


def _caption(dataset: Dataset, evaluation: Evaluation, query: int, right: int) -> str:
    matches, distances = evaluation.matches, evaluation.search.distances[query]
    names = dataset.references.names
    error = matches.error[query]
    metres = f", {error:.0f} m off" if np.isfinite(error) else ""
    return (
        f"{dataset.queries.names[query]}: {names[int(matches.found[query])]} at "
        f"{matches.distance[query]:.3g}{metres}; right is {names[right]} at "
        f"{distances[right]:.3g}, rank {int(matches.rank[query]) + 1}"
    )
