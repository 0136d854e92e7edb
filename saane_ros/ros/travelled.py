"""How far the robot has driven, from odometry, at the time of any image."""

from __future__ import annotations

import bisect
import math
import threading
from collections import deque

_KEPT = 2000  # samples, 40 s at 50 Hz
_FASTEST = 100.0  # m/s; a longer step is a reset of the odometry, not motion
_STALE_NS = 1_000_000_000


class TravelledDistance:
    """Sums the steps between odometry positions; filled and read from different threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stamps: deque[int] = deque(maxlen=_KEPT)
        self._metres: deque[float] = deque(maxlen=_KEPT)
        self._position: tuple[float, float, float] | None = None

    def add(self, stamp_ns: int, position: tuple[float, float, float]) -> None:
        """Take a sample; one that is not newer than the last, or not finite, is left out."""
        if not all(map(math.isfinite, position)):
            return
        with self._lock:
            if self._stamps and self._stamps[-1] - stamp_ns > _STALE_NS:
                self._stamps.clear()  # a bag played again: its distances go on from here
                metres = self._metres[-1]
                self._metres.clear()
                self._append(stamp_ns, metres, position)
            elif not self._stamps:
                self._append(stamp_ns, 0.0, position)
            elif stamp_ns > self._stamps[-1]:
                step = math.dist(position, self._position or position)
                seconds = (stamp_ns - self._stamps[-1]) / 1e9
                moved = step if step <= _FASTEST * seconds else 0.0
                self._append(stamp_ns, self._metres[-1] + moved, position)

    def at(self, stamp_ns: int) -> float | None:
        """Metres driven since the first sample, linear between samples.

        None where no sample lies within a second of the stamp.
        """
        with self._lock:
            stamps, metres = list(self._stamps), list(self._metres)
        if not stamps or not stamps[0] - _STALE_NS <= stamp_ns <= stamps[-1] + _STALE_NS:
            return None
        after = bisect.bisect_left(stamps, stamp_ns)
        if after == 0:
            return metres[0]
        if after == len(stamps):
            return metres[-1]
        share = (stamp_ns - stamps[after - 1]) / (stamps[after] - stamps[after - 1])
        return metres[after - 1] + share * (metres[after] - metres[after - 1])

    def _append(self, stamp_ns: int, metres: float, position: tuple[float, float, float]) -> None:
        self._stamps.append(stamp_ns)
        self._metres.append(metres)
        self._position = position
