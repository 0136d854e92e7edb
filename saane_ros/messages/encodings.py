"""The pixel layouts of sensor_msgs/Image that are understood, and how each becomes RGB.

The layouts are those of sensor_msgs/image_encodings; the results of 8-bit layouts are the bytes
that cv_bridge gives for the desired encoding rgb8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import cv2
from numpy.typing import NDArray

from saane_ros.types import Rgb

Pixels = NDArray[Any]


@dataclass(frozen=True)
class Encoding:
    """One pixel layout.

    channels: values per pixel in a row of data.  value_bytes: bytes per value.
    to_rgb: uint8 rows x W (one channel) or rows x W x channels to a new H x W x 3.
    grey: one value is a whole pixel.  smallest: least width and height.
    even_width, even_height: pixels beside or above each other share their colour.
    rows_of_two: rows of data for two rows of the image; three where a plane of colours follows.
    """

    channels: int
    to_rgb: Callable[[Pixels], Rgb]
    value_bytes: int = 1
    grey: bool = False
    smallest: int = 1
    even_width: bool = False
    even_height: bool = False
    rows_of_two: int = 2

    @property
    def pixel_bytes(self) -> int:
        return self.channels * self.value_bytes

    def rows(self, height: int) -> int:
        """Rows of data of an image of this height."""
        return height * self.rows_of_two // 2


def _copied(pixels: Pixels) -> Rgb:
    return pixels.copy()


def _by(code: int) -> Callable[[Pixels], Rgb]:
    return lambda pixels: converted(pixels, code)


def converted(pixels: Pixels, code: int) -> Rgb:
    """A new image by one of OpenCV's colour conversion codes."""
    return cast(Rgb, cv2.cvtColor(pixels, code))


_MONO = Encoding(1, _by(cv2.COLOR_GRAY2RGB), grey=True)
_BGR = Encoding(3, _by(cv2.COLOR_BGR2RGB))
_BGRA = Encoding(4, _by(cv2.COLOR_BGRA2RGB))
_UYVY = Encoding(2, _by(cv2.COLOR_YUV2RGB_UYVY), even_width=True)
_YUYV = Encoding(2, _by(cv2.COLOR_YUV2RGB_YUY2), even_width=True)


def _two_planes(code: int) -> Encoding:
    return Encoding(1, _by(code), even_width=True, even_height=True, rows_of_two=3)


# OpenCV names a Bayer pattern by the four pixels that start at the second row and column, so that
# the sensor's RGGB is its "BG". Below 3 x 3 it interpolates nothing and returns black.
_OF_8_BITS = {
    "rgb8": Encoding(3, _copied),
    "bgr8": _BGR,
    "rgba8": Encoding(4, _by(cv2.COLOR_RGBA2RGB)),
    "bgra8": _BGRA,
    "mono8": _MONO,
    "bayer_rggb8": Encoding(1, _by(cv2.COLOR_BayerBG2RGB), smallest=3),
    "bayer_bggr8": Encoding(1, _by(cv2.COLOR_BayerRG2RGB), smallest=3),
    "bayer_gbrg8": Encoding(1, _by(cv2.COLOR_BayerGR2RGB), smallest=3),
    "bayer_grbg8": Encoding(1, _by(cv2.COLOR_BayerGB2RGB), smallest=3),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _two_planes(cv2.COLOR_YUV2RGB_NV12),
    "nv21": _two_planes(cv2.COLOR_YUV2RGB_NV21),
    "8UC1": _MONO,
    "8UC3": _BGR,
    "8UC4": _BGRA,
}
_OF_16_BITS = {
    name.replace("8", "16"): replace(encoding, value_bytes=2)
    for name, encoding in _OF_8_BITS.items()
    if "8" in name
}
ENCODINGS: dict[str, Encoding] = {**_OF_8_BITS, **_OF_16_BITS}
