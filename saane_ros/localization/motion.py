"""How the belief moves along the route between two frames (methods of Xu et al. 2020 and 2021)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

OFFSETS = tuple(range(-2, 10))
"""Places that a frame may lie ahead of the frame before, where no odometry is given."""
FIRST_PACE = np.exp(-np.abs(np.array(OFFSETS) - 1) / 3)
FIRST_PACE /= FIRST_PACE.sum()
"""Their probabilities before anything is known: one place per frame is usual, nine are rare."""
PACE_RATE = 0.1
"""Weight of one frame in the learned pace: it follows a change of speed in some ten frames."""
PACE_FLOOR = 0.1
"""Share of the first pace that stays, so that no change of speed is ruled out."""
ODOMETRY_NOISE = 0.5
"""Metres of standard deviation that do not grow with the distance."""
ODOMETRY_DRIFT = 0.1
"""Standard deviation per metre travelled."""
GATE = 3.0
"""Standard deviations beyond which a step is impossible."""


class RouteMotion:
    """Transition of a belief over N places at arc lengths s_i.

    Without odometry a step is one of -2 to +9 places, the window of the published topological
    filter. There all are alike, which fits one ratio of frame rate to place spacing and drifts
    ahead at others; here their probabilities follow what the steps turn out to be (`learn`).
    With a travelled distance Delta, E_ij ~ exp(-(s_j - s_i - Delta)^2 / (2 sigma^2)) within
    3 sigma, sigma^2 = 0.5^2 + (0.1 Delta)^2 + (spacing / 2)^2. Rows are normalised over the places
    that exist, so that the ends of the route keep what is there.
    """

    def __init__(self, arc_length: NDArray[np.float64], metric: bool) -> None:
        self._arc = np.asarray(arc_length, dtype=np.float64)
        self._metric = metric
        self.spacing = float(np.median(np.diff(self._arc))) if len(self._arc) > 1 else 0.0
        self.reset()

    def reset(self) -> None:
        """Forget the pace."""
        self.pace = FIRST_PACE.copy()
        self._share: NDArray[np.float64] | None = None

    def predict(
        self, belief: NDArray[np.float64], travelled: float | None
    ) -> tuple[NDArray[np.float64], float]:
        """Move a belief (N,) on; travelled: metres since the frame before, None where unknown.

        Returns the moved belief and the mass that left the route, as no place lies where the
        odometry leads; both together have the mass of the argument.
        """
        self._share = None
        if travelled is None or not self._metric:
            return self._by_pace(belief), 0.0
        return self._by_odometry(belief, travelled)

    def learn(self, likelihood: NDArray[np.float64], certainty: float) -> None:
        """Learn the pace from the step just predicted: one step of online expectation maximisation.

        likelihood: of the new frame for every place (N,), up to a factor.
        certainty: probability that the step was one along the route; less teaches less.
        """
        if self._share is None:
            return
        weights = self._weights()
        joint = np.zeros(len(OFFSETS))
        for number, source, target in _shifts(len(likelihood), OFFSETS):
            joint[number] = weights[number] * (self._share[source] @ likelihood[target])
        if joint.sum() > 0:
            self.pace += PACE_RATE * certainty * (joint / joint.sum() - self.pace)

    def _weights(self) -> NDArray[np.float64]:
        return (1 - PACE_FLOOR) * self.pace + PACE_FLOOR * FIRST_PACE

    def _by_pace(self, belief: NDArray[np.float64]) -> NDArray[np.float64]:
        weights = self._weights()
        shifts = list(_shifts(len(belief), OFFSETS))
        total = np.zeros(len(belief))
        for number, source, _ in shifts:
            total[source] += weights[number]
        self._share = belief / total
        moved = np.zeros(len(belief))
        for number, source, target in shifts:
            moved[target] += weights[number] * self._share[source]
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
        reach = range(int((first - index).min()), int((last - index).max()) + 1)
        shifts = list(_shifts(count, reach))

        def weight(source: slice, target: slice) -> NDArray[np.float64]:
            off = (arc[target] - arc[source] - travelled) / sigma
            return np.where(np.abs(off) <= GATE, np.exp(-0.5 * off**2), 0.0)

        total = np.zeros(count)
        for _, source, target in shifts:
            total[source] += weight(source, target)
        reachable = total > 0
        share = np.divide(belief, total, out=np.zeros(count), where=reachable)
        moved = np.zeros(count)
        for _, source, target in shifts:
            moved[target] += share[source] * weight(source, target)
        return moved, float(belief[~reachable].sum())


def _shifts(count: int, offsets: range | tuple[int, ...]) -> Iterator[tuple[int, slice, slice]]:
    """Number of an offset, and slices (from, to) of an array of `count` that lie it apart."""
    for number, offset in enumerate(offsets):
        if abs(offset) < count:
            source = slice(max(0, -offset), count - max(0, offset))
            yield number, source, slice(max(0, offset), count + min(0, offset))
