"""From camera messages to RGB arrays: sensor_msgs/Image and sensor_msgs/CompressedImage.

Messages are read by their fields alone, so that those of rclpy and those that `rosbags` reads from
a bag are the same to every function here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from saane_ros.errors import SaaneError
from saane_ros.messages.compressed import compressed_to_rgb
from saane_ros.messages.cv_bridge import cv_bridge_encodings, cv_bridge_to_rgb
from saane_ros.messages.encoded import MOST_PIXELS
from saane_ros.messages.encodings import ENCODINGS, Encoding, Pixels
from saane_ros.messages.stretch import Stretch, To8Bit, stretched_alone
from saane_ros.types import Rgb


class ImageDecoder:
    """The images of one camera along a drive to RGB; each reader or subscription has its own.

    What it keeps from image to image is the steady stretch of 16-bit values (see `Stretch`).
    """

    def __init__(self) -> None:
        self._stretch = Stretch()

    def rgb(
        self,
        message: Any,
        compressed: bool,
        stamp_ns: int,
        least: tuple[int, int] | None = None,
    ) -> Rgb:
        """A sensor_msgs/Image or CompressedImage of this time as uint8 H x W x 3, RGB.

        least: height and width that it will be resized to; a large JPEG then comes out smaller.
        Raises SaaneError where it is damaged or of no use.
        """
        if compressed:
            return compressed_to_rgb(message, self.to_8_bit(stamp_ns), least)
        return image_to_rgb(message, self.to_8_bit(stamp_ns))

    def to_8_bit(self, stamp_ns: int) -> To8Bit:
        """The conversion of 16-bit values for an image of this time."""
        return partial(self._stretch.to_8_bit, stamp_ns)


def image_to_rgb(message: Any, to_8_bit: To8Bit = stretched_alone) -> Rgb:
    """Convert a sensor_msgs/Image to a new uint8 H x W x 3 RGB array.

    cv_bridge converts where it is installed and was found to work, this package's own converters
    everywhere else; both give the same bytes. Rows may be padded (step beyond the pixels). 16-bit
    values may be of either byte order and are brought to 8 bits by `to_8_bit`.

    Raises SaaneError where the encoding is unknown or size, step and data do not fit each other.
    """
    encoding = _known_encoding(message)
    height = _height(message, encoding)
    _check_size(message, encoding, height)
    _check_data(message, encoding, height)
    if _fits_cv_bridge(message, encoding) and message.encoding in cv_bridge_encodings():
        return cv_bridge_to_rgb(message)
    pixels = _pixels(message, encoding, height)
    if encoding.value_bytes == 2:
        pixels = to_8_bit(pixels, encoding.grey)
    return encoding.to_rgb(pixels)


def _known_encoding(message: Any) -> Encoding:
    known = ", ".join(ENCODINGS)
    if not message.encoding:
        raise SaaneError(f"The image names no encoding: have the camera set one of {known}.")
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise SaaneError(
            f"Image encoding {message.encoding!r} is not known: publish one of {known}."
        )
    return encoding


def _height(message: Any, encoding: Encoding) -> int:
    """The image's height; some publishers of two planes count the rows of both as height."""
    rows = message.height
    counts_both = encoding.rows_of_two == 3 and rows and len(message.data) == rows * message.step
    return rows * 2 // 3 if counts_both and rows % 3 == 0 else rows


def _check_size(message: Any, encoding: Encoding, height: int) -> None:
    width = message.width
    size = f"The image is {width} x {height} pixels"
    if width * height > MOST_PIXELS:
        raise SaaneError(f"{size}, more than any camera takes: mend the publisher.")
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
    if encoding.even_height and height % 2:
        raise SaaneError(
            f"{size}, but in {message.encoding} two rows share their colours: publish an even "
            "height."
        )


def _check_data(message: Any, encoding: Encoding, height: int) -> None:
    row = message.width * encoding.pixel_bytes
    if message.step < row:
        raise SaaneError(
            f"The image's step is {message.step} bytes, but {message.width} pixels of "
            f"{message.encoding} take {row}: have the publisher set step to the bytes of a row."
        )
    rows = encoding.rows(height)
    expected = rows * message.step
    found = len(message.data)
    if found != expected:
        raise SaaneError(
            f"The image holds {found} bytes, but {rows} rows of {message.step} bytes are "
            f"{expected}: the data is {'cut short' if found < expected else 'too long'} or height "
            "or step are wrong; mend the publisher."
        )


def _fits_cv_bridge(message: Any, encoding: Encoding) -> bool:
    # Releases of cv_bridge differ in padded rows and in foreign byte order, from wrong bytes to
    # exceptions, so that these are never left to it.
    return message.step == message.width * encoding.pixel_bytes and not message.is_bigendian


def _pixels(message: Any, encoding: Encoding, height: int) -> Pixels:
    """The message's pixels without padding; a view of its data unless bytes must be swapped."""
    count, width = encoding.rows(height), message.width
    rows: Pixels = np.frombuffer(message.data, np.uint8).reshape(count, message.step)
    rows = rows[:, : width * encoding.pixel_bytes]
    if encoding.value_bytes == 2:
        order = ">u2" if message.is_bigendian else "<u2"
        rows = np.ascontiguousarray(rows).view(order).astype(np.uint16, copy=False)
    return rows if encoding.channels == 1 else rows.reshape(count, width, encoding.channels)
