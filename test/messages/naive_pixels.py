"""Pixel layouts decoded one pixel at a time from their definitions, to hold the converters to."""

from __future__ import annotations

import numpy as np

from saane_ros.types import Rgb

PIXEL_BYTES = {
    "rgb8": 3,
    "bgr8": 3,
    "8UC3": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    "8UC1": 1,
    "mono16": 2,
    "yuv422": 2,
    "uyvy": 2,
    "yuv422_yuy2": 2,
    "yuyv": 2,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
}
ORDERS = {
    "rgb8": (0, 1, 2),
    "bgr8": (2, 1, 0),
    "8UC3": (2, 1, 0),
    "rgba8": (0, 1, 2),
    "bgra8": (2, 1, 0),
    "mono8": (0, 0, 0),
    "8UC1": (0, 0, 0),
}
UYVY, YUYV = (1, 0, 2), (0, 1, 3)
YUV_POSITIONS = {"yuv422": UYVY, "uyvy": UYVY, "yuv422_yuy2": YUYV, "yuyv": YUYV}
"""Byte of the first luma, of U and of V within the four bytes of two pixels."""


def decode(encoding: str, data: bytes, height: int, width: int, step: int, big: bool) -> Rgb:
    """RGB of every layout but Bayer; YUV is BT.601 in its limited range, in real numbers."""
    rgb = np.zeros((height, width, 3), np.uint8)
    size = PIXEL_BYTES[encoding]
    for row in range(height):
        for column in range(width):
            at = row * step + column * size
            rgb[row, column] = _pixel(encoding, data, at, column, big)
    return rgb


def _pixel(encoding: str, data: bytes, at: int, column: int, big: bool) -> list[int]:
    if encoding in ORDERS:
        return [data[at + offset] for offset in ORDERS[encoding]]
    if encoding == "mono16":
        value = int.from_bytes(data[at : at + 2], "big" if big else "little")
        return [(value * 255 + 32767) // 65535] * 3
    pair = at - 2 * (column % 2)
    luma, u, v = YUV_POSITIONS[encoding]
    y = 1.164 * max(0, data[pair + luma + 2 * (column % 2)] - 16)  # no foot room
    blue, red = data[pair + u] - 128, data[pair + v] - 128
    values = (y + 1.596 * red, y - 0.813 * red - 0.391 * blue, y + 2.018 * blue)
    return [min(255, max(0, round(value))) for value in values]


def demosaic(encoding: str, mosaic: np.ndarray) -> Rgb:
    """Bilinear interpolation of a Bayer mosaic; the outermost pixels repeat their neighbours."""
    height, width = mosaic.shape
    pattern = encoding[6:10]
    inner = np.zeros((height, width, 3), np.uint8)
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            for channel, colour in enumerate("rgb"):
                inner[row, column, channel] = _interpolated(mosaic, row, column, pattern, colour)
    rows = np.clip(np.arange(height), 1, height - 2)
    columns = np.clip(np.arange(width), 1, width - 2)
    return inner[rows][:, columns]


def _interpolated(mosaic: np.ndarray, row: int, column: int, pattern: str, colour: str) -> int:
    def is_colour(r: int, c: int) -> bool:
        return pattern[2 * (r % 2) + c % 2] == colour

    if is_colour(row, column):
        return int(mosaic[row, column])
    around = [(row + r, column + c) for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c]
    near = [int(mosaic[place]) for place in around if is_colour(*place)]
    return (sum(near) + len(near) // 2) // len(near)
