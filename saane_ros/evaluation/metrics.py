"""Every figure of a retrieval result, from distances and ground truth alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.evaluation.precision_recall import CONVENTIONS, PrecisionRecall, precision_recall
from saane_ros.evaluation.ratio import SECOND_BEST_WINDOW, best_matches
from saane_ros.evaluation.recall import Correct, correct_mask, recall_at

__all__ = [
    "HEADLINE",
    "SAANE_COMPARABLE",
    "CurveSummary",
    "PrecisionRecall",
    "RetrievalResult",
    "RetrievalScores",
    "curve_grid",
    "evaluate_retrieval",
    "precision_recall",
    "recall_at",
    "summarize_curve",
]

HEADLINE = "windowed+R2"
"""The package's own figure: a second best elsewhere on the route, the share of all queries."""
SAANE_COMPARABLE = "plain+R1"
"""The reading of the SAANE paper's ratio test that its protocol's lineage points to."""


@dataclass(frozen=True)
class RetrievalScores:
    """Distances (Q, N) of every query to every place, and the columns correct for each query."""

    distances: NDArray[np.floating]
    correct: Correct

    def __post_init__(self) -> None:
        if len(self.distances) != len(self.correct):
            raise SaaneError(
                f"The ground truth has {len(self.correct)} queries and the distances have "
                f"{len(self.distances)}: they must be of the same queries."
            )


@dataclass(frozen=True)
class CurveSummary:
    """What one precision-recall curve comes down to."""

    auc: float
    average_precision: float
    recall_at_99_precision: float
    recall_at_100_precision: float


@dataclass(frozen=True)
class RetrievalResult:
    """Figures over the queries that have a match; `excluded` counts those that have none.

    curves: per cell "plain+R1" ... "windowed+R3", never to be compared across cells.
    """

    queries: int
    excluded: int
    recall: dict[int, float]
    curves: dict[str, CurveSummary]

    @property
    def headline_auc(self) -> float:
        return self.curves[HEADLINE].auc

    @property
    def saane_comparable_auc(self) -> float:
        return self.curves[SAANE_COMPARABLE].auc

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the recall keys become text."""
        values = asdict(self)
        values["recall"] = {str(n): share for n, share in self.recall.items()}
        return values


def evaluate_retrieval(
    scores: RetrievalScores,
    recall_counts: Sequence[int] = (1, 5, 10),
    window: int = SECOND_BEST_WINDOW,
) -> RetrievalResult:
    """Recall@N and the six ratio-test curves of one system on one set of queries."""
    matrix = np.asarray(scores.distances)
    kept = [row for row, places in enumerate(scores.correct) if len(places)]
    if not kept:
        raise SaaneError("No query has a correct place in the map: check the ground truth.")
    distances, correct = matrix[kept], [scores.correct[row] for row in kept]
    plain, windowed = best_matches(distances), best_matches(distances, window)
    wanted = correct_mask(correct, *distances.shape)
    hits = wanted[np.arange(len(kept)), plain.best]
    return RetrievalResult(
        queries=len(kept),
        excluded=len(matrix) - len(kept),
        recall=recall_at(distances, correct, recall_counts),
        curves=curve_grid(plain.ratio, windowed.ratio, hits),
    )


def curve_grid(
    plain: NDArray[np.floating], windowed: NDArray[np.floating], correct: NDArray[np.bool_]
) -> dict[str, CurveSummary]:
    """The 2 x 3 grid {plain, windowed} x {R1, R2, R3} for ratios (Q,) and correctness (Q,)."""
    return {
        f"{name}+{convention}": summarize_curve(ratios, correct, convention)
        for name, ratios in (("plain", plain), ("windowed", windowed))
        for convention in CONVENTIONS
    }


def summarize_curve(
    scores: NDArray[np.floating], correct: NDArray[np.bool_], convention: str = "R2"
) -> CurveSummary:
    """AUC, average precision and the recall at 99 % and 100 % precision of one curve."""
    curve = precision_recall(scores, correct, convention)
    return CurveSummary(
        auc=curve.auc,
        average_precision=curve.average_precision,
        recall_at_99_precision=curve.recall_at_precision(0.99),
        recall_at_100_precision=curve.recall_at_precision(1.0),
    )
