"""Triplets of weak supervision: the best positive, the hardest negatives, and their loss.

Arandjelovic et al. 2016, Eq. 7, mined as in the authors' trainWeakly.m.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saane_ros.training.tagged_images import Rows


class Mined(NamedTuple):
    """Rows of images. negatives: the hardest that violate the margin, hardest first."""

    query: int
    positive: int
    negatives: Rows


def mine(
    descriptors: NDArray[np.float32],
    query: int,
    positives: Rows,
    candidates: Rows,
    margin: float,
    count: int,
) -> tuple[Mined, Rows]:
    """The tuple of a query by cached unit descriptors (N, D), and its `count` hardest candidates.

    The positive is the potential one nearest in descriptor space; a negative violates the margin
    where its squared distance is less than the positive's plus the margin.
    """
    to_positives = squared_distances(descriptors, query, positives)
    to_candidates = squared_distances(descriptors, query, candidates)
    order = np.argsort(to_candidates, kind="stable")[:count]
    best = int(to_positives.argmin())
    violating = to_candidates[order] < to_positives[best] + margin
    hardest = candidates[order]
    return Mined(query, int(positives[best]), hardest[violating]), hardest


def squared_distances(
    descriptors: NDArray[np.float32], query: int, rows: Rows
) -> NDArray[np.float32]:
    """Between unit descriptors, from their dot products (n,)."""
    distances: NDArray[np.float32] = 2 - 2 * (descriptors[rows] @ descriptors[query])
    return distances


def rows_of(tuples: Sequence[Mined]) -> Rows:
    """Every image of some tuples once, rising."""
    return np.unique([row for t in tuples for row in (t.query, t.positive, *t.negatives)])


def violations(descriptors: Tensor, rows: Rows, tuples: Sequence[Mined], margin: float) -> Tensor:
    """max(0, d^2(q, p) + m - d^2(q, n)) of every triplet (T,), of unit descriptors.

    descriptors: (n, D) of the images `rows`, which rise.
    """
    triplets = np.array([(t.query, t.positive, n) for t in tuples for n in t.negatives])
    query, positive, negative = (
        descriptors[torch.from_numpy(np.searchsorted(rows, column))] for column in triplets.T
    )
    to_positive = (query - positive).square().sum(dim=1)
    to_negative = (query - negative).square().sum(dim=1)
    return (to_positive + margin - to_negative).clamp(min=0)
