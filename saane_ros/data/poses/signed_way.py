"""How far a body has driven along its own heading: forwards gains metres, backwards loses them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from saane_ros.data.poses.plausibility import Displacement, Vector

BAND_M = 0.02
"""Odometry that moves less than this stands."""


class SignedWay:
    """Turning on the spot and standing gain nothing.

    metres: driven so far.
    """

    def __init__(self) -> None:
        self.metres = 0.0
        self._displacement = Displacement(BAND_M)
        self._heading: Vector | None = None

    def add(self, position: Vector, heading: Vector | None, jumped: bool = False) -> float:
        """Take a pose: metres (x, y, z), and the forward axis in their frame.

        Without a heading the displacement alone counts, which has no sign. jumped: the frame was
        set anew, which is no motion. Returns by how much the motion was rather across the mean of
        the headings at its ends than along it: length - 2 |along|, 0 where that is not known.
        """
        moved, before = self._displacement.add(position, jumped), self._heading
        if moved is not None or before is None or jumped:
            self._heading = heading
        if moved is None:
            return 0.0
        length = math.hypot(*moved)
        if heading is None or before is None:
            self.metres += length
            return 0.0
        mean = tuple(a + b for a, b in zip(before, heading, strict=True))
        size = math.hypot(*mean)
        if size < 1e-3:  # turned round between two samples: neither way is known
            return 0.0
        along = sum(m * h for m, h in zip(moved, mean, strict=True)) / size
        self.metres += along
        return length - 2 * abs(along)


def forward_axis(turn: Sequence[float]) -> Vector | None:
    """A body's axis x after a turn by a quaternion (x, y, z, w) of any length; None of zeros."""
    x, y, z, w = turn
    square = x * x + y * y + z * z + w * w
    if not 1e-12 < square < math.inf:
        return None
    return (
        1 - 2 * (y * y + z * z) / square,
        2 * (x * y + w * z) / square,
        2 * (x * z - w * y) / square,
    )
