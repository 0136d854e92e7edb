"""From what was answered for every frame to the figures of the summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.evaluation.metrics import PrecisionRecall, precision_recall
from saane_ros.types import MatchState

LOCALIZED = MatchState.LOCALIZED.value


@dataclass(frozen=True)
class Answer:
    """What a localizer said of one query frame.

    place: after the sequence filter.  candidates, distances: the k nearest places to this image
    alone, best first.  ratio: windowed second best over best.
    """

    query: int
    state: str
    place: int
    confidence: float
    candidates: NDArray[np.int64]
    distances: NDArray[np.float64]
    ratio: float
    inference_ms: float

    @property
    def plain_ratio(self) -> float:
        """The second best distance over the best, wherever the second best lies."""
        if len(self.distances) < 2:
            return 1.0
        best, second = float(self.distances[0]), float(self.distances[1])
        return second / best if best > 0 else float("inf")


@dataclass(frozen=True)
class Score:
    """How good a system's answers are; shares are of `answers`, the frames with a known truth.

    recall: single image, by N.  auc_windowed_r2, auc_plain_r1: of the ratio test, single image.
    localized_correct: share of the localized frames, after the sequence filter, in the right place.
    curve: the one behind `auc_windowed_r2`.
    """

    answers: int
    recall: dict[int, float]
    auc_windowed_r2: float
    auc_plain_r1: float
    localized: float
    localized_correct: float
    curve: PrecisionRecall


@dataclass(frozen=True)
class Verdict:
    """Whether one answer is right: the nearest place of the image alone, and the filtered one."""

    nearest: bool
    filtered: bool


def verdict(answer: Answer, correct: NDArray[np.int64]) -> Verdict:
    return Verdict(
        nearest=bool(np.isin(answer.candidates[:1], correct).any()),
        filtered=bool(np.isin(answer.place, correct)),
    )


def score(
    answers: Sequence[Answer],
    correct: Sequence[NDArray[np.int64]],
    recall_counts: Sequence[int] = (1, 5),
) -> Score | None:
    """Score answers against the correct places of every query; None where no truth is known."""
    judged = [answer for answer in answers if len(correct[answer.query])]
    if not judged:
        return None
    verdicts = [verdict(answer, correct[answer.query]) for answer in judged]
    nearest = np.array([one.nearest for one in verdicts])
    windowed = precision_recall(np.array([one.ratio for one in judged]), nearest, "R2")
    plain = precision_recall(np.array([one.plain_ratio for one in judged]), nearest, "R1")
    localized = np.array([answer.state == LOCALIZED for answer in judged])
    filtered = np.array([one.filtered for one in verdicts])
    return Score(
        answers=len(judged),
        recall={n: _recall(judged, correct, n) for n in recall_counts},
        auc_windowed_r2=windowed.auc,
        auc_plain_r1=plain.auc,
        localized=float(localized.mean()),
        localized_correct=float(filtered[localized].mean()) if localized.any() else 0.0,
        curve=windowed,
    )


def quantiles(values: Sequence[float]) -> dict[str, float | None]:
    """Median and 95 % quantile, None where there is no value."""
    if not len(values):
        return {"p50": None, "p95": None}
    p50, p95 = np.percentile(np.asarray(values, np.float64), (50, 95))
    return {"p50": float(p50), "p95": float(p95)}


def _recall(answers: Sequence[Answer], correct: Sequence[NDArray[np.int64]], count: int) -> float:
    found = [np.isin(one.candidates[:count], correct[one.query]).any() for one in answers]
    return float(np.mean(found))
