"""Frames on their way into a map: checked, and made ready for the network beside its work."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from saane_ros.data.frame_check import image_fault, pose_fault
from saane_ros.data.in_order import in_order
from saane_ros.data.poses.plausibility import Order, StampGate
from saane_ros.route_map.build_report import BuildReport
from saane_ros.route_map.journal import Journal, JournalRow
from saane_ros.types import Frame, Rgb

THUMBNAIL_SIZE = 240
"""Pixels of a thumbnail's longer side."""


class ReadyFrame(NamedTuple):
    """A frame that may be embedded, and its line of the journal.

    thumbnail: JPEG; empty where the journal has one already.
    """

    entry: JournalRow
    image: Rgb
    thumbnail: bytes


class FrameIntake:
    """Leaves out frames that cannot be places of a build, and tells its report."""

    def __init__(self, journal: Journal, report: BuildReport) -> None:
        self._journal, self._report = journal, report
        self._stamps = StampGate()
        self._mapped = range(0)

    def take_over(self, entries: Sequence[JournalRow]) -> None:
        """Leave out frames of the time of an interrupted build."""
        for entry in entries:
            self._stamps.arrive(entry.stamp_ns)
        stamps = [entry.stamp_ns for entry in entries]
        self._mapped = range(min(stamps), max(stamps) + 1) if stamps else range(0)

    def ready(self, frames: Iterable[Frame], ahead: int) -> Generator[ReadyFrame, None, None]:
        """Frames made ready in their order, so many before their use; see `in_order`."""
        return in_order(self._ready, self._sound(frames), ahead)

    def _sound(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            fault = image_fault(frame.image) or pose_fault(frame.pose) or self._stamp_fault(frame)
            if fault is None:
                yield frame
            else:
                self._report.skip(frame.name, frame.stamp_ns, fault)

    def _ready(self, frame: Frame) -> ReadyFrame:
        entry = JournalRow(_key(frame.image), frame.name, frame.stamp_ns, frame.pose)
        known = self._journal.find(entry.key) is not None
        return ReadyFrame(entry, frame.image, b"" if known else thumbnail_jpeg(frame.image))

    def _stamp_fault(self, frame: Frame) -> str | None:
        """Why a stamp is wrong; one far from that before is not: the clock may be set anew."""
        if frame.stamp_ns in self._mapped:
            return "the interrupted build has its time"
        order = self._stamps.arrive(frame.stamp_ns)
        if order is Order.REPEATED:
            return "its stamp is that of the frame before"
        return "its stamp is older than that of the frame before" if order is Order.OLDER else None


def thumbnail_jpeg(image: Rgb) -> bytes:
    """A small JPEG of an RGB image."""
    scale = min(1.0, THUMBNAIL_SIZE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1]
    return bytes(encoded.tobytes())


def _key(image: Rgb) -> str:
    # Processors have instructions for SHA-256: it takes half the time of BLAKE2.
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:32]
