"""Which places of a map are right for a query, by poses in a common frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saane_ros.types import Pose

SAME_COURSE_DEG = 45.0
"""A place seen while driving elsewhere than this is another view, not the same place."""


def correct_places(
    queries: Sequence[Pose | None],
    places: Sequence[Pose | None],
    metres: float = 10.0,
    frames: int = 5,
    course_deg: float = SAME_COURSE_DEG,
) -> list[NDArray[np.int64]]:
    """Rows of the correct places of every query, sorted; empty where the map has none.

    Correct are the places within `metres` (horizontally) whose course differs by less than
    `course_deg`, and those up to `frames` before or after the nearest of them. Queries without a
    pose have none.
    """
    known = np.array([row for row, pose in enumerate(places) if pose is not None], np.int64)
    positions, courses = _planar([places[row] for row in known])
    found: list[NDArray[np.int64]] = []
    for query in queries:
        if query is None or not len(known):
            found.append(np.zeros(0, np.int64))
            continue
        here, course = _planar([query])
        distances = np.linalg.norm(positions - here[0], axis=1)
        turned = np.abs((courses - course[0] + 180.0) % 360.0 - 180.0)
        near = np.flatnonzero((distances <= metres) & (turned < course_deg))
        if not len(near):
            found.append(np.zeros(0, np.int64))
            continue
        nearest = near[distances[near].argmin()]
        around = np.arange(max(nearest - frames, 0), min(nearest + frames + 1, len(known)))
        found.append(known[np.union1d(near, around)])
    return found


def metres_between(first: Pose, second: Pose) -> float:
    """Horizontal distance of two poses."""
    return float(np.hypot(*(np.subtract(first.position, second.position)[:2])))


def _planar(poses: Sequence[Pose | None]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """East and north (n, 2) in metres and course (n,) in degrees of poses that are all known."""
    known = [pose for pose in poses if pose is not None]
    positions = np.array([pose.position[:2] for pose in known], np.float64).reshape(-1, 2)
    x, y, z, w = np.array([pose.orientation for pose in known], np.float64).reshape(-1, 4).T
    forward = np.degrees(np.arctan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z)))
    return positions, forward
