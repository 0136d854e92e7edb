"""What became of the frames: counts, rates and latencies, safe across threads."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque

import numpy as np

_WINDOW_S = 5.0
_AGES = 200


class FrameCounters:
    """Every frame that came in is processed, dropped or failed, or is one of the two under way.

    Frames lost on the way never came in; they are counted beside.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._times: dict[str, deque[float]] = {
            "in": deque(maxlen=1000),
            "processed": deque(maxlen=1000),
        }
        self._ages: deque[float] = deque(maxlen=_AGES)
        self.last_error = ""

    def count(self, what: str, number: int = 1) -> None:
        """Add to one of in, processed, dropped, failed, lost."""
        with self._lock:
            self._counts[what] += number
            if what in self._times:
                self._times[what].append(time.monotonic())

    def fail(self, reason: str) -> None:
        """Count a frame that could not be used, and keep the reason."""
        self.count("failed")
        self.last_error = reason

    def aged(self, milliseconds: float) -> None:
        """Take note of the age of an image at the publication of its result."""
        with self._lock:
            self._ages.append(milliseconds)

    def __getitem__(self, what: str) -> int:
        with self._lock:
            return self._counts[what]

    def rate(self, what: str) -> float:
        """Frames a second over the last seconds, of `in` or `processed`."""
        now = time.monotonic()
        with self._lock:
            recent = [moment for moment in self._times[what] if now - moment <= _WINDOW_S]
        return len(recent) / _WINDOW_S

    def age_ms(self, percentile: float) -> float:
        """Percentile of the image ages of the last results; NaN before the first."""
        with self._lock:
            ages = list(self._ages)
        return float(np.percentile(ages, percentile)) if ages else float("nan")
