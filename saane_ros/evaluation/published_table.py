"""A paper's table from one YAML file: which systems and datasets it has, and what it published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.errors import SaaneError
from saane_ros.evaluation.evaluator import Evaluation
from saane_ros.evaluation.metrics import HEADLINE, SAANE_COMPARABLE
from saane_ros.evaluation.results_table import OVER_SETS, UNKNOWN, Section, pair_us
from saane_ros.reading import read_yaml
from saane_ros.weights.cards import ModelCard
from saane_ros.weights.schema import read_mapping

TIMES: dict[str, Callable[[Evaluation], float | None]] = {
    "embed ms": lambda row: row.search.embed_ms,
    "search ms": lambda row: row.search.search_ms,
    "pair us": pair_us,
}
"""Columns of time, each the median over the datasets."""


@dataclass(frozen=True)
class PublishedColumn:
    """A dataset by name or YAML file, or the average or the worst of its query sets."""

    title: str
    dataset: str
    over_sets: Literal["average", "worst"] = "average"


@dataclass(frozen=True)
class PublishedRow:
    """A system, the model that stands for it, and its published area by column, in per cent."""

    title: str
    model: str
    published: tuple[float, ...]


@dataclass(frozen=True)
class PublishedCount:
    """How many images of a dataset were published, as it was written."""

    title: str
    dataset: str
    images: Literal["references", "queries"]
    published: str


@dataclass(frozen=True)
class PublishedTable:
    """source: where the figures were published."""

    source: str
    columns: tuple[PublishedColumn, ...]
    rows: tuple[PublishedRow, ...]
    counts: tuple[PublishedCount, ...] = ()

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(column.dataset for column in self.columns))

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(row.model for row in self.rows))


def read_published_table(path: Path) -> PublishedTable:
    """Read and check a table's file; SaaneError names every mistake."""
    values = read_yaml(path, "The table")
    problems: list[str] = []
    table = read_mapping(PublishedTable, values, "", problems)
    for row in table.rows if table is not None else ():
        if len(row.published) != len(table.columns):  # type: ignore[union-attr]
            problems.append(f"{row.title} has {len(row.published)} figures, one a column is needed")
    if table is not None and not (table.columns and table.rows):
        problems.append("it has no columns or no rows")
    if table is None or problems:
        raise SaaneError(f"The table {path} has mistakes: {'; '.join(problems)}. Correct them.")
    return table


def published_sections(
    table: PublishedTable,
    evaluations: Sequence[Evaluation],
    systems: Mapping[str, str],
    opened: Mapping[str, Sequence[Dataset]],
) -> list[Section]:
    """The table with what was measured beside what was published, and its counts of images.

    systems: name of the system by model.  opened: the datasets by the name that opened them; models
    and datasets that are not there leave their cells empty.
    """
    times = [f"{name}, median" for name in TIMES]
    rows = [
        _row(table, row, [e for e in evaluations if e.system == systems.get(row.model)], opened)
        for row in table.rows
    ]
    titles = ["system", "model", *(column.title for column in table.columns), *times]
    sections = [
        Section(
            table.source,
            "areas under the precision-recall curve in per cent, paper's convention "
            f"({SAANE_COMPARABLE}) / headline ({HEADLINE.replace('windowed', 'window')}) "
            "[published]. The published ones are of other weights, trained on other images.",
            titles,
            rows,
        )
    ]
    if table.counts:
        counts = [
            [count.title, _count(count, opened.get(count.dataset, ())), count.published]
            for count in table.counts
        ]
        words = "as these readers give them, and as published."
        sections.append(Section("Images", words, ["images", "here", "published"], counts))
    return sections


def authors_section(cards: Sequence[ModelCard]) -> Section:
    """What others measured with the models, each row marked as published."""
    rows = [
        [card.name, figure.benchmark, f"[{figure.recall_at_1:.1f}]", figure.protocol, figure.source]
        for card in cards
        for figure in card.published
    ]
    return Section(
        "Published",
        "Recall@1 in per cent [as its source published it; quoted: read in a copy of the table], "
        "not measured here; figures of different protocols cannot be compared, nor with those "
        "above.",
        ["model", "benchmark", "R@1", "protocol", "source"],
        rows,
    )


def _row(
    table: PublishedTable,
    row: PublishedRow,
    found: Sequence[Evaluation],
    opened: Mapping[str, Sequence[Dataset]],
) -> list[str]:
    cells = []
    for column, published in zip(table.columns, row.published, strict=True):
        names = [dataset.name for dataset in opened.get(column.dataset, ())]
        here = [evaluation for evaluation in found if evaluation.dataset.name in names]
        areas = [
            _area([one.result.curves[cell].auc for one in here], column.over_sets)
            for cell in (SAANE_COMPARABLE, HEADLINE)
        ]
        cells.append(f"{' / '.join(areas)} [{published:.1f}]")
    return [row.title, row.model, *cells, *(_median(map(of, found)) for of in TIMES.values())]


def _area(values: Sequence[float], over_sets: str) -> str:
    return f"{100 * OVER_SETS[over_sets](values):.1f}" if values else UNKNOWN


def _median(values: Any) -> str:
    known = [value for value in values if value is not None]
    return f"{np.median(known):.2f}" if known else UNKNOWN


def _count(count: PublishedCount, datasets: Sequence[Dataset]) -> str:
    """The number of images, or of several query sets their mean and range."""
    sizes = [len(getattr(dataset, count.images)) for dataset in datasets]
    if len(set(sizes)) < 2:
        return str(sizes[0]) if sizes else UNKNOWN
    return f"{np.mean(sizes):.0f} ({min(sizes)} to {max(sizes)})"
