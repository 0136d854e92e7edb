"""Where the vehicle was at the moment of an image, from the poses that arrive meanwhile."""

from __future__ import annotations

import bisect
import itertools
import math
import threading
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from saane_ros.data.bags.poses import FIX, fix_values, fixes_to_metres, pose_values, zero_of
from saane_ros.data.poses.files import yaw_quaternion
from saane_ros.data.poses.plausibility import (
    FIXES,
    LONGEST_PAUSE_NS,
    ODOMETRY,
    Displacement,
    Faults,
    PositionGate,
    Sample,
    StampSifter,
    Vector,
    moment,
)
from saane_ros.data.poses.track import LONGEST_GAP_S, noise_band, slerp
from saane_ros.geodesy import LatLonAlt
from saane_ros.types import Pose

_KEPT = 500
_JUDGED = 60
"""Poses that the noise is estimated from."""

_Values = tuple[float, ...]


@dataclass
class _Row:
    stamp_ns: int
    position: Vector
    orientation: tuple[float, float, float, float]
    metres: float
    jumped: bool


class LivePoses:
    """The last poses of one topic that can be believed; filled by the executor, read by the worker.

    type_name: "nav_msgs/msg/Odometry", "geometry_msgs/msg/PoseStamped" or NavSatFix's, whose
    positions are metres east, north and up of `origin` (the first believed fix where none is
    given), headed along the course.  faults: what was left out.
    """

    def __init__(self, type_name: str, origin: LatLonAlt | None = None) -> None:
        self.origin = origin
        self.faults = Faults()
        self._fixes = type_name == FIX
        self._limits = FIXES if self._fixes else ODOMETRY
        self._plane = origin  # what positions are judged in before the origin is known
        self._arrived = threading.Condition()
        self._sifter: StampSifter[tuple[int, _Values]] = StampSifter()
        self._restarts = 0
        self._gate: PositionGate[_Values] = PositionGate(self._limits.slack, faults=self.faults)
        self._displacement = Displacement(self._limits.band)
        self._rows: deque[_Row] = deque(maxlen=_KEPT)
        self._metres = 0.0
        self._standing = 0  # rows since the last counted position, it included

    @property
    def ignored(self) -> int:
        """Poses left out."""
        return sum(n for kind, n in self.faults.counts.items() if kind not in ("jumps", "restarts"))

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest believed pose."""
        with self._arrived:
            return self._rows[-1].stamp_ns if self._rows else None

    def add(self, stamp_ns: int, message: Any) -> None:
        """Take a message; what holds no pose or cannot be believed is counted in `faults`."""
        values = (fix_values if self._fixes else pose_values)(message)
        if isinstance(values, str):
            self.faults.note(values, f"A pose at {moment(stamp_ns)} is {values}.")
            return
        with self._arrived:
            sifted = self._sifter.take(stamp_ns, (stamp_ns, values))
            for (stamp, _), reason in sifted.left_out:
                self.faults.note("stamps", f"A pose at {moment(stamp)} is left out: {reason}.")
            if self._sifter.restarts > self._restarts:
                self._restart(stamp_ns)
            for stamp, kept in sifted.kept:
                for sample in self._gate.add(stamp, self._judged(kept), kept):
                    self._append(sample)
            self._arrived.notify_all()

    def at(self, stamp_ns: int, patience_s: float) -> tuple[Pose, float] | None:
        """Pose and metres travelled, between the poses before and after the stamp.

        Waits for the pose after it; None where it does not come or there is none before.
        """
        with self._arrived:
            self._arrived.wait_for(
                lambda: bool(self._rows) and self._rows[-1].stamp_ns >= stamp_ns, timeout=patience_s
            )
            rows = list(self._rows)
        after = bisect.bisect_left(rows, stamp_ns, key=lambda row: row.stamp_ns)
        if after == len(rows):
            return None
        if rows[after].stamp_ns == stamp_ns:
            return Pose(rows[after].position, rows[after].orientation), rows[after].metres
        longest_gap = max(1e9 * LONGEST_GAP_S, 3e9 * self.period_s())
        if after == 0 or rows[after].jumped:
            return None
        if rows[after].stamp_ns - rows[after - 1].stamp_ns > longest_gap:
            return None
        return _between(rows[after - 1], rows[after], stamp_ns)

    def period_s(self) -> float:
        """Usual time between two poses; 0 while unknown."""
        with self._arrived:
            stamps = [row.stamp_ns for row in list(self._rows)[-_JUDGED:]]
        steps = [after - before for before, after in itertools.pairwise(stamps)]
        return median(steps) / 1e9 if steps else 0.0

    def other_clock(self, stamp_ns: int) -> str:
        """A sentence where an image's stamp and those of the poses are far apart, else empty."""
        newest = self.newest_ns
        if newest is None or abs(newest - stamp_ns) <= LONGEST_PAUSE_NS:
            return ""
        return (
            f"The image is of {moment(stamp_ns)} and the newest pose of {moment(newest)}: let one "
            "clock stamp both."
        )

    def _judged(self, values: _Values) -> Vector:
        if not self._fixes:
            return values[0], values[1], values[2]
        self._plane = self._plane or zero_of(values)
        x, y, _ = fixes_to_metres(np.array([values]), self._plane)[0].tolist()
        return x, y, 0.0

    def _restart(self, stamp_ns: int) -> None:
        self._restarts = self._sifter.restarts
        self.faults.note("restarts", f"The clock of the poses was set back to {moment(stamp_ns)}.")
        self._gate.restart()
        self._rows.clear()
        self._standing = 0

    def _append(self, sample: Sample[_Values]) -> None:
        values = sample.item
        if self._fixes:
            self.origin = self.origin or zero_of(values)
            x, y, z = fixes_to_metres(np.array([values]), self.origin)[0].tolist()
            turn = self._rows[-1].orientation if self._rows else (0.0, 0.0, 0.0, 1.0)
        else:
            x, y, z, *turned = values
            size = math.hypot(*turned)
            turn = (turned[0] / size, turned[1] / size, turned[2] / size, turned[3] / size)
        moved = self._displacement.add(sample.position, sample.jumped)
        if moved is not None:
            self._metres += math.hypot(*moved)
            if self._fixes:
                turn = yaw_quaternion(math.atan2(moved[1], moved[0]))
                for row in list(self._rows)[-self._standing :]:
                    row.orientation = turn
        self._standing = 1 if moved is not None or sample.jumped else self._standing + 1
        self._rows.append(_Row(sample.stamp_ns, (x, y, z), turn, self._metres, sample.jumped))
        self._displacement.band = self._noise()

    def _noise(self) -> float:
        rows = list(self._rows)[-_JUDGED:]
        positions = np.array([row.position for row in rows])
        return noise_band(np.array([row.stamp_ns for row in rows]), positions, self._limits)


def _between(before: _Row, after: _Row, stamp_ns: int) -> tuple[Pose, float]:
    share = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    x, y, z = (
        (1 - share) * a + share * b for a, b in zip(before.position, after.position, strict=True)
    )
    turn = slerp(np.array(before.orientation), np.array(after.orientation), share).tolist()
    metres = (1 - share) * before.metres + share * after.metres
    return Pose((x, y, z), (turn[0], turn[1], turn[2], turn[3])), metres
