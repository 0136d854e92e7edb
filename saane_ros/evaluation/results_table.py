"""The comparison table: one row a model, one block a dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from saane_ros.evaluation.evaluator import Evaluation
from saane_ros.evaluation.metrics import HEADLINE, SAANE_COMPARABLE
from saane_ros.evaluation.protocols import FOOTNOTES, split_in_words

UNKNOWN = "-"
MARKS = {SAANE_COMPARABLE: "*", HEADLINE: "**"}
OVER_SETS: dict[str, Callable[..., Any]] = {"average": np.mean, "worst": np.min}
"""How the query sets of one dataset are told together."""


@dataclass(frozen=True)
class Column:
    """title: of the head.  value: of one row, None where unknown.  form: of the number."""

    title: str
    value: Callable[[Evaluation], float | None]
    form: str = ".3f"


@dataclass(frozen=True)
class Block:
    """title: the dataset or group.  words: its protocol.  rows: model name and cells.

    best: index of the row with the best headline figure.
    """

    title: str
    words: str
    rows: list[list[str]]
    best: int


@dataclass(frozen=True)
class Section:
    """One more table: what it says in words, its columns, and rows that begin with a name.

    charts: (SVG, caption), shown in the report alone.
    """

    title: str
    words: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    charts: Sequence[tuple[str, str]] = ()

    def text(self) -> str:
        """The table for a terminal."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return "\n".join(
            [f"{self.title}: {self.words}", *(aligned(line, widths) for line in lines)]
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, cells as they are printed."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "words": self.words, "rows": rows}


def _curve(cell: str) -> Column:
    title = cell.replace("windowed", "window") + MARKS.get(cell, "")
    return Column(title, lambda row: row.result.curves[cell].auc)


def _recall(count: int) -> Column:
    return Column(f"R@{count}", lambda row: row.result.recall[count])


def _error(quantile: float) -> Column:
    title = f"err p{100 * quantile:g} m"
    return Column(title, lambda row: row.errors.get(quantile), ".1f")


def pair_us(row: Evaluation) -> float | None:
    """Microseconds of comparing a query with one reference."""
    search_ms = row.search.search_ms
    return None if search_ms is None else 1000 * search_ms / len(row.dataset.references)


def _megabytes(size: int | None) -> float | None:
    return None if size is None else size / 1e6


COLUMNS = (
    *(
        _curve(f"{second}+{recall}")
        for second in ("plain", "windowed")
        for recall in ("R1", "R2", "R3")
    ),
    *(_recall(count) for count in (1, 5, 10)),
    Column("R 100%P", lambda row: row.recall_at_100_precision),
    Column("R 99%P", lambda row: row.recall_at_99_precision),
    _error(0.5),
    _error(0.95),
    Column("bytes", lambda row: row.search.descriptor_bytes, "d"),
    Column("embed ms", lambda row: row.search.embed_ms, ".1f"),
    Column("search ms", lambda row: row.search.search_ms, ".2f"),
    Column("pair us", pair_us, ".2f"),
    Column("model MB", lambda row: _megabytes(row.search.memory.model), ".1f"),
    Column("embed MB", lambda row: _megabytes(row.search.memory.added), ".0f"),
)
TITLES = ("model", *(column.title for column in COLUMNS))
SCORES = COLUMNS[:11]
"""The columns of which a higher value is better, and of which groups tell average and worst."""


def blocks(evaluations: Sequence[Evaluation]) -> list[Block]:
    """One block a dataset in order, and one more with average and worst for each group."""
    by_dataset: dict[str, list[Evaluation]] = {}
    by_group: dict[str, list[Evaluation]] = {}
    for one in evaluations:
        by_dataset.setdefault(one.dataset.name, []).append(one)
        if one.dataset.group:
            by_group.setdefault(one.dataset.group, []).append(one)
    found = [_block(name, rows) for name, rows in by_dataset.items()]
    return found + [_group_block(name, rows) for name, rows in by_group.items()]


def _block(name: str, rows: Sequence[Evaluation]) -> Block:
    cells = [[row.system, *(_cell(c, c.value(row)) for c in COLUMNS)] for row in rows]
    best = int(np.argmax([row.result.headline_auc for row in rows]))
    return Block(name, split_in_words(rows[0].dataset), cells, best)


def _group_block(name: str, rows: Sequence[Evaluation]) -> Block:
    cells, means = [], []
    for system in dict.fromkeys(row.system for row in rows):
        own = [row for row in rows if row.system == system]
        values = np.array([[column.value(row) for column in SCORES] for row in own], np.float64)
        means.append(float(np.mean([row.result.headline_auc for row in own])))
        blanks = [""] * (len(COLUMNS) - len(SCORES))
        for word, over in OVER_SETS.items():
            line = over(values, axis=0)
            cells.append([f"{system} ({word})", *(f"{v:.3f}" for v in line), *blanks])
    sets = len({row.dataset.name for row in rows})
    return Block(name, f"average and worst of {sets} query sets", cells, 2 * int(np.argmax(means)))


def _cell(column: Column, value: float | None) -> str:
    return UNKNOWN if value is None else format(value, column.form)


def as_text(found: Sequence[Block]) -> str:
    """The table for a terminal, with the protocol of every block and the footnotes."""
    rows = [row for block in found for row in block.rows]
    widths = [max(len(row[i]) for row in [list(TITLES), *rows]) for i in range(len(TITLES))]
    lines = [aligned(TITLES, widths), "-" * (sum(widths) + 2 * len(widths) - 2)]
    for block in found:
        lines += [f"{block.title}: {block.words}"]
        lines += [aligned(row, widths) for row in block.rows]
        lines += [""]
    return "\n".join([*lines, *FOOTNOTES])


def aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One line of a table in columns of these widths, the first to the left."""
    first = cells[0].ljust(widths[0])
    return "  ".join([first, *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))])
