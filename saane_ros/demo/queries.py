"""The query frames without their pixels, and which of them a published image was."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from saane_ros.demo.scene import Recording
from saane_ros.progress import progress
from saane_ros.ros.listening.digest import image_digest
from saane_ros.types import Frame

_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Queries:
    """frames: without images, in the order of the drive.  digests: of their images."""

    frames: list[Frame]
    digests: list[bytes]

    def __len__(self) -> int:
        return len(self.frames)


def read_queries(recording: Recording) -> Queries:
    """Read a drive once."""
    frames, digests = [], []
    for frame in progress(recording.frames(), "queries", recording.count, "frame"):
        digests.append(image_digest(frame.image))
        frames.append(replace(frame, image=_NO_IMAGE))
    return Queries(frames, digests)


def query_by_stamp(images: Sequence[tuple[int, bytes]], queries: Queries) -> dict[int, int]:
    """Which query every published image is, by its stamp; images that are none are left out.

    images: stamp and digest in the order of publication. Of queries with equal images the first
    that was not seen yet is meant.
    """
    unseen: dict[bytes, deque[int]] = defaultdict(deque)
    for query, digest in enumerate(queries.digests):
        unseen[digest].append(query)
    return {stamp: unseen[digest].popleft() for stamp, digest in images if unseen[digest]}
