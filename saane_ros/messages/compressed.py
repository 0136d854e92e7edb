"""From sensor_msgs/CompressedImage (JPEG or PNG) to RGB arrays."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np

from saane_ros.errors import SaaneError
from saane_ros.messages.encodings import converted, to_8_bit
from saane_ros.types import Rgb

_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}


def compressed_to_rgb(message: Any) -> Rgb:
    """Decode a sensor_msgs/CompressedImage to a new uint8 H x W x 3 RGB array.

    The data itself tells JPEG from PNG, since publishers write `format` in many ways ("jpeg",
    "rgb8; jpeg compressed bgr8", "png"). 16-bit values are scaled to 8 bits, an alpha channel is
    dropped, an EXIF orientation is ignored: pixels stay where the camera's calibration has them.

    Raises SaaneError for a depth image, an unknown format, and cut or damaged data.
    """
    if "compressedDepth" in message.format:
        raise SaaneError(
            f"The compressed image has format {message.format!r}, a depth image: subscribe to a "
            "colour camera's topic."
        )
    data = np.frombuffer(message.data, np.uint8)
    encoded = data.tobytes()
    if not encoded:
        raise SaaneError("The compressed image holds no data: look at the camera driver.")
    _check_whole(encoded, message.format)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise SaaneError(
            f"The compressed image ({message.format or 'no format'}, {len(encoded)} bytes) cannot "
            "be decoded: its data is damaged; look at the camera driver and the link to it."
        )
    if pixels.dtype != np.uint8:
        pixels = to_8_bit(pixels)
    return converted(pixels, _TO_RGB[1 if pixels.ndim == 2 else pixels.shape[2]])


def _check_whole(encoded: bytes, format_: str) -> None:
    if encoded.startswith(_JPEG_START):
        whole, kind = _jpeg_is_whole(encoded), "JPEG"
    elif encoded.startswith(_PNG_START):
        whole, kind = png_is_whole(encoded), "PNG"
    else:
        raise SaaneError(
            f"The compressed image has format {format_!r} and is neither JPEG nor PNG: publish "
            "one of these."
        )
    if not whole:
        raise SaaneError(
            f"The {kind} image of {len(encoded)} bytes is cut short or damaged: look at the camera "
            "driver and the link to it."
        )


def _jpeg_is_whole(encoded: bytes) -> bool:
    # Decoders fill the rest of a cut JPEG with grey and say nothing. Within a scan every 0xff is
    # followed by 0 or a restart marker, so that the end marker after the last scan is the image's
    # own and not that of an embedded thumbnail.
    return encoded.rfind(_JPEG_END) > encoded.rfind(_JPEG_SCAN) >= 0


def png_is_whole(encoded: bytes) -> bool:
    """Whether PNG chunks follow each other up to the end chunk, each with the right checksum."""
    if not encoded.startswith(_PNG_START):
        return False
    at = len(_PNG_START)
    while at + 12 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, at)
        end = at + 8 + length
        if end + 4 > len(encoded):
            return False
        if zlib.crc32(encoded[at + 4 : end]) != struct.unpack_from(">I", encoded, end)[0]:
            return False
        if kind == b"IEND":
            return True
        at = end + 4
    return False
