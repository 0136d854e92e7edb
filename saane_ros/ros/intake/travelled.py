"""How far the robot has driven, from odometry, at the time of any image."""

from __future__ import annotations

import bisect
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from saane_ros.data.poses.plausibility import (
    LONGEST_PAUSE_NS,
    Faults,
    PositionGate,
    Sample,
    StampSifter,
    Vector,
    moment,
)
from saane_ros.data.poses.signed_way import SignedWay, forward_axis

_KEPT = 2000  # samples, 40 s at 50 Hz
_STALE_NS = 1_000_000_000
_SLACK_M = 0.5
_SIDEWAYS_M = 20.0

_Turn = tuple[float, float, float, float]
_Moved = tuple[Vector, _Turn]


class TravelledDistance:
    """Metres along the body's own heading; filled and read from different threads.

    A robot that drives backwards loses metres, one that turns on the spot or stands gains none.
    Samples without an orientation (all zeros) count by their displacement alone, which has no
    sign.  What is no motion (a frame set anew, a clock set anew, nonsense) adds nothing and is
    counted, see `faults`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stamps: deque[int] = deque(maxlen=_KEPT)
        self._metres: deque[float] = deque(maxlen=_KEPT)
        self._faults = Faults()
        self._sifter: StampSifter[tuple[int, _Moved]] = StampSifter(hold_first=False)
        self._restarts = 0
        self._gate: PositionGate[_Turn] = PositionGate(_SLACK_M, 1, self._faults)
        self._way = SignedWay()
        self._sideways = 0.0

    def add(self, stamp_ns: int, position: Sequence[float], orientation: Sequence[float]) -> None:
        """Take a sample: metres (x, y, z), and a quaternion (x, y, z, w) of any length."""
        x, y, z = position
        qx, qy, qz, qw = orientation
        with self._lock:
            sifted = self._sifter.take(stamp_ns, (stamp_ns, ((x, y, z), (qx, qy, qz, qw))))
            for (stamp, _), reason in sifted.left_out:
                self._faults.note("stamps", f"Odometry at {moment(stamp)} is left out: {reason}.")
            if self._sifter.restarts > self._restarts:
                self._restart(stamp_ns)
            for stamp, (there, turn) in sifted.kept:
                for sample in self._gate.add(stamp, there, turn):
                    self._drive(sample)

    def at(self, stamp_ns: int) -> float | None:
        """Metres driven since the first sample, linear between samples; they may be negative.

        None where no sample lies within a second of the stamp.
        """
        with self._lock:
            stamps, metres = list(self._stamps), list(self._metres)
            self._check_clock(stamp_ns)
        if not stamps or not stamps[0] - _STALE_NS <= stamp_ns <= stamps[-1] + _STALE_NS:
            return None
        after = bisect.bisect_left(stamps, stamp_ns)
        if after == 0:
            return metres[0]
        if after == len(stamps):
            return metres[-1]
        share = (stamp_ns - stamps[after - 1]) / (stamps[after] - stamps[after - 1])
        return metres[after - 1] + share * (metres[after] - metres[after - 1])

    def faults(self) -> dict[str, int]:
        """How often something contributed no motion.

        stamps: repeated, late or single leaping stamps.  restarts: clocks set back.  absurd: no
        finite position on Earth.  outliers: positions off the way.  jumps: frames set anew.
        no_heading: samples without an orientation, whose motion has no sign.  sideways: times 20 m
        were driven across the heading.  other_clock: images at a time far from all odometry.
        """
        with self._lock:
            return dict(self._faults.counts)

    def told(self) -> str:
        """The faults counted by kind, and the last in words; empty where there was no fault."""
        with self._lock:
            return str(self._faults)

    def _restart(self, stamp_ns: int) -> None:
        self._restarts = self._sifter.restarts
        self._faults.note(
            "restarts", f"The clock of the odometry was set back to {moment(stamp_ns)}."
        )
        self._gate.restart()
        self._stamps.clear()
        self._metres.clear()

    def _drive(self, sample: Sample[_Turn]) -> None:
        heading = forward_axis(sample.item)
        if heading is None:
            self._faults.note(
                "no_heading",
                "The odometry has no orientation, so driving backwards cannot be told: fill in "
                "pose.pose.orientation.",
            )
        self._check_sideways(self._way.add(sample.position, heading, sample.jumped))
        self._stamps.append(sample.stamp_ns)
        self._metres.append(self._way.metres)

    def _check_sideways(self, across: float) -> None:
        """Odometry that drives across its heading mostly has no heading of the body."""
        self._sideways = max(0.0, self._sideways + across)
        if self._sideways > _SIDEWAYS_M:
            self._sideways = 0.0
            self._faults.note(
                "sideways",
                "The odometry moves across its own heading: its orientation must turn the body's "
                "forward axis x into the frame of its positions.",
            )

    def _check_clock(self, stamp_ns: int) -> None:
        if not self._stamps:
            return
        off = max(self._stamps[0] - stamp_ns, stamp_ns - self._stamps[-1])
        if off > LONGEST_PAUSE_NS:
            self._faults.note(
                "other_clock",
                f"An image is of {moment(stamp_ns)} and the newest odometry of "
                f"{moment(self._stamps[-1])}: let one clock stamp both.",
            )


def pose_values(pose: Any) -> tuple[Vector, _Turn]:
    """Position and quaternion (x, y, z, w) of a geometry_msgs/Pose."""
    p, q = pose.position, pose.orientation
    return (p.x, p.y, p.z), (q.x, q.y, q.z, q.w)
