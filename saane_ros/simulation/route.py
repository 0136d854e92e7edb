"""The centreline that every traverse follows: straights and bends, parametrised by metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation.seeds import stream

Array = NDArray[np.float64]

BEHIND_M = 80
AHEAD_M = 240
"""The street goes on before the start and beyond the end, so that no view runs into nothing."""

MAX_HEADING = np.radians(72)
"""The street never turns back on itself, so that it cannot cross its own buildings."""


class Route:
    """Centreline in the map frame; s is metres from the start, lateral is positive to the left."""

    def __init__(self, seed: int, length_m: float) -> None:
        rng = stream(seed, "route")
        self.length = float(length_m)
        self.s = np.arange(-BEHIND_M, int(np.ceil(length_m)) + AHEAD_M + 1, dtype=np.float64)
        self.heading_at_s = np.cumsum(_curvature(rng, len(self.s)))
        middle = (self.heading_at_s[1:] + self.heading_at_s[:-1]) / 2
        steps = np.stack([np.cos(middle), np.sin(middle)], axis=1)
        self.points = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
        start = self.points[BEHIND_M].copy()
        self.points -= start

    def heading(self, s: float | Array) -> Array:
        """Direction of travel at s in radians, counter-clockwise from east."""
        return np.asarray(np.interp(s, self.s, self.heading_at_s))

    def point(self, s: float | Array, lateral: float | Array = 0.0) -> Array:
        """Map position (..., 2) at s, `lateral` metres left of the centreline."""
        heading = self.heading(s)
        x = np.interp(s, self.s, self.points[:, 0]) - lateral * np.sin(heading)
        y = np.interp(s, self.s, self.points[:, 1]) + lateral * np.cos(heading)
        return np.stack([x, y], axis=-1)

    def clearance(self, points: Array) -> float:
        """Smallest distance in metres from any of `points` (n, 2) to the centreline."""
        gaps = points[:, None, :] - self.points[None, :, :]
        return float(np.sqrt((gaps**2).sum(axis=2).min()))


def _curvature(rng: np.random.Generator, count: int) -> Array:
    """Radians per metre: straights, and bends eased in and out."""
    curvature = np.zeros(count)
    heading, at = 0.0, int(rng.integers(30, 60))
    while at < count:
        angle = np.radians(rng.uniform(14, 62)) * rng.choice([-1.0, 1.0])
        if abs(heading + angle) > MAX_HEADING:
            angle = -angle
        size = int(max(12, abs(angle) * rng.uniform(24, 55)))
        ease = np.sin(np.linspace(0, np.pi, size)) ** 2
        bend = angle * ease / ease.sum()
        stop = min(count, at + size)
        curvature[at:stop] = bend[: stop - at]
        heading += angle
        at = stop + int(rng.integers(35, 95))
    return curvature
