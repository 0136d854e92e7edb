"""How the belief moves along the route between two frames (methods of Xu et al. 2020 and 2021)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

BACKWARD = 2
FORWARD = 9
"""Places that a frame may lie behind or ahead of the frame before, where no odometry is given."""
ODOMETRY_NOISE = 0.5
"""Metres of standard deviation that do not grow with the distance."""
ODOMETRY_DRIFT = 0.1
"""Standard deviation per metre travelled."""
GATE = 3.0
"""Standard deviations beyond which a step is impossible."""


class RouteMotion:
    """Transition of a belief over N places at arc lengths s_i.

    Without odometry every offset from -2 to +9 places is alike (topological filter). With a
    travelled distance Delta, E_ij ~ exp(-(s_j - s_i - Delta)^2 / (2 sigma^2)) within 3 sigma,
    sigma^2 = 0.5^2 + (0.1 Delta)^2 + (spacing / 2)^2. Rows are normalised over the places that
    exist, so that the ends of the route keep what is there.
    """

    def __init__(self, arc_length: NDArray[np.float64], metric: bool) -> None:
        self._arc = np.asarray(arc_length, dtype=np.float64)
        self._metric = metric
        self.spacing = float(np.median(np.diff(self._arc))) if len(self._arc) > 1 else 0.0

    def predict(
        self, belief: NDArray[np.float64], travelled: float | None
    ) -> tuple[NDArray[np.float64], float]:
        """Move a belief (N,) on; travelled: metres since the frame before, None where unknown.

        Returns the moved belief and the mass that left the route, as no place lies where the
        odometry leads; both together have the mass of the argument.
        """
        if travelled is None or not self._metric:
            return self._uniform(belief), 0.0
        return self._by_odometry(belief, travelled)

    def _uniform(self, belief: NDArray[np.float64]) -> NDArray[np.float64]:
        count = len(belief)
        index = np.arange(count)
        targets = np.minimum(index + FORWARD, count - 1) - np.maximum(index - BACKWARD, 0) + 1
        share = belief / targets
        moved = np.zeros(count)
        for source, target in _shifts(count, -BACKWARD, FORWARD):
            moved[target] += share[source]
        return moved

    def _by_odometry(
        self, belief: NDArray[np.float64], travelled: float
    ) -> tuple[NDArray[np.float64], float]:
        arc, count = self._arc, len(belief)
        sigma = np.sqrt(
            ODOMETRY_NOISE**2 + (ODOMETRY_DRIFT * travelled) ** 2 + (self.spacing / 2) ** 2
        )
        first = np.searchsorted(arc, arc + travelled - GATE * sigma, side="left")
        last = np.searchsorted(arc, arc + travelled + GATE * sigma, side="right") - 1
        index = np.arange(count)
        shifts = list(_shifts(count, int((first - index).min()), int((last - index).max())))

        def weight(source: slice, target: slice) -> NDArray[np.float64]:
            off = (arc[target] - arc[source] - travelled) / sigma
            return np.where(np.abs(off) <= GATE, np.exp(-0.5 * off**2), 0.0)

        total = np.zeros(count)
        for source, target in shifts:
            total[source] += weight(source, target)
        reachable = total > 0
        share = np.divide(belief, total, out=np.zeros(count), where=reachable)
        moved = np.zeros(count)
        for source, target in shifts:
            moved[target] += share[source] * weight(source, target)
        return moved, float(belief[~reachable].sum())


def _shifts(count: int, low: int, high: int) -> Iterator[tuple[slice, slice]]:
    """Pairs of slices (from, to) of an array of `count`, one per offset from low to high."""
    for offset in range(max(low, 1 - count), min(high, count - 1) + 1):
        yield (
            slice(max(0, -offset), count - max(0, offset)),
            slice(max(0, offset), count + min(0, offset)),
        )
