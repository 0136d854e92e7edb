"""From sensor_msgs/CompressedImage to RGB arrays."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from saane_ros.errors import SaaneError
from saane_ros.messages.encoded import decode_picture
from saane_ros.messages.encodings import ENCODINGS, Pixels, converted
from saane_ros.messages.stretch import To8Bit, stretched_alone
from saane_ros.types import Rgb

_REMEDY = "look at the camera driver and the link to it"


def compressed_to_rgb(
    message: Any, to_8_bit: To8Bit = stretched_alone, least: tuple[int, int] | None = None
) -> Rgb:
    """Decode a sensor_msgs/CompressedImage to a new uint8 H x W x 3 RGB array.

    The data itself tells JPEG, PNG, WebP and TIFF apart and has its colours in the order that its
    standard says, since publishers write `format` in many ways ("jpeg", "rgb8; jpeg compressed
    bgr8", "png"). Only `format` tells a Bayer pattern, which compressed_image_transport compresses
    as grey ("bayer_rggb8; jpeg compressed "). 16-bit values are brought to 8 bits by `to_8_bit`, an
    alpha channel is dropped, an EXIF orientation is ignored: pixels stay where the camera's
    calibration has them.  least: see `decode_picture`; a Bayer pattern is never halved.

    Raises SaaneError for a depth image, an unknown format, and cut or damaged data.
    """
    format_ = message.format.strip()
    if "compresseddepth" in format_.lower():
        raise SaaneError(
            f"The compressed image has format {format_!r}, a depth image: subscribe to a "
            "colour camera's topic."
        )
    data = np.frombuffer(message.data, np.uint8).tobytes()
    name = f"The compressed image ({format_ or 'no format'}, {len(data)} bytes)"
    encoding = format_.split(";")[0].strip()
    whole = encoding.startswith("bayer_")
    picture = decode_picture(data, name, _REMEDY, least=None if whole else least)
    return picture_to_rgb(picture, to_8_bit, encoding)


def picture_to_rgb(picture: Pixels, to_8_bit: To8Bit, encoding: str = "") -> Rgb:
    """A decoded picture as RGB. encoding: of the image that was encoded, where it is known."""
    grey = picture.ndim == 2
    # The sensor's own 16 bits may have become 8 on the way, as JPEG has no more.
    bayer = ENCODINGS.get(f"{encoding[:10]}8") if grey and encoding.startswith("bayer_") else None
    if picture.dtype != np.uint8:
        picture = to_8_bit(picture, grey and bayer is None)
    if bayer is not None and min(picture.shape) >= bayer.smallest:
        return bayer.to_rgb(picture)
    return converted(picture, cv2.COLOR_GRAY2RGB if grey else cv2.COLOR_BGR2RGB)
