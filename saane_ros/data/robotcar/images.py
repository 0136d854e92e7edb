"""The images of an Oxford RobotCar traversal: which are there, which are taken, their pixels.

File names and `*.timestamps` are Unix microseconds; this package speaks nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from saane_ros.data.images.files import read_pixels
from saane_ros.errors import SaaneError
from saane_ros.types import Rgb

BAYER = {"stereo": cv2.COLOR_BayerGR2RGB, "mono": cv2.COLOR_BayerBG2RGB}
"""OpenCV names a pattern by its second row and column: gbrg is GR, rggb is BG."""

_PNG_END = b"IEND\xaeB`\x82"

_TO_BGR = {
    cv2.COLOR_BayerGR2RGB: cv2.COLOR_BayerGR2BGR,
    cv2.COLOR_BayerBG2RGB: cv2.COLOR_BayerBG2BGR,
}

_TIME_DIGITS = 17
"""Microseconds of today have 16."""
LONGEST_WAIT_NS = 250_000_000
"""A second without an image nearer than this is left out."""

CAMERAS = (
    "stereo/left",
    "stereo/centre",
    "stereo/right",
    "mono_left",
    "mono_right",
    "mono_rear",
)


@dataclass(frozen=True)
class ImageListing:
    """The images of one camera.

    stamps_ns: of the images to use, rising: listed and on disk, or on disk where nothing lists.
    missing: listed, but their chunk was not downloaded.  unlisted: on disk, but not listed.
    unreadable: lines or names that are no time.  backwards: lines earlier than the line before.
    """

    stamps_ns: list[int]
    missing: int = 0
    unlisted: int = 0
    unreadable: int = 0
    backwards: int = 0

    def sentences(self) -> list[str]:
        """For a person to read; empty where all was well."""
        told = (
            (self.missing, "Images listed but not on disk (chunks not downloaded)"),
            (self.unlisted, "Images on disk that the timestamps do not list, left out"),
            (self.unreadable, "Lines or names without a time, left out"),
            (self.backwards, "Timestamps earlier than the one before, put in order"),
        )
        return [f"{what}: {count}." for count, what in told if count]


def list_images(traversal: Path, camera: str = "stereo/centre") -> ImageListing:
    """The images of a camera by `<camera>.timestamps`, or by their names where that is missing."""
    listed, folder = traversal / f"{camera.split('/')[0]}.timestamps", traversal / camera
    names = {path.stem for path in folder.glob("*.png")} if folder.is_dir() else set()
    times = {int(name) for name in names if _is_time(name)}
    strays = len(names) - len(times)
    if not listed.is_file():
        return ImageListing([1000 * time for time in sorted(times)], unreadable=strays)
    lines = [line.split() for line in listed.read_text("utf-8", "replace").splitlines()]
    words = [line[0] for line in lines if line]
    order = [int(word) for word in words if _is_time(word)]
    wanted = set(order)
    return ImageListing(
        [1000 * time for time in sorted(wanted & times)],
        missing=len(wanted - times),
        unlisted=len(times - wanted),
        unreadable=strays + len(words) - len(order),
        backwards=sum(after < before for before, after in pairwise(order)),
    )


def read_timestamps(traversal: Path, camera: str = "stereo/centre") -> list[int]:
    """Stamps (ns), rising, of the images that are on disk."""
    return list_images(traversal, camera).stamps_ns


def sampled(stamps_ns: list[int], rate: float) -> list[int]:
    """The stamps nearest to every 1 / rate seconds from the first; gaps are left out."""
    values = np.array(stamps_ns, np.int64)
    if not len(values):
        return []
    period = round(1e9 / rate)
    wanted = np.arange(values[0], values[-1] + 1, period)
    after = np.clip(np.searchsorted(values, wanted), 1, max(len(values) - 1, 1))
    after = np.minimum(after, len(values) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.where(wanted - values[before] <= values[after] - wanted, before, after)
    close = np.abs(values[nearer] - wanted) <= LONGEST_WAIT_NS
    return [int(stamp) for stamp in values[np.unique(nearer[close])]]


def image_path(traversal: Path, stamp_ns: int, camera: str = "stereo/centre") -> Path:
    return traversal / camera / f"{stamp_ns // 1000}.png"


def ends_whole(path: Path) -> bool:
    """Whether a file ends as a PNG does, which one that was copied half does not."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - len(_PNG_END)))
        return stream.read() == _PNG_END


def pattern_of(camera: str) -> int:
    """OpenCV's conversion code for the raw images of a camera."""
    return BAYER["stereo" if camera.startswith("stereo") else "mono"]


def pattern_to_bgr(pattern: int) -> int:
    """The code that gives BGR, as OpenCV encodes it, where `pattern` gives RGB."""
    return _TO_BGR[pattern]


def read_bayer(path: Path, pattern: int = BAYER["stereo"]) -> Rgb:
    """One raw image (8 bits, one channel) with its colours interpolated bilinearly."""
    raw = read_pixels(path)
    if raw.ndim != 2 or raw.dtype != np.uint8:
        raise SaaneError(
            f"{path} is no raw 8-bit Bayer image of RobotCar: extract the original archive again."
        )
    return np.asarray(cv2.cvtColor(raw, pattern), dtype=np.uint8)


def _is_time(text: str) -> bool:
    # isascii, as isdigit also holds for superscripts, which int() does not take.
    return text.isascii() and text.isdigit() and len(text) < _TIME_DIGITS
