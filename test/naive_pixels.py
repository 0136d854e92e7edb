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
    "8UC4": 4,
    "mono8": 1,
    "8UC1": 1,
    "rgb16": 6,
    "bgr16": 6,
    "16UC3": 6,
    "rgba16": 8,
    "bgra16": 8,
    "16UC4": 8,
    "mono16": 2,
    "16UC1": 2,
    "yuv422": 2,
    "uyvy": 2,
    "yuv422_yuy2": 2,
    "yuyv": 2,
    "nv12": 1,
    "nv21": 1,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
    "bayer_rggb16": 2,
    "bayer_bggr16": 2,
    "bayer_gbrg16": 2,
    "bayer_grbg16": 2,
}
ORDERS = {
    "rgb": (0, 1, 2),
    "bgr": (2, 1, 0),
    "UC3": (2, 1, 0),
    "rgba": (0, 1, 2),
    "bgra": (2, 1, 0),
    "UC4": (2, 1, 0),
    "mono": (0, 0, 0),
    "UC1": (0, 0, 0),
}
"""Place of red, green and blue in a pixel, by the name of the layout without its bits."""
UYVY, YUYV = (1, 0, 2), (0, 1, 3)
YUV_POSITIONS = {"yuv422": UYVY, "uyvy": UYVY, "yuv422_yuy2": YUYV, "yuyv": YUYV}
"""Byte of the first luma, of U and of V within the four bytes of two pixels."""
PLANES = {"nv12": (0, 1), "nv21": (1, 0)}
"""Byte of U and of V within the two bytes of four pixels."""


def decode(encoding: str, data: bytes, height: int, width: int, step: int, big: bool) -> Rgb:
    """RGB of every layout but Bayer; YUV is BT.601 in its limited range, in real numbers."""
    if encoding in YUV_POSITIONS or encoding in PLANES:
        rgb = np.zeros((height, width, 3), np.uint8)
        for row in range(height):
            for column in range(width):
                rgb[row, column] = _yuv_pixel(encoding, data, height, step, row, column)
        return rgb
    values = numbers(encoding, data, height, width, step, big)
    order = ORDERS[encoding.replace("16", "").replace("8", "")]
    if "16" in encoding:
        grey = len(set(order)) == 1
        values = stretched(values[:, :, :1] if grey else values[:, :, :3], grey)
    return values[:, :, list(order)].astype(np.uint8)


def numbers(
    encoding: str, data: bytes, height: int, width: int, step: int, big: bool
) -> np.ndarray:
    """The values as they were sent, height x width x values of a pixel."""
    size = 2 if "16" in encoding else 1
    count = PIXEL_BYTES[encoding] // size
    values = np.zeros((height, width, count), int)
    for row in range(height):
        for column in range(width):
            for number in range(count):
                at = row * step + (column * count + number) * size
                order = "big" if big else "little"
                values[row, column, number] = int.from_bytes(data[at : at + size], order)
    return values


def stretched(values: np.ndarray, grey: bool) -> Rgb:
    """16 bits to 8, from the lowest per cent (0 for colours) to the highest, in real numbers."""
    low, high = span(sorted(values.ravel().tolist()), grey)
    flat = [min(1.0, max(0.0, (v - low) / (high - low))) for v in values.ravel().tolist()]
    return np.array([round(255 * v) for v in flat], np.uint8).reshape(values.shape)


def span(ordered: list[int], grey: bool) -> tuple[int, int]:
    low, high = _quantile(ordered, 0.01), _quantile(ordered, 0.99)
    if not grey or high <= 255:
        return 0, round(max(high, 255))
    return round(low), round(max(high, low + 16))


def _quantile(ordered: list[int], share: float) -> float:
    at = share * (len(ordered) - 1)
    before = int(at)
    after = min(before + 1, len(ordered) - 1)
    return ordered[before] + (at - before) * (ordered[after] - ordered[before])


def _yuv_pixel(
    encoding: str, data: bytes, height: int, step: int, row: int, column: int
) -> list[int]:
    if encoding in PLANES:
        u, v = PLANES[encoding]
        pair = (height + row // 2) * step + 2 * (column // 2)
        luma = data[row * step + column]
    else:
        first, u, v = YUV_POSITIONS[encoding]
        pair = row * step + 4 * (column // 2)
        luma = data[pair + first + 2 * (column % 2)]
    y = 1.164 * max(0, luma - 16)  # no foot room
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
