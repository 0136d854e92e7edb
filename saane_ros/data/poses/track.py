"""Poses over time: where the vehicle was at the moment of an image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from saane_ros.types import Pose

LONGEST_GAP_S = 3.0
_COURSE_STEP_M = 1.0


class PoseTrack:
    """Stamped poses in the order of their stamps, with the distance travelled along them.

    stamps_ns: int64 (N,), in any order; of equal stamps the first counts.
    positions: float64 (N, 3), metres.  orientations: float64 (N, 4), xyzw, of any length but 0.
    longest_gap_s: poses further apart than this (and than three usual intervals) are not
    interpolated between.
    """

    def __init__(
        self,
        stamps_ns: NDArray[np.int64],
        positions: NDArray[np.float64],
        orientations: NDArray[np.float64],
        longest_gap_s: float = LONGEST_GAP_S,
    ) -> None:
        self.stamps_ns, rows = np.unique(stamps_ns, return_index=True)
        self.positions = positions[rows]
        self.orientations = orientations[rows] / np.linalg.norm(
            orientations[rows], axis=1, keepdims=True
        )
        steps = np.linalg.norm(np.diff(self.positions, axis=0), axis=1)
        self.travelled = np.concatenate([np.zeros(min(len(rows), 1)), np.cumsum(steps)])
        intervals = np.diff(self.stamps_ns)
        usual = float(np.median(intervals)) if len(intervals) else 0.0
        self.longest_gap_ns = max(longest_gap_s * 1e9, 3 * usual)

    def at(self, stamp_ns: int) -> tuple[Pose, float] | None:
        """Pose and distance travelled (m): position linear, orientation slerp between neighbours.

        None before the first pose, after the last, and within a gap.
        """
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if after == len(self.stamps_ns):
            return None
        if self.stamps_ns[after] == stamp_ns:
            return self._pose(self.positions[after], self.orientations[after]), float(
                self.travelled[after]
            )
        if after == 0:
            return None
        before = after - 1
        gap = int(self.stamps_ns[after] - self.stamps_ns[before])
        if gap > self.longest_gap_ns:
            return None
        share = (stamp_ns - int(self.stamps_ns[before])) / gap
        position = (1 - share) * self.positions[before] + share * self.positions[after]
        orientation = slerp(self.orientations[before], self.orientations[after], share)
        travelled = (1 - share) * self.travelled[before] + share * self.travelled[after]
        return self._pose(position, orientation), float(travelled)

    @staticmethod
    def _pose(position: NDArray[np.float64], orientation: NDArray[np.float64]) -> Pose:
        x, y, z = (float(value) for value in position)
        qx, qy, qz, qw = (float(value) for value in orientation)
        return Pose((x, y, z), (qx, qy, qz, qw))


def slerp(
    first: NDArray[np.float64], second: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    """Spherical linear interpolation of unit quaternions, the shorter way round (Shoemake 1985)."""
    cosine = float(first @ second)
    if cosine < 0:
        second, cosine = -second, -cosine
    angle = math.acos(min(cosine, 1.0))
    if angle < 1e-6:
        mixed = (1 - share) * first + share * second
    else:
        mixed = math.sin((1 - share) * angle) * first + math.sin(share * angle) * second
    return mixed / np.linalg.norm(mixed)


def course_orientations(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Headings along a track of positions (N, 3), as quaternions (N, 4), for fixes without one.

    x points along the horizontal way to the next position at least a metre on; a vehicle that
    stands keeps its heading, and one that never moves looks east.
    """
    yaws = np.full(len(positions), np.nan)
    start = 0
    for row in range(1, len(positions)):
        east, north = positions[row, :2] - positions[start, :2]
        if math.hypot(east, north) >= _COURSE_STEP_M:
            yaws[start:row] = math.atan2(north, east)
            start = row
    known = yaws[~np.isnan(yaws)]
    yaws[start:] = known[-1] if len(known) else 0.0
    zeros = np.zeros(len(positions))
    return np.stack([zeros, zeros, np.sin(yaws / 2), np.cos(yaws / 2)], axis=1)
