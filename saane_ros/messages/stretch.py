"""From 16 bits to 8 by the values that a camera really gives, steadily along a drive.

What a camera sends in 16 bits has 10, 12 or 14 that count, or, of a thermal camera, a hundred of
65,536 levels. Scaled over the full range the image would be black, or a flat grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.messages.encodings import Pixels

To8Bit = Callable[[Pixels, bool], NDArray[np.uint8]]
"""Turns uint16 values (any shape) to uint8; True for grey, whose darkest value becomes black."""

Span = tuple[float, float]
"""The values that become 0 and 255."""

_QUANTILES = (0.01, 0.99)
"""Beyond these lie dead pixels, lamps and the sun."""
_FOLLOW_S = 10.0
"""Time constant: slow beside a passing car, quick beside the sun."""
_RESTART_S = 1.0
"""An image older by more than this begins another drive."""
_LEAST_LEVELS = 16
"""Of grey images: below, a flat wall would be all noise."""
_EIGHT_BITS = 255
"""Values that all lie below are 8 bits already: a covered camera stays black."""
_SAMPLES = 240
"""Rows and columns that the quantiles are taken of, at least."""


class Stretch:
    """The stretch of one camera's images along a drive; images come in the order of their times.

    The span of values follows the images' own quantiles with a time constant of 10 s, and no faster
    towards distant ones than towards those one span away, so that a hot or bright thing passing by
    does not change the look of all the rest. It begins anew at an
    image that lies mostly outside it (another exposure, a calibration of the sensor), and at one
    more than 1 s older than the last (another drive): the same images give the same results.
    """

    def __init__(self) -> None:
        self._span: Span | None = None
        self._stamp_ns = 0

    def to_8_bit(self, stamp_ns: int, values: Pixels, grey: bool) -> NDArray[np.uint8]:
        """uint16 to uint8. grey: stretch from the darkest value instead of 0, which keeps colours.

        stamp_ns: of the image.
        """
        sample = _sample(values)
        own, old = _span(sample, grey), self._span
        since_s = (stamp_ns - self._stamp_ns) / 1e9
        self._stamp_ns = stamp_ns
        if old is None or since_s < -_RESTART_S or _mostly_outside(sample, old):
            self._span = own
        else:
            weight = 1 - math.exp(-max(0.0, since_s) / _FOLLOW_S)
            width = old[1] - old[0]
            low, high = max(own[0], old[0] - width), min(own[1], old[1] + width)
            self._span = old[0] + weight * (low - old[0]), old[1] + weight * (high - old[1])
        return _stretched(values, self._span)


def stretched_alone(values: Pixels, grey: bool) -> NDArray[np.uint8]:
    """The stretch of an image that is no part of a drive, by its own values."""
    return _stretched(values, _span(_sample(values), grey))


def _sample(values: Pixels) -> Pixels:
    # Odd steps, as even ones would meet a single colour of a Bayer pattern.
    rows, columns = (max(1, side // _SAMPLES - 1) | 1 for side in values.shape[:2])
    sample = values[::rows, ::columns]
    return sample if sample.ndim == 2 else sample[..., :3]  # a fourth channel is alpha


def _span(sample: Pixels, grey: bool) -> Span:
    low, high = (float(value) for value in np.quantile(sample, _QUANTILES))
    if not grey or high <= _EIGHT_BITS:
        return 0.0, max(high, _EIGHT_BITS)
    return low, max(high, low + _LEAST_LEVELS)


def _mostly_outside(sample: Pixels, span: Span) -> bool:
    return float(np.mean((sample >= span[0]) & (sample <= span[1]))) < 0.5


def _stretched(values: Pixels, span: Span) -> NDArray[np.uint8]:
    low, high = round(span[0]), round(span[1])
    lifted = np.maximum(values, low) - low if low else values
    return np.asarray(cv2.convertScaleAbs(lifted, alpha=255 / (high - low)), np.uint8)
