"""Which files are images, and their pixels."""

from __future__ import annotations

from pathlib import Path

from saane_ros.errors import SaaneError
from saane_ros.messages.compressed import picture_to_rgb
from saane_ros.messages.encoded import decode_picture
from saane_ros.messages.encodings import Pixels
from saane_ros.messages.stretch import To8Bit, stretched_alone
from saane_ros.types import Rgb

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name; hidden ones are none (macOS leaves `._a.jpg`)."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def read_image(path: Path, to_8_bit: To8Bit = stretched_alone) -> Rgb:
    """Decode an image file to RGB, turned as its EXIF data asks.

    to_8_bit: what becomes of 16-bit values; along a drive it is an `ImageDecoder`'s.

    Raises SaaneError where the file is missing, no image, cut off or absurdly large.
    """
    return picture_to_rgb(read_pixels(path), to_8_bit)


def read_pixels(path: Path) -> Pixels:
    """The same without any conversion: uint8 or uint16, H x W or H x W x 3 (BGR)."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SaaneError(f"The image {path} cannot be read: {error.strerror}.") from error
    return decode_picture(data, f"The file {path}", "copy or record it again", oriented=True)
