"""What the stamps of arriving images tell: order, rate, and how many images never came."""

from __future__ import annotations

from collections import deque
from enum import Enum
from statistics import median

_INTERVALS = 30  # intervals in the median
_ENOUGH = 5  # intervals before a gap is judged
_PAUSE_NS = 1_000_000_000  # a longer gap is a pause of the camera, not a loss
_RESTART_NS = 1_000_000_000  # a longer step back is a new start (a bag played again)


class Order(Enum):
    NEW = "new"
    REPEATED = "repeated"
    OLDER = "older"
    RESTARTED = "restarted"


class StampMonitor:
    """Follows the stamps of one image stream.

    Images lost on the way are estimated by the gaps: a gap of n median intervals hides n - 1
    images. `lost` is their sum since the start, `loss` their share of the last intervals.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._newest: int | None = None
        self._intervals: deque[int] = deque(maxlen=_INTERVALS)
        self._missing: deque[int] = deque(maxlen=_INTERVALS)

    def arrive(self, stamp_ns: int) -> Order:
        """Take note of an image; only one whose order is NEW or RESTARTED may be used."""
        newest = self._newest
        if newest is None or newest - stamp_ns > _RESTART_NS:
            self._newest = stamp_ns
            self._intervals.clear()
            self._missing.clear()
            return Order.NEW if newest is None else Order.RESTARTED
        interval = stamp_ns - newest
        if interval <= 0:
            return Order.OLDER if interval else Order.REPEATED
        self._newest = stamp_ns
        if interval <= _PAUSE_NS or interval <= 2 * self.interval_ns():
            missing = self._missing_in(interval)
            self.lost += missing
            self._missing.append(missing)
            self._intervals.append(interval)
        return Order.NEW

    def interval_ns(self) -> float:
        """Median time between two images, 0 before the second."""
        return median(self._intervals) if self._intervals else 0.0

    def loss(self) -> float:
        """Share of the expected images that did not come, over the last intervals; 0 to 1."""
        missing = sum(self._missing)
        return missing / max(1, missing + len(self._missing))

    def _missing_in(self, interval: int) -> int:
        if len(self._intervals) < _ENOUGH:
            return 0
        return max(0, round(interval / self.interval_ns()) - 1)
