"""Encoded pictures, of files and of messages: what they are, how large, whole or cut, and decoded.

OpenCV decodes. Before it may, this module asks what OpenCV's releases do not: some fill the rest of
a cut JPEG with grey and say nothing, and all take the memory for whatever size a header claims.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np

from saane_ros.errors import SaaneError
from saane_ros.messages.encodings import Pixels

MOST_PIXELS = 1 << 27
"""134 million, 0.4 GB as RGB: more than any camera's image, less than what ends a process."""

Header = tuple[int, int, bool]
"""Width, height, and whether the data is whole as far as its container tells."""

LEFT = 2
"""Pixels that halving leaves for one of what an image is resized to, on either side."""
_REDUCED = {
    1: cv2.IMREAD_REDUCED_COLOR_2,
    2: cv2.IMREAD_REDUCED_COLOR_4,
    3: cv2.IMREAD_REDUCED_COLOR_8,
}
_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_JPEG_SCAN_END = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_JPEG_BETWEEN_SCANS = frozenset((0xC4, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE))
_PNM_NUMBER = rb"(?:\s|#[^\n]*\n)+(\d{1,9})"
_PNM = re.compile(rb"P[1-6]" + 2 * _PNM_NUMBER)
_TIFF_SIZES = {256: "width", 257: "height", 322: "tile width", 323: "tile height"}


def halvings(height: int, width: int, least: tuple[int, int]) -> int:
    """How often an image can be halved on its way to a height and width, each time evenly.

    The means of 2 x 2 pixels are quick, and the means of those are the means of all but for pixels
    that lie across.
    """
    count = 0
    while min(height / least[0], width / least[1]) >= 2 * LEFT and not (height % 2 or width % 2):
        height, width, count = height // 2, width // 2, count + 1
    return count


def decode_picture(
    data: bytes,
    name: str,
    remedy: str,
    oriented: bool = False,
    least: tuple[int, int] | None = None,
) -> Pixels:
    """Pixels of a JPEG, PNG, WebP, TIFF, BMP or PNM: uint8 or uint16, H x W or H x W x 3 (BGR).

    Whatever lies behind the picture (padding, the video of a motion photo) is no part of it.
    oriented: turn the picture as its EXIF data asks.  name, remedy: the error's first and last
    words.  least: height and width that it will be resized to; a JPEG is halved while it is decoded
    as often as `halvings` says, which saves two thirds of the time.

    Raises SaaneError for other data, cut or damaged data, other values than 8 or 16 bits, and a
    header that claims more than MOST_PIXELS, before memory is taken for them.
    """
    if not data:
        raise SaaneError(f"{name} is no whole image, as it is empty: {remedy}.")
    kind = next((kind for kind, (start, _) in _KINDS.items() if start.match(data)), None)
    if kind is None:
        raise SaaneError(
            f"{name} is no whole image, as it is none of {', '.join(_KINDS)}: convert it to one of "
            "these."
        )
    damaged = SaaneError(
        f"{name} is no whole image, as its {kind} is cut short or damaged: {remedy}."
    )
    try:
        width, height, whole = _KINDS[kind][1](data)
    except (struct.error, IndexError, ValueError) as error:
        raise damaged from error
    if width * height > MOST_PIXELS:
        raise SaaneError(
            f"{name} claims {width} x {height} pixels, more than any camera takes: {remedy}."
        )
    if not whole or width < 1 or height < 1:
        raise damaged
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
    if least is not None and kind == "JPEG" and not oriented:
        flags = _REDUCED.get(min(halvings(height, width, least), max(_REDUCED)), flags)
    if not oriented:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise damaged from error
    if pixels is None:
        raise damaged
    if pixels.dtype not in (np.uint8, np.uint16):
        raise SaaneError(f"{name} holds {pixels.dtype} values: convert it to 8 or 16 bits.")
    return pixels


def _jpeg(data: bytes) -> Header:
    """Segment by segment (ITU-T T.81, B.1) to the end marker, as libjpeg reads it.

    Segments are stepped over, so that the end of a thumbnail inside one ends nothing. Within a scan
    every 0xff is followed by 0 or a restart marker; one followed by anything else ends the scan.
    """
    width = height = at = 0
    expected = _JPEG_MARKER
    scanned = False
    while (found := expected.search(data, at)) is not None:
        marker, at = found[1][0], found.end()
        expected = _JPEG_MARKER
        if scanned and marker not in _JPEG_BETWEEN_SCANS:
            break
        if marker == 0xD9:
            return width, height, scanned
        if marker in _JPEG_ALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
        at += length
        if marker == 0xDA:
            scanned, expected = True, _JPEG_SCAN_END
    return width, height, False


def _png(data: bytes) -> Header:
    """Chunk by chunk to the end chunk, each with the right checksum."""
    start, width, height = struct.unpack_from(">4sII", data, 12)
    if start != b"IHDR":
        return 0, 0, False
    at = len(_PNG_START)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(data[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            break
        if kind == b"IEND":
            return width, height, True
        at = end + 4
    return width, height, False


def _webp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 4)
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return width, height, 8 + size <= len(data)


def _tiff(data: bytes) -> Header:
    """Width and height of the first page, or of its tiles where these are larger."""
    order = "<" if data[:1] == b"I" else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    sizes = dict.fromkeys(_TIFF_SIZES.values(), 0)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, type_ = struct.unpack_from(f"{order}HH", data, entry)
        if tag in _TIFF_SIZES:
            form = "H" if type_ == 3 else "I"
            (sizes[_TIFF_SIZES[tag]],) = struct.unpack_from(f"{order}{form}", data, entry + 8)
    page, tile = (sizes["width"], sizes["height"]), (sizes["tile width"], sizes["tile height"])
    width, height = max(page, tile, key=lambda size: size[0] * size[1])
    return width, height, True


def _bmp(data: bytes) -> Header:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return abs(width), abs(height), True


def _pnm(data: bytes) -> Header:
    found = _PNM.match(data)
    return (int(found[1]), int(found[2]), True) if found else (0, 0, False)


_KINDS: dict[str, tuple[re.Pattern[bytes], Callable[[bytes], Header]]] = {
    "JPEG": (re.compile(rb"\xff\xd8\xff"), _jpeg),
    "PNG": (re.compile(re.escape(_PNG_START)), _png),
    "WebP": (re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    "TIFF": (re.compile(rb"II\*\0|MM\0\*"), _tiff),
    "BMP": (re.compile(rb"BM"), _bmp),
    "PNM": (re.compile(rb"P[1-6][\s#]"), _pnm),
}
"""How each kind begins, and what reads its header; of the last three OpenCV itself finds cuts."""
