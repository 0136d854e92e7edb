"""Precision over recall as the acceptance threshold on a score falls.

Recall has three public conventions, which must never be compared with one another:

R1  TP / (TP + rejected)   every query has a match, so a rejected one is missed (Suenderhauf et
                           al. 2015); the curve ends at recall 1
R2  TP / queries           the share of all queries answered correctly; ends at Recall@1
R3  TP / correct           the share of the correct answers that are accepted (scikit-learn)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError

CONVENTIONS = ("R1", "R2", "R3")


@dataclass(frozen=True)
class PrecisionRecall:
    """Points of a curve by falling threshold, each float64 (P,).

    One point per distinct score (equal scores share a threshold), after a first point at recall 0
    with the precision of the highest score.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    thresholds: NDArray[np.float64]

    @property
    def auc(self) -> float:
        """Area under the curve by the trapezoid rule over recall."""
        widths = np.diff(self.recall)
        return float(np.sum(widths * (self.precision[1:] + self.precision[:-1]) / 2))

    @property
    def average_precision(self) -> float:
        """Step-wise area: every step in recall weighs the precision at its end."""
        return float(np.sum(np.diff(self.recall) * self.precision[1:]))

    def recall_at_precision(self, precision: float) -> float:
        """The largest recall of any threshold with at least this precision; 0 where none has."""
        return float(self.recall[self.precision >= precision].max(initial=0.0))


def precision_recall(
    scores: NDArray[np.floating], correct: NDArray[np.bool_], convention: str = "R2"
) -> PrecisionRecall:
    """The curve of queries with a score (Q,), higher is surer, inf allowed, and correctness (Q,).

    Every query passed must have a match in the map; leave out those that have none.
    """
    ordered, hits = _by_falling_score(scores, correct)
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    true_positives = np.cumsum(hits)[ends].astype(np.float64)
    accepted = (ends + 1).astype(np.float64)
    precision = true_positives / accepted
    recall = true_positives / _denominator(convention, true_positives, accepted, hits)
    return PrecisionRecall(
        np.concatenate([precision[:1], precision]),
        np.concatenate([[0.0], recall]),
        np.concatenate([[np.inf], ordered[ends]]),
    )


def _by_falling_score(
    scores: NDArray[np.floating], correct: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, hits = np.asarray(scores, np.float64), np.asarray(correct, bool)
    if values.shape != hits.shape or values.ndim != 1 or not values.size:
        raise SaaneError(
            f"A precision-recall curve needs one score and one verdict a query: there are "
            f"{values.shape} scores and {hits.shape} verdicts."
        )
    if np.isnan(values).any():
        raise SaaneError("A score is not a number: every query of a curve needs one.")
    order = np.argsort(-values, kind="stable")
    return values[order], hits[order]


def _denominator(
    convention: str,
    true_positives: NDArray[np.float64],
    accepted: NDArray[np.float64],
    hits: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """What the true positives are divided by, never 0: without true positives recall is 0."""
    if convention == "R1":
        total = true_positives + (len(hits) - accepted)
    elif convention == "R2":
        total = np.full_like(accepted, len(hits))
    elif convention == "R3":
        total = np.full_like(accepted, hits.sum())
    else:
        raise SaaneError(
            f"Recall convention {convention!r} is unknown: choose one of {', '.join(CONVENTIONS)}."
        )
    return np.maximum(total, 1.0)
