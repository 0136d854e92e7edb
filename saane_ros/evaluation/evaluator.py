"""From one system's distances on one dataset to everything that is reported of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.evaluation.metrics import (
    HEADLINE,
    RetrievalResult,
    RetrievalScores,
    evaluate_retrieval,
)
from saane_ros.evaluation.protocols import protocol_in_words
from saane_ros.evaluation.ratio import SECOND_BEST_WINDOW, best_matches
from saane_ros.evaluation.recall import first_correct_ranks, recall_at
from saane_ros.evaluation.searches import Search

RECALL_COUNTS = (1, 5, 10)
RADII_M = (5, 10, 25)
ERROR_QUANTILES = (0.5, 0.9, 0.95)


@dataclass(frozen=True)
class Matches:
    """Per query: found, the nearest reference; its distance, both ratios, whether it is right.

    rank: of the nearest correct reference, 0 the best.  error: metres from the query to the found
    reference, NaN where a position is unknown.  Each (Q,).
    """

    found: NDArray[np.int64]
    distance: NDArray[np.float64]
    plain_ratio: NDArray[np.float64]
    windowed_ratio: NDArray[np.float64]
    correct: NDArray[np.bool_]
    rank: NDArray[np.int64]
    error: NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """One row of the table. metric_recall: Recall@N within metres; empty without positions.

    errors: metres at `ERROR_QUANTILES`, of all queries with a position.
    """

    system: str
    dataset: Dataset
    search: Search
    result: RetrievalResult
    matches: Matches
    metric_recall: dict[int, dict[int, float]]
    errors: dict[float, float]
    protocol: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "dataset": self.dataset.name,
            "group": self.dataset.group,
            "model": self.system,
            "protocol": self.protocol,
            "references": len(self.dataset.references),
            **self.result.as_dict(),
            "recall_within_metres": {
                str(radius): {str(n): share for n, share in recalls.items()}
                for radius, recalls in self.metric_recall.items()
            },
            "localisation_error_m": {f"p{100 * q:g}": e for q, e in self.errors.items()},
            "descriptor_bytes": self.search.descriptor_bytes,
            "model_bytes": self.search.memory.model,
            "embed_added_bytes": self.search.memory.added,
            "embed_ms": self.search.embed_ms,
            "search_ms": self.search.search_ms,
            "resolution": self.search.resolution,
        }

    @property
    def recall_at_99_precision(self) -> float:
        return self.result.curves[HEADLINE].recall_at_99_precision

    @property
    def recall_at_100_precision(self) -> float:
        return self.result.curves[HEADLINE].recall_at_100_precision


def evaluate(system: str, dataset: Dataset, search: Search) -> Evaluation:
    """All figures of one search; the ratio test leaves out queries without a match."""
    result = evaluate_retrieval(RetrievalScores(search.distances, dataset.correct), RECALL_COUNTS)
    if dataset.all_queries:
        recall = recall_at(search.distances, dataset.correct, RECALL_COUNTS, all_queries=True)
        result = replace(result, recall=recall)
    metres = _metres(dataset)
    matches = _matches(dataset, search.distances, metres)
    known = matches.error[np.isfinite(matches.error)]
    errors = {q: float(np.quantile(known, q)) for q in ERROR_QUANTILES} if len(known) else {}
    return Evaluation(
        system,
        dataset,
        search,
        result,
        matches,
        {} if metres is None else _metric_recall(search.distances, metres),
        errors,
        protocol_in_words(dataset, search),
    )


def _matches(
    dataset: Dataset, distances: NDArray[np.floating], metres: NDArray[np.float64] | None
) -> Matches:
    plain, windowed = best_matches(distances), best_matches(distances, SECOND_BEST_WINDOW)
    rows = np.arange(len(distances))
    ranks = first_correct_ranks(distances, dataset.correct)
    return Matches(
        found=plain.best,
        distance=np.asarray(distances[rows, plain.best], np.float64),
        plain_ratio=plain.ratio,
        windowed_ratio=windowed.ratio,
        correct=ranks == 0,
        rank=ranks,
        error=np.full(len(rows), np.nan) if metres is None else metres[rows, plain.best],
    )


def _metres(dataset: Dataset) -> NDArray[np.float64] | None:
    """Metres (Q, N) between queries and references, where both have positions."""
    if dataset.query_positions is None or dataset.reference_positions is None:
        return None
    return np.stack(
        [
            np.linalg.norm(dataset.reference_positions - here, axis=1)
            for here in dataset.query_positions
        ]
    )


def _metric_recall(
    distances: NDArray[np.floating], metres: NDArray[np.float64]
) -> dict[int, dict[int, float]]:
    """Share of queries with a position that have a reference within a radius among the N best."""
    order = np.argsort(distances, axis=1, kind="stable")[:, : max(RECALL_COUNTS)]
    known = np.isfinite(metres).any(axis=1)
    nearest = np.take_along_axis(metres, order, axis=1)[known]
    return {radius: _shares(nearest <= radius, RECALL_COUNTS) for radius in RADII_M}


def _shares(hits: NDArray[np.bool_], counts: Sequence[int]) -> dict[int, float]:
    return {n: float(hits[:, :n].any(axis=1).mean()) if len(hits) else 0.0 for n in counts}
