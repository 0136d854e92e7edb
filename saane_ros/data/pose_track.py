"""Poses over time: interpolation, and headings where only positions are known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saane_ros.types import Pose

MOVED = 0.2
"""Metres between two positions from which on their direction is taken as a heading."""


def yaw_quaternion(yaw: float) -> tuple[float, float, float, float]:
    """Quaternion (x, y, z, w) of a turn about the upward axis, yaw in radians."""
    return (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))


def headings(positions: NDArray[np.float64]) -> list[float]:
    """Yaw of the motion at each position (n, >=2), radians from east; standing still keeps it."""
    yaws: list[float | None] = [None] * len(positions)
    anchor: int | None = None
    for index in np.flatnonzero(np.isfinite(positions).all(axis=1)):
        if anchor is None:
            anchor = int(index)
            continue
        east, north = positions[index][:2] - positions[anchor][:2]
        if math.hypot(east, north) >= MOVED:
            yaws[anchor:index] = [math.atan2(north, east)] * (int(index) - anchor)
            anchor = int(index)
    known = next((yaw for yaw in yaws if yaw is not None), 0.0)
    result = []
    for yaw in yaws:
        known = known if yaw is None else yaw
        result.append(known)
    return result


class PoseTrack:
    """Poses over time: position linear and rotation spherical between two neighbours.

    A stamp outside the track, or in a gap of more than `max_gap` seconds, has no pose.
    """

    def __init__(
        self, stamps_ns: Sequence[int], poses: Sequence[Pose], max_gap: float = 2.0
    ) -> None:
        order = np.argsort(np.asarray(stamps_ns, dtype=np.int64), kind="stable")
        self._stamps = np.asarray(stamps_ns, dtype=np.int64)[order]
        self._poses = [poses[i] for i in order]
        self._max_gap = max_gap * 1e9

    def at(self, stamp_ns: int) -> Pose | None:
        """The pose at a stamp, or None."""
        after = int(np.searchsorted(self._stamps, stamp_ns))
        if after < len(self._stamps) and self._stamps[after] == stamp_ns:
            return self._poses[after]
        if after == 0 or after == len(self._stamps):
            return None
        span = int(self._stamps[after] - self._stamps[after - 1])
        if span > self._max_gap:
            return None
        share = (stamp_ns - int(self._stamps[after - 1])) / span
        return interpolate(self._poses[after - 1], self._poses[after], share)


def interpolate(first: Pose, second: Pose, share: float) -> Pose:
    """The pose at `share` in [0, 1] of the way from one pose to another."""
    a, b = np.array(first.position), np.array(second.position)
    x, y, z = ((1 - share) * a + share * b).tolist()
    p, q = np.array(first.orientation), np.array(second.orientation)
    cosine = float(p @ q)
    if cosine < 0:
        q, cosine = -q, -cosine
    angle = math.acos(min(1.0, cosine))
    if angle < 1e-6:
        mixed = (1 - share) * p + share * q
    else:
        mixed = (math.sin((1 - share) * angle) * p + math.sin(share * angle) * q) / math.sin(angle)
    qx, qy, qz, qw = (mixed / np.linalg.norm(mixed)).tolist()
    return Pose((x, y, z), (qx, qy, qz, qw))
