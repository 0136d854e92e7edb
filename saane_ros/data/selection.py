"""Which frames of a drive become places: one rule for folders, bags and live topics."""

from __future__ import annotations

import math

from saane_ros.errors import SaaneError


class Selector:
    """Keeps the first frame and then one every so many metres or seconds; without either, all.

    Works on stamps and distances alone, so that a reader may ask before it decodes an image. They
    may begin anew: a clock that is set back or a way that is measured again starts a new step.
    """

    def __init__(
        self, every_metres: float | None = None, every_seconds: float | None = None
    ) -> None:
        if every_metres is not None and every_seconds is not None:
            raise SaaneError("Frames are taken every x metres or every x seconds: give one.")
        for name, value in (("metres", every_metres), ("seconds", every_seconds)):
            if value is not None and not 0 < value < float("inf"):
                raise SaaneError(f"Frames every {value} {name}: give a number above 0.")
        self._metres = every_metres
        self._nanoseconds = None if every_seconds is None else round(every_seconds * 1e9)
        self._last: float | None = None

    def keep(self, stamp_ns: int, travelled: float | None = None) -> bool:
        """Whether the frame with this stamp (ns) and distance since the start (m) is taken."""
        if self._metres is not None:
            if travelled is None:
                raise SaaneError(
                    "Frames every x metres need a pose or odometry for every frame: "
                    "name a pose source, or take frames every x seconds."
                )
            if not math.isfinite(travelled):
                return False
            # A millimetre of slack, so that 10 x 0.1 m is 1 m.
            far = self._last is None or abs(travelled - self._last) >= self._metres - 1e-3
            return self._take(travelled, far)
        if self._nanoseconds is not None:
            late = self._last is None or not 0 <= stamp_ns - self._last < self._nanoseconds
            return self._take(stamp_ns, late)
        return True

    def _take(self, position: float, taken: bool) -> bool:
        if taken:
            self._last = position
        return taken
