"""Recall@N: is a correct place among the N nearest?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saane_ros.evaluation.ratio import checked_distances

Correct = Sequence[Sequence[int] | NDArray[np.integer]]
"""The columns of the correct places of every query; empty where the map has none."""

NO_RANK = int(np.iinfo(np.int64).max)


def recall_at(
    distances: NDArray[np.floating],
    correct: Correct,
    counts: Sequence[int] = (1, 5, 10),
    all_queries: bool = False,
) -> dict[int, float]:
    """For every N the share of queries with a correct place among the N nearest by (Q, N) distance.

    Queries without a correct place are left out; with `all_queries` they count as missed, which is
    the protocol of Pitts30k (Arandjelovic et al. 2016).  Equal distances rank by column.
    """
    ranks = first_correct_ranks(distances, correct)
    if not all_queries:
        ranks = ranks[np.array([len(places) > 0 for places in correct])]
    return {n: float(np.mean(ranks < n)) if len(ranks) else 0.0 for n in counts}


def first_correct_ranks(distances: NDArray[np.floating], correct: Correct) -> NDArray[np.int64]:
    """Rank (Q,) of the nearest correct place of every query, 0 the best, NO_RANK without one."""
    values = checked_distances(distances)
    queries, places = values.shape
    wanted = correct_mask(correct, queries, places)
    ordered = np.take_along_axis(wanted, np.argsort(values, axis=1, kind="stable"), axis=1)
    return np.where(ordered.any(axis=1), ordered.argmax(axis=1), NO_RANK)


def correct_mask(correct: Correct, queries: int, places: int) -> NDArray[np.bool_]:
    """The sets of correct places as a matrix (Q, N)."""
    mask = np.zeros((queries, places), bool)
    for row, columns in zip(mask, correct, strict=True):
        row[np.asarray(columns, np.int64)] = True
    return mask
