"""What the stamps of arriving images tell: order, rate, and how many images never came."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

from saane_ros.data.poses.plausibility import Order, StampGate

_INTERVALS = 30  # intervals in the median
_ENOUGH = 5  # intervals before a gap is judged
_PAUSE_NS = 3_000_000_000  # a longer gap (and than ten intervals) is a pause, not a loss


class SequenceNumbers:
    """Counts the messages lost between each publisher and here, by the middleware's numbering."""

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}

    def lost_before(self, info: Mapping[str, Any]) -> int | None:
        """Messages of the same publisher lost just before this one; None where it has no number.

        info: what rclpy tells of a message. Fast DDS numbers messages and names the publisher from
        ROS 2 Iron and Kilted on.
        """
        number, publisher = info.get("publication_sequence_number"), info.get("publisher_gid")
        if number is None or publisher is None:
            return None
        key = bytes(publisher["data"])
        last, self._last[key] = self._last.get(key, number - 1), number
        return max(0, number - last - 1)


class StampMonitor:
    """Follows the stamps of one image stream.

    Where nobody knows how many images were lost on the way, they are estimated by the gaps: a gap
    of n median intervals hides n - 1 images. `lost` is their sum since the start, `loss` their
    share of the last intervals.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._gate = StampGate()
        self._intervals: deque[int] = deque(maxlen=_INTERVALS)
        self._missing: deque[int] = deque(maxlen=_INTERVALS)

    def arrive(self, stamp_ns: int, lost: int | None = None) -> Order:
        """Take note of an image; only one whose order is `usable` may be used.

        lost: images known to be lost just before it, None where nobody knows.
        """
        self.lost += lost or 0
        newest = self._gate.last
        order = self._gate.arrive(stamp_ns)
        if order is Order.RESTARTED:
            self._intervals.clear()
            self._missing.clear()
        if order is not Order.NEW or newest is None:
            return order
        interval = stamp_ns - newest
        if interval <= max(_PAUSE_NS, 10 * self.interval_ns()):
            estimated = self._missing_in(interval) if lost is None else 0
            self.lost += estimated
            self._missing.append(estimated + (lost or 0))
            self._intervals.append(interval)
        return order

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
