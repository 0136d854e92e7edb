"""Poses over time: where the vehicle was at the moment of an image."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.plausibility import (
    AGREEING,
    FASTEST,
    LONGEST_PAUSE_NS,
    ODOMETRY,
    SECOND_NS,
    Displacement,
    Faults,
    Limits,
    PositionGate,
    moment,
)
from saane_ros.types import Pose

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

LONGEST_GAP_S = 3.0
_COURSE_STEP_M = 1.0
_NOISE_OF_MEDIAN = 1 / (math.sqrt(1.5) * math.sqrt(2 * math.log(2)))
"""Deviation of one axis by the median distance of a position from the middle of its neighbours:
that middle has half the variance, and the length of two axes is Rayleigh distributed."""
_NOISE_IN_BAND = 6.5
"""Two positions of one spot are further apart in one of 40,000 cases."""


class PoseTrack:
    """Stamped poses that can be believed, in the order of their stamps, with the way along them.

    stamps_ns: int64 (N,), in any order; of equal stamps the first counts.
    positions: float64 (N, 3), metres.  orientations: float64 (N, 4), xyzw, of any length, or None:
    along the course.
    longest_gap_s: poses further apart than this (and than three usual intervals) are not
    interpolated between; nor are those before and after a jump of the frame.
    limits: of the kind of positions.

    rows: of the input, which ones are believed.  faults: how many are not, and why.
    travelled: float64, metres along the way; noise about one spot and jumps are no way.
    """

    def __init__(
        self,
        stamps_ns: NDArray[np.int64],
        positions: Floats,
        orientations: Floats | None = None,
        longest_gap_s: float = LONGEST_GAP_S,
        limits: Limits = ODOMETRY,
    ) -> None:
        self.faults = Faults()
        judged = positions * (1.0, 1.0, 0.0) if limits.flat else positions
        rows = self._in_order(stamps_ns, positions, orientations)
        rows, jumps = self._believed(rows, stamps_ns, judged, limits)
        self.rows, self._jumps = rows, jumps
        self.stamps_ns, self.positions = stamps_ns[rows], positions[rows]
        band = noise_band(self.stamps_ns, judged[rows], limits)
        self.travelled = _travelled(self.stamps_ns, judged[rows], jumps, band)
        if orientations is None:
            self.orientations = course_orientations(self.positions, max(_COURSE_STEP_M, band))
        else:
            self.orientations = orientations[rows] / np.linalg.norm(
                orientations[rows], axis=1, keepdims=True
            )
        intervals = np.diff(self.stamps_ns)
        usual = float(np.median(intervals)) if len(intervals) else 0.0
        self.longest_gap_ns = max(longest_gap_s * 1e9, 3 * usual)

    def at(self, stamp_ns: int) -> tuple[Pose, float] | None:
        """Pose and distance travelled (m): position linear, orientation slerp between neighbours.

        None before the first pose, after the last, within a gap and where the frame jumps.
        """
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if after == len(self.stamps_ns):
            return None
        if self.stamps_ns[after] == stamp_ns:
            return self._pose(self.positions[after], self.orientations[after]), float(
                self.travelled[after]
            )
        if after == 0 or after in self._jumps:
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
    def _pose(position: Floats, orientation: Floats) -> Pose:
        x, y, z = (float(value) for value in position)
        qx, qy, qz, qw = (float(value) for value in orientation)
        return Pose((x, y, z), (qx, qy, qz, qw))

    def _in_order(self, stamps: Rows, positions: Floats, orientations: Floats | None) -> Rows:
        """Rows by stamp, without those that are no pose and those that are alone in their time."""
        good = np.isfinite(positions).all(axis=1)
        if orientations is not None:
            with np.errstate(over="ignore"):
                norms = np.linalg.norm(orientations, axis=1)
            good &= (norms > 1e-6) & (norms < np.inf)
        if not good.all():
            first = moment(int(stamps[np.flatnonzero(~good)[0]]))
            words = f"A pose at {first} is not finite or has no orientation."
            self.faults.note("absurd", words, int((~good).sum()))
        usable = np.flatnonzero(good)
        rows: Rows = usable[np.unique(stamps[usable], return_index=True)[1]]
        if len(rows) < 3:
            return rows
        steps = np.diff(stamps[rows])
        apart = steps > max(LONGEST_PAUSE_NS, 10 * float(np.median(steps)))
        alone = np.append(True, apart) & np.append(apart, True)
        for row in rows[alone]:
            words = f"A pose has the stamp {moment(int(stamps[row]))}, far from all others."
            self.faults.note("stamps", words)
        return rows[~alone]

    def _believed(
        self, rows: Rows, stamps: Rows, positions: Floats, limits: Limits
    ) -> tuple[Rows, frozenset[int]]:
        """The rows to keep, and which of those come after a jump of the frame."""
        gate: PositionGate[int] = PositionGate(limits.slack, faults=self.faults)
        pieces: list[list[int]] = [[]]
        times, places = stamps[rows].tolist(), positions[rows].tolist()
        for row, stamp, position in zip(rows.tolist(), times, places, strict=True):
            for sample in gate.add(stamp, position, row):
                pieces += [[]] if sample.jumped else []
                pieces[-1].append(sample.item)
        pieces[-1] += [sample.item for sample in gate.settle()]
        kept: list[list[int]] = []
        for piece in pieces:
            kept.append(piece)
            self._join(kept, stamps, positions, limits)
        if len(kept) > 1 and len(kept[0]) < min(AGREEING, len(kept[1])):
            self._dismiss(kept.pop(0), 1, stamps)
        starts = np.cumsum([len(piece) for piece in kept])[:-1]
        return np.array([row for piece in kept for row in piece], np.int64), frozenset(
            starts.tolist()
        )

    def _join(self, kept: list[list[int]], stamps: Rows, positions: Floats, limits: Limits) -> None:
        """Leave an excursion out: the frame jumped, and soon back to where it would have been."""
        if len(kept) < 3 or len(kept[-2]) > min(len(kept[-3]), 10 * AGREEING):
            return
        last, first = kept[-3][-1], kept[-1][0]
        seconds = int(stamps[first] - stamps[last]) / SECOND_NS
        if math.dist(positions[last], positions[first]) <= limits.slack + FASTEST * seconds:
            self._dismiss(kept.pop(-2), 2, stamps)
            rest = kept.pop()
            kept[-1].extend(rest)

    def _dismiss(self, piece: list[int], jumps: int, stamps: Rows) -> None:
        self.faults.counts["jumps"] -= jumps
        self.faults.counts += Counter()  # drops what is zero
        words = f"Poses from {moment(int(stamps[piece[0]]))} on lie apart from the rest."
        self.faults.note("outliers", words, len(piece))


def way_along(positions: Floats, limits: Limits) -> Floats:
    """Metres travelled (N,) at positions (N, 3) that are evenly spaced in time, or nearly."""
    rows = np.arange(len(positions))
    judged = positions * (1.0, 1.0, 0.0) if limits.flat else positions
    return _travelled(rows, judged, frozenset(), noise_band(rows, judged, limits))


def noise_band(stamps: Rows, positions: Floats, limits: Limits) -> float:
    """Metres about a spot that are noise, by how far positions lie off their neighbours' line."""
    if len(stamps) < 3:
        return limits.band
    times = (stamps - stamps[0]).astype(np.float64)
    share = ((times[1:-1] - times[:-2]) / (times[2:] - times[:-2]))[:, None]
    off = positions[1:-1] - (1 - share) * positions[:-2] - share * positions[2:]
    noise = float(np.median(np.linalg.norm(off[:, :2], axis=1))) * _NOISE_OF_MEDIAN
    return min(max(limits.band, _NOISE_IN_BAND * noise), limits.widest)


def _travelled(stamps: Rows, positions: Floats, jumps: frozenset[int], band: float) -> Floats:
    """Metres (N,) by the displacements that leave the band, linear in time between those."""
    displacement, metres = Displacement(band), 0.0
    known, along = [0], [0.0]
    for row, (x, y, z) in enumerate(positions.tolist()):
        moved = displacement.add((x, y, z), row in jumps)
        if row in jumps:
            known += [row - 1, row]
            along += [metres, metres]
        elif moved is not None:
            metres += math.hypot(*moved)
            known.append(row)
            along.append(metres)
    if not len(stamps):
        return np.zeros(0)
    times = (stamps - stamps[0]).astype(np.float64)
    return np.interp(times, times[known], along)


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


def course_orientations(positions: Floats, step: float = _COURSE_STEP_M) -> Floats:
    """Headings along a track of positions (N, 3), as quaternions (N, 4), for fixes without one.

    x points along the horizontal way to the next position at least `step` metres on; a vehicle
    that stands keeps its heading, and one that never moves looks east.
    """
    yaws = np.full(len(positions), np.nan)
    start = 0
    for row in range(1, len(positions)):
        east, north = positions[row, :2] - positions[start, :2]
        if math.hypot(east, north) >= step:
            yaws[start:row] = math.atan2(north, east)
            start = row
    known = yaws[~np.isnan(yaws)]
    yaws[start:] = known[-1] if len(known) else 0.0
    zeros = np.zeros(len(positions))
    return np.stack([zeros, zeros, np.sin(yaws / 2), np.cos(yaws / 2)], axis=1)
