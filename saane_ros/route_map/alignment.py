"""Several drives of one road along one route: how far along it each place of each drive lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.track import course_orientations

NEAR_M = 15.0
"""Two drives this near and in the same direction are on one road: two lanes and an error of GPS."""
SAME_COURSE = np.cos(np.radians(45.0))
JUMP_COST = 0.1
"""Metres that a place of the route must be nearer for each metre that it lies off the way driven:
where the route comes back to a road, it tells the visits apart."""

Array = NDArray[np.float64]


@dataclass
class Route:
    """Places of all drives so far. positions (n, 2), courses (n, 2) unit vectors, along (n,)."""

    positions: Array
    courses: Array
    along: Array

    def add(self, positions: Array, known: Array | None = None) -> Array:
        """Lay a drive, positions (m, 2) in its order, along the route; metres of each (m,).

        known: these metres, where an earlier merge has found them.

        A place near the route and in its direction lies where it projects to; others lie as far as
        was driven before the first of those, after the last, or in proportion between two. A drive
        that meets the route nowhere continues it.
        """
        courses = courses_of(positions)
        along = self._laid(positions, courses) if known is None else known
        self.positions = np.concatenate([self.positions, positions])
        self.courses = np.concatenate([self.courses, courses])
        self.along = np.concatenate([self.along, along])
        return along

    def _laid(self, positions: Array, courses: Array) -> Array:
        travelled = travelled_along(positions)
        along = self._continuing(positions, travelled)
        matched = self._projected(positions, courses, travelled)
        known = np.flatnonzero(np.isfinite(matched))
        if len(known):
            first, last = known[0], known[-1]
            along = np.interp(travelled, travelled[known], matched[known])
            along[:first] = matched[first] - (travelled[first] - travelled[:first])
            along[last + 1 :] = matched[last] + (travelled[last + 1 :] - travelled[last])
        return along

    def _projected(self, positions: Array, courses: Array, travelled: Array) -> Array:
        found = np.full(len(positions), np.nan)
        last: int | None = None
        for row, (position, course) in enumerate(zip(positions, courses, strict=True)):
            offsets = position - self.positions
            cost = np.linalg.norm(offsets, axis=1)
            fits = (cost <= NEAR_M) & (self.courses @ course >= SAME_COURSE)
            if not fits.any():
                continue
            if last is not None:
                expected = found[last] + travelled[row] - travelled[last]
                cost = cost + JUMP_COST * np.abs(self.along - expected)
            best = int(np.where(fits, cost, np.inf).argmin())
            found[row] = self.along[best] + offsets[best] @ self.courses[best]
            last = row
        return found

    def _continuing(self, positions: Array, travelled: Array) -> Array:
        end = int(self.along.argmax())
        gap = float(np.linalg.norm(positions[0] - self.positions[end]))
        return self.along[end] + gap + travelled


def route_of(positions: Array, along: Array) -> Route:
    """The route of one drive, positions (n, 2)."""
    return Route(positions, courses_of(positions), along)


def courses_of(positions: Array) -> Array:
    """Unit vectors (n, 2) along the way through positions (n, 2)."""
    turns = course_orientations(np.column_stack([positions, np.zeros(len(positions))]))
    yaw = 2 * np.arctan2(turns[:, 2], turns[:, 3])
    return np.stack([np.cos(yaw), np.sin(yaw)], axis=1)


def travelled_along(positions: Array) -> Array:
    """Metres from the first of positions (n, 2) to each."""
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])
