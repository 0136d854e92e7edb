"""From a confidence to a state, at a stated rate of errors."""

from __future__ import annotations

from saane_ros.types import MatchState

HALF = 0.5
OFF_FRAMES = 5
"""Frames in a row that must speak for being off the map before it is said."""


class Decision:
    """LOCALIZED from the accepted confidence on; OFF_ROUTE after five frames in a row that are
    rather elsewhere; between, UNCERTAIN where the place is rather right, else LOST.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin as lost."""
        self._off_frames = 0

    def state(self, confidence: float, off: float, accepted: float) -> MatchState:
        """The state after a frame with this confidence in its place and belief in being off."""
        self._off_frames = self._off_frames + 1 if off >= HALF else 0
        if confidence >= accepted:
            return MatchState.LOCALIZED
        if self._off_frames >= OFF_FRAMES:
            return MatchState.OFF_ROUTE
        return MatchState.UNCERTAIN if confidence >= HALF and off < HALF else MatchState.LOST
