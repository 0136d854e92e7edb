"""What was found for every query, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from saane_ros.evaluation.evaluator import Evaluation
from saane_ros.evaluation.recall import NO_RANK
from saane_ros.files import replacing_file

COLUMNS = (
    "dataset",
    "model",
    "query_index",
    "query",
    "found_index",
    "found",
    "has_match",
    "correct",
    "first_correct_rank",
    "distance",
    "ratio_plain",
    "ratio_windowed",
    "error_m",
)


def write_predictions(evaluations: Sequence[Evaluation], path: Path) -> None:
    """One row a query and model; ranks count from 1, unknown values are empty."""
    with (
        replacing_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for evaluation in evaluations:
            writer.writerows(_rows(evaluation))


def _rows(evaluation: Evaluation) -> Iterator[tuple[object, ...]]:
    dataset, matches = evaluation.dataset, evaluation.matches
    for query, name in enumerate(dataset.queries.names):
        found, rank = int(matches.found[query]), int(matches.rank[query])
        error = float(matches.error[query])
        yield (
            dataset.name,
            evaluation.system,
            query,
            name,
            found,
            dataset.references.names[found],
            int(len(dataset.correct[query]) > 0),
            int(matches.correct[query]),
            "" if rank == NO_RANK else rank + 1,
            f"{matches.distance[query]:.6g}",
            f"{matches.plain_ratio[query]:.6g}",
            f"{matches.windowed_ratio[query]:.6g}",
            f"{error:.3f}" if np.isfinite(error) else "",
        )
