"""From camera messages to RGB arrays: sensor_msgs/Image and sensor_msgs/CompressedImage.

Messages are read by their fields alone, so that those of rclpy and those that `rosbags` reads from
a bag are the same to every function here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from saane_ros.errors import SaaneError
from saane_ros.messages.compressed import compressed_to_rgb
from saane_ros.messages.cv_bridge import cv_bridge_encodings, cv_bridge_to_rgb
from saane_ros.messages.encodings import ENCODINGS, Encoding, Pixels
from saane_ros.types import Rgb

__all__ = ["compressed_to_rgb", "image_to_rgb"]


def image_to_rgb(message: Any) -> Rgb:
    """Convert a sensor_msgs/Image to a new uint8 H x W x 3 RGB array.

    cv_bridge converts where it is installed and was found to work, this package's own converters
    everywhere else; both give the same bytes. Rows may be padded (step beyond the pixels) and
    mono16 may be of either byte order.

    Raises SaaneError where the encoding is unknown or size, step and data do not fit each other.
    """
    encoding = _checked_encoding(message)
    if _fits_cv_bridge(message, encoding) and message.encoding in cv_bridge_encodings():
        return cv_bridge_to_rgb(message)
    return encoding.to_rgb(_pixels(message, encoding))


def _checked_encoding(message: Any) -> Encoding:
    known = ", ".join(ENCODINGS)
    if not message.encoding:
        raise SaaneError(f"The image names no encoding: have the camera set one of {known}.")
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise SaaneError(
            f"Image encoding {message.encoding!r} is not known: publish one of {known}."
        )
    _check_size(message, encoding)
    _check_data(message, encoding)
    return encoding


def _check_size(message: Any, encoding: Encoding) -> None:
    width, height = message.width, message.height
    size = f"The image is {width} x {height} pixels"
    if width < 1 or height < 1:
        raise SaaneError(f"{size}, which is no image: look at the camera driver's settings.")
    if min(width, height) < encoding.smallest:
        raise SaaneError(
            f"{size}, too small for {message.encoding}: publish at least "
            f"{encoding.smallest} x {encoding.smallest}."
        )
    if encoding.even_width and width % 2:
        raise SaaneError(
            f"{size}, but in {message.encoding} two pixels share their colour: publish an even "
            "width."
        )


def _check_data(message: Any, encoding: Encoding) -> None:
    row = message.width * encoding.pixel_bytes
    if message.step < row:
        raise SaaneError(
            f"The image's step is {message.step} bytes, but {message.width} pixels of "
            f"{message.encoding} take {row}: have the publisher set step to the bytes of a row."
        )
    expected = message.height * message.step
    found = len(message.data)
    if found != expected:
        raise SaaneError(
            f"The image holds {found} bytes, but {message.height} rows of {message.step} bytes are "
            f"{expected}: the data is {'cut short' if found < expected else 'too long'} or height "
            "or step are wrong; mend the publisher."
        )


def _fits_cv_bridge(message: Any, encoding: Encoding) -> bool:
    # Releases of cv_bridge differ in padded rows and in foreign byte order, from wrong bytes to
    # exceptions, so that these are never left to it.
    return message.step == message.width * encoding.pixel_bytes and not message.is_bigendian


def _pixels(message: Any, encoding: Encoding) -> Pixels:
    """The message's pixels without padding; a view of its data unless bytes must be swapped."""
    height, width = message.height, message.width
    rows = np.frombuffer(message.data, np.uint8).reshape(height, message.step)
    rows = rows[:, : width * encoding.pixel_bytes]
    if encoding.value_bytes == 2:
        order = ">u2" if message.is_bigendian else "<u2"
        return np.ascontiguousarray(rows).view(order).astype(np.uint16)
    return rows if encoding.channels == 1 else rows.reshape(height, width, encoding.channels)
