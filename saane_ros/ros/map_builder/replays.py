"""Which images come from a bag that is played again, and show a road that is mapped already."""

from __future__ import annotations

import zlib

from saane_ros.ros.intake.image_intake import ImageMessage
from saane_ros.ros.shared.clock import nanoseconds

_LOST_IN_A_ROW = 10


class Replays:
    """Remembers the stamp and the bytes of every image, as one number of 64 bits.

    A clock that is set back alone repeats no bytes. What was lost on the way the first time is
    known by the images around it: a repetition ends after ten images in a row that are new.
    count: images that came again.
    """

    def __init__(self) -> None:
        self.count = 0
        self._seen: set[int] = set()
        self._new_in_a_row = _LOST_IN_A_ROW

    def repeats(self, message: ImageMessage) -> bool:
        """Whether an image is of a drive that was seen before."""
        key = hash((nanoseconds(message.header.stamp), zlib.crc32(message.data)))
        self._new_in_a_row = 0 if key in self._seen else self._new_in_a_row + 1
        self._seen.add(key)
        repeated = self._new_in_a_row < _LOST_IN_A_ROW
        self.count += repeated
        return repeated
