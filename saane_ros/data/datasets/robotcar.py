"""Oxford RobotCar: pairs of traversals, one image a second of the centre camera, with positions.

A traversal is read from its raw files or from the bag that `saane robotcar to-bag` made of it; both
give the same places.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.bags.images import BagImages
from saane_ros.data.bags.reader import IMAGE_TYPES, BagReader
from saane_ros.data.datasets.dataset import Dataset, Where
from saane_ros.data.datasets.drives import Drive, RouteTolerance, drive_dataset
from saane_ros.data.images.lists import ImageFiles
from saane_ros.data.poses.track import PoseTrack
from saane_ros.data.robotcar.drive_messages import TRUTH
from saane_ros.data.robotcar.images import (
    ends_whole,
    image_path,
    read_bayer,
    read_timestamps,
    sampled,
)
from saane_ros.data.robotcar.poses import POSE_FILES, read_pose_record
from saane_ros.errors import SaaneError
from saane_ros.geodesy import PLANE, grid_zone, on_grid


@dataclass(frozen=True)
class RobotCar(RouteTolerance):
    """references, queries: folders of traversals, or bags of them.  rate: images per second.
    poses: which file of a raw traversal positions it; a bag has its own.
    """

    references: str
    queries: str
    rate: float = 1.0
    poses: Literal["ins", "gps", "rtk"] = "ins"


def read(where: Where, options: RobotCar) -> list[Dataset]:
    """One dataset."""
    reference, query = (
        read_traversal(where, name, options) for name in (options.references, options.queries)
    )
    protocol = (
        f"traversal {options.queries} ({query.words}) searched in {options.references} "
        f"({reference.words}), stereo/centre at {options.rate:g} images/s"
    )
    return [drive_dataset(where.name, query, reference, options, protocol, group="")]


def read_traversal(where: Where, name: str, options: RobotCar) -> Drive:
    """Debayered images, with positions where the track has them."""
    folder = where.folder(name)
    if any(folder.glob("*.mcap")) or any(folder.glob("*.db3")):
        return _read_bag(folder, options.rate)
    stamps = read_timestamps(folder)
    if not stamps:
        raise SaaneError(f"{folder / 'stereo/centre'} holds no image of RobotCar: {where.source}")
    wanted = sampled(stamps, options.rate)
    kept = [stamp for stamp in wanted if ends_whole(image_path(folder, stamp))]
    cut = "" if len(kept) == len(wanted) else f", {len(wanted) - len(kept)} cut files left out"
    record = read_pose_record(where.file(name, *POSE_FILES[options.poses].split("/")))
    images = ImageFiles([image_path(folder, stamp) for stamp in kept], None, _decode, "bayer gbrg")
    words = f"raw, {options.poses.upper()} positions{cut}"
    return Drive(images, *_placed(record.track, kept), words, record.grid)


def _read_bag(path: Path, rate: float) -> Drive:
    with BagReader(path) as bag:
        names = [n for n, info in sorted(bag.topics().items()) if info.type in IMAGE_TYPES]
        if not names or TRUTH not in bag.topics():
            raise SaaneError(
                f"The bag {path} has no images or no {TRUTH}: make it with `saane robotcar to-bag`."
            )
        topic = next((name for name in names if name.startswith("/stereo/centre/")), names[0])
        stamps = [message.stamp_ns for message in bag.messages([topic])]
        track = bag.pose_track(TRUTH)
        if bag.origin is None:
            raise SaaneError(
                f"The bag {path} does not tell where its poses lie: make it with `saane robotcar "
                "to-bag`."
            )
        zone, southern = (None, False) if bag.grid == PLANE else grid_zone(bag.grid)
        zero = on_grid(bag.origin[0], bag.origin[1], zone, southern)
    kept = sampled(stamps, rate)
    # A frame without a message of its own had no pose: nothing is filled in between others.
    posed = set(track.stamps_ns.tolist())
    positions, courses = _placed(track, kept)
    positions[[stamp not in posed for stamp in kept]] = np.nan
    return Drive(BagImages(path, topic, kept), positions + zero, courses, "bag", bag.grid)


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
