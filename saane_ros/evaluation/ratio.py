"""The ratio test: how much nearer the best place is than the second best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError

SECOND_BEST_WINDOW = 5
"""Places on either side of the best that the windowed second best lies outside of."""


class BestMatches(NamedTuple):
    """best: int64 (Q,), column of each query's nearest place.  ratio: float64 (Q,), d2 / d1."""

    best: NDArray[np.int64]
    ratio: NDArray[np.float64]


def best_matches(distances: NDArray[np.floating], window: int = 0) -> BestMatches:
    """Nearest place j* of each query and the ratio of the second best distance to the best.

    distances: (Q, N), not negative.  The second best is the smallest over |j - j*| > window;
    window 0 is the plain ratio test, 5 that of Milford & Wyeth 2012 (SeqSLAM's Rwindow of 10).
    Where only the best distance is zero the ratio is inf; where the second is zero too, or no
    place lies outside the window, nothing tells them apart and the ratio is 1, as in the node.
    """
    values = checked_distances(distances)
    queries, places = values.shape
    best = values.argmin(axis=1)
    first = values[np.arange(queries), best]
    outside = np.abs(np.arange(places)[None, :] - best[:, None]) > window
    second = np.where(outside, values, np.inf).min(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(first > 0, second / first, np.where(second > 0, np.inf, 1.0))
    return BestMatches(best, np.where(np.isinf(second), 1.0, ratio))


def checked_distances(distances: NDArray[np.floating]) -> NDArray[np.float64]:
    """The matrix as float64; SaaneError where it is empty, negative or not finite."""
    values = np.asarray(distances, np.float64)
    if values.ndim != 2 or not values.size:
        raise SaaneError(
            f"A distance matrix of shape {values.shape} cannot be evaluated: "
            "give one row a query and one column a place."
        )
    if not np.isfinite(values).all() or values.min() < 0:
        raise SaaneError(
            "The distance matrix holds negative or non-finite values: "
            "give distances, not similarities or logarithms."
        )
    return values
