"""The pixel layouts of sensor_msgs/Image that are understood, and how each becomes RGB.

The layouts are those of sensor_msgs/image_encodings; the results are the bytes that cv_bridge
gives for the desired encoding rgb8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.types import Rgb

Pixels = NDArray[Any]


@dataclass(frozen=True)
class Encoding:
    """One pixel layout.

    channels: values per pixel.  value_bytes: bytes per value.
    to_rgb: H x W (one channel) or H x W x channels, native byte order, to a new H x W x 3.
    smallest: least width and height.  even_width: two pixels share their colour.
    """

    channels: int
    to_rgb: Callable[[Pixels], Rgb]
    value_bytes: int = 1
    smallest: int = 1
    even_width: bool = False

    @property
    def pixel_bytes(self) -> int:
        return self.channels * self.value_bytes


def _copied(pixels: Pixels) -> Rgb:
    return pixels.copy()


def _by(code: int) -> Callable[[Pixels], Rgb]:
    return lambda pixels: converted(pixels, code)


def _grey16_to_rgb(pixels: Pixels) -> Rgb:
    return converted(to_8_bit(pixels), cv2.COLOR_GRAY2RGB)


def converted(pixels: Pixels, code: int) -> Rgb:
    """A new image by one of OpenCV's colour conversion codes."""
    return cast(Rgb, cv2.cvtColor(pixels, code))


def to_8_bit(values: Pixels) -> NDArray[np.uint8]:
    """uint16 to uint8 over the full range: round(value * 255 / 65535), cv_bridge's scaling."""
    return cast(Rgb, cv2.convertScaleAbs(values, alpha=255 / 65535))


_MONO = Encoding(1, _by(cv2.COLOR_GRAY2RGB))
_BGR = Encoding(3, _by(cv2.COLOR_BGR2RGB))
_UYVY = Encoding(2, _by(cv2.COLOR_YUV2RGB_UYVY), even_width=True)
_YUYV = Encoding(2, _by(cv2.COLOR_YUV2RGB_YUY2), even_width=True)

# OpenCV names a Bayer pattern by the four pixels that start at the second row and column, so that
# the sensor's RGGB is its "BG". Below 3 x 3 it interpolates nothing and returns black.
ENCODINGS: dict[str, Encoding] = {
    "rgb8": Encoding(3, _copied),
    "bgr8": _BGR,
    "rgba8": Encoding(4, _by(cv2.COLOR_RGBA2RGB)),
    "bgra8": Encoding(4, _by(cv2.COLOR_BGRA2RGB)),
    "mono8": _MONO,
    "mono16": Encoding(1, _grey16_to_rgb, value_bytes=2),
    "bayer_rggb8": Encoding(1, _by(cv2.COLOR_BayerBG2RGB), smallest=3),
    "bayer_bggr8": Encoding(1, _by(cv2.COLOR_BayerRG2RGB), smallest=3),
    "bayer_gbrg8": Encoding(1, _by(cv2.COLOR_BayerGR2RGB), smallest=3),
    "bayer_grbg8": Encoding(1, _by(cv2.COLOR_BayerGB2RGB), smallest=3),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "8UC1": _MONO,
    "8UC3": _BGR,
}
