"""Oxford RobotCar: pairs of traversals, one image a second of the centre camera, INS positions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.datasets.image_lists import ImageFiles
from saane_ros.data.datasets.truth import FRAMES, RADIUS_M, along_route
from saane_ros.data.datasets.where import Where
from saane_ros.data.pose_track import PoseTrack
from saane_ros.data.robotcar.images import image_path, read_bayer, read_timestamps
from saane_ros.data.robotcar.poses import POSE_FILES, read_pose_track
from saane_ros.data.robotcar.sampling import sampled
from saane_ros.errors import SaaneError


@dataclass(frozen=True)
class RobotCar:
    """references, queries: traversals.  rate: images per second.  poses: which file positions.

    frames, radius: tolerance; revisit_ok: any pass in the same direction is right.
    """

    references: str
    queries: str
    rate: float = 1.0
    poses: Literal["ins", "gps", "rtk"] = "ins"
    frames: int = FRAMES
    radius: float = RADIUS_M
    revisit_ok: bool = True


@dataclass(frozen=True)
class Traversal:
    """images: debayered.  positions: UTM (n, 2), NaN outside the track.  courses: degrees (n,)."""

    images: ImageFiles
    positions: NDArray[np.float64]
    courses: NDArray[np.float64]


def read(where: Where, options: RobotCar) -> list[Dataset]:
    """One dataset."""
    reference, query = (
        read_traversal(where, name, options) for name in (options.references, options.queries)
    )
    correct = along_route(
        query.positions,
        query.courses,
        reference.positions,
        reference.courses,
        options.radius,
        options.frames,
        options.revisit_ok,
    )
    return [
        Dataset(
            where.name,
            query.images,
            reference.images,
            correct,
            f"traversal {options.queries} searched in {options.references}, stereo/centre at "
            f"{options.rate:g} images/s, {options.poses.upper()} positions",
            f"{options.frames} frames around a pass within {options.radius:g} m and 45 degrees"
            + ("" if options.revisit_ok else ", the nearest pass only"),
            query.positions,
            reference.positions,
        )
    ]


def read_traversal(where: Where, name: str, options: RobotCar) -> Traversal:
    folder = where.folder(name)
    stamps = read_timestamps(folder)
    if not stamps:
        raise SaaneError(f"{folder / 'stereo/centre'} holds no image of RobotCar: {where.source}")
    kept = sampled(stamps, options.rate)
    track = read_pose_track(where.file(name, *POSE_FILES[options.poses].split("/")))
    images = ImageFiles([image_path(folder, stamp) for stamp in kept], None, _decode, "bayer gbrg")
    return Traversal(images, *_placed(track, kept))


def _decode(path: Path) -> np.ndarray:
    return read_bayer(path)


def _placed(track: PoseTrack, stamps: list[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions (n, 2) and courses (n,) at the stamps; NaN where the track has a gap."""
    positions, courses = np.full((len(stamps), 2), np.nan), np.full(len(stamps), np.nan)
    for row, stamp in enumerate(stamps):
        found = track.at(stamp)
        if found is not None:
            pose = found[0]
            x, y, z, w = pose.orientation
            positions[row] = pose.position[:2]
            courses[row] = np.degrees(np.arctan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z)))
    return positions, courses
