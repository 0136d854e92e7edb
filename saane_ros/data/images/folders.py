"""Images in a folder, in natural order, with poses from a file or from '@' names."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from saane_ros.data.images.at_names import is_at_name, on_one_grid, parse_at_name
from saane_ros.data.images.files import IMAGE_SUFFIXES, is_image, read_image
from saane_ros.data.poses.files import PoseTable, courses, parse_stamp, read_poses, yaw_quaternion
from saane_ros.data.poses.plausibility import FIXES, ODOMETRY, Limits, moment, strays
from saane_ros.data.poses.track import PoseTrack, way_along
from saane_ros.data.selection import Selector
from saane_ros.errors import SaaneError
from saane_ros.geodesy import PLANE, LatLonAlt
from saane_ros.messages.image import ImageDecoder
from saane_ros.reading import no_folder
from saane_ros.types import Frame, Pose

POSE_FILES = ("poses.csv", "poses.txt")
UNTIMED_STEP_NS = 1_000_000_000
"""Images without any time are taken as one second apart."""


@dataclass(frozen=True)
class ImageEntry:
    """One image file with what is known of it before it is decoded."""

    path: Path
    stamp_ns: int
    pose: Pose | None = None
    travelled: float | None = None


class ImageFolder:
    """The images directly inside a folder.

    poses: a pose file (`poses.read_poses`); by default poses.csv or poses.txt inside the folder,
    else what '@' names say. Poses with stamps are interpolated at images whose names are stamps;
    poses by name go by file name or stem; others go by order. Images that then have no pose are
    left out and listed in `without_pose`. `origin` is the zero of geographic poses, by default
    the first of them. Raises SaaneError where nothing fits.

    entries: in route order.  origin: latitude, longitude, altitude of the poses' zero, if known.
    grid: how their frame lies there, "enu" or along a UTM grid such as "utm_32N".
    """

    def __init__(
        self,
        path: str | Path,
        poses: str | Path | None = None,
        origin: LatLonAlt | None = None,
    ) -> None:
        self.path = Path(path)
        self.pose_file = Path(poses) if poses else find_pose_file(self.path)
        self.origin: LatLonAlt | None = None
        self.grid = PLANE
        self.without_pose: list[str] = []
        files = image_files(self.path)
        if self.pose_file is not None:
            table = read_poses(self.pose_file, origin)
            self.origin = table.origin
            entries = self._with_table(files, table)
        elif all(is_at_name(file.name) for file in files):
            entries, self.origin, self.grid = _with_at_names(files)
        else:
            entries = [ImageEntry(f, s) for f, s in zip(files, _stamps(files), strict=True)]
        if self.pose_file is not None:
            entries = self._without_stray(entries)
        self.entries = _with_distance(entries, ODOMETRY if self.origin is None else FIXES)

    def __len__(self) -> int:
        return len(self.entries)

    def frames(
        self, every_metres: float | None = None, every_seconds: float | None = None
    ) -> Iterator[Frame]:
        """The frames, decoded one by one; a file that cannot be decoded has an empty image."""
        decoder = ImageDecoder()
        for entry in self.selected(every_metres, every_seconds):
            try:
                image = read_image(entry.path, decoder.to_8_bit(entry.stamp_ns))
            except SaaneError as error:
                logging.getLogger(__name__).warning("%s", error)
                image = np.empty((0, 0, 3), dtype=np.uint8)
            yield Frame(image, entry.stamp_ns, entry.path.name, entry.pose, entry.travelled)

    def selected(
        self, every_metres: float | None = None, every_seconds: float | None = None
    ) -> list[ImageEntry]:
        """The entries that become frames."""
        selector = Selector(every_metres, every_seconds)
        return [e for e in self.entries if selector.keep(e.stamp_ns, e.travelled)]

    def _with_table(self, files: list[Path], table: PoseTable) -> list[ImageEntry]:
        if table.names is not None:
            poses, stamps = self._by_name(files, table)
        elif table.stamps_ns is not None and (found := _name_stamps(files)) is not None:
            track = PoseTrack(
                np.array(table.stamps_ns, dtype=np.int64),
                np.array([pose.position for pose in table.poses]),
                np.array([pose.orientation for pose in table.poses]),
            )
            there = [track.at(stamp) for stamp in found]
            poses, stamps = [None if at is None else at[0] for at in there], found
        else:
            poses, stamps = self._by_order(files, table)
        self.without_pose = [f.name for f, p in zip(files, poses, strict=True) if p is None]
        entries = [
            ImageEntry(file, stamp, pose)
            for file, stamp, pose in zip(files, stamps, poses, strict=True)
            if pose is not None
        ]
        if not entries:
            raise SaaneError(
                f"No image of {self.path} has a pose in {self.pose_file}: "
                f"{_both_times(stamps, table)}check that names or stamps belong together."
            )
        if self.without_pose:
            logging.getLogger(__name__).warning(
                "%d images of %s have no pose in %s and are left out, the first is %s.",
                len(self.without_pose),
                self.path,
                self.pose_file,
                self.without_pose[0],
            )
        return entries

    def _without_stray(self, entries: list[ImageEntry]) -> list[ImageEntry]:
        """The entries without those whose pose lies kilometres off a way that goes on without."""
        positions = np.array([entry.pose.position for entry in entries if entry.pose])
        rows = set(strays(positions))
        if rows:
            names = [entries[row].path.name for row in sorted(rows)]
            self.without_pose += names
            logging.getLogger(__name__).warning(
                "%d images of %s are left out, as their poses in %s lie kilometres off the way of "
                "those around them; the first is %s.",
                *(len(rows), self.path, self.pose_file, names[0]),
            )
        return [entry for row, entry in enumerate(entries) if row not in rows]

    def _by_name(self, files: list[Path], table: PoseTable) -> tuple[list[Pose | None], list[int]]:
        # Names may stand with their folder.
        named = list(enumerate(table.names or []))[::-1]
        rows = {**{Path(name).name: row for row, name in named}, **{n: row for row, n in named}}
        found = [rows.get(file.name, rows.get(file.stem)) for file in files]
        poses = [None if row is None else table.poses[row] for row in found]
        if table.stamps_ns is None:
            return poses, _stamps(files)
        return poses, [0 if row is None else table.stamps_ns[row] for row in found]

    def _by_order(self, files: list[Path], table: PoseTable) -> tuple[list[Pose | None], list[int]]:
        if len(table.poses) != len(files):
            raise SaaneError(
                f"{self.path} has {len(files)} images and {self.pose_file} has "
                f"{len(table.poses)} poses without names: give one pose per image, or a CSV with "
                "a column `name`."
            )
        return list(table.poses), table.stamps_ns or _stamps(files)


def _both_times(stamps: list[int], table: PoseTable) -> str:
    if not table.stamps_ns or table.names is not None:
        return ""
    spans = [f"{moment(min(times))} to {moment(max(times))}" for times in (stamps, table.stamps_ns)]
    return f"the images are of {spans[0]} and the poses of {spans[1]}; "


def find_pose_file(folder: Path) -> Path | None:
    """poses.csv or poses.txt inside a folder, or None."""
    return next((folder / name for name in POSE_FILES if (folder / name).is_file()), None)


def image_files(folder: Path) -> list[Path]:
    """The image files directly inside a folder, in natural order; SaaneError if there are none."""
    if not folder.is_dir():
        raise no_folder(folder, "the folder that holds the images")
    files = [path for path in folder.iterdir() if is_image(path)]
    if not files:
        raise SaaneError(
            f"The folder {folder} holds no images ({', '.join(IMAGE_SUFFIXES)}): "
            "name the folder that holds them directly."
        )
    return sorted(files, key=lambda path: natural_key(path.name))


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorting key by which image9 comes before image10."""
    parts = re.split(r"(\d+)", name, flags=re.ASCII)
    key = [(0, int(p), "") if i % 2 else (1, 0, p.lower()) for i, p in enumerate(parts)]
    return key, name


def _name_stamps(files: list[Path]) -> list[int] | None:
    """Stamps from file names such as 1305031102.175304.png; None where one is no time."""
    stamps = []
    for file in files:
        stem = file.stem
        if not re.fullmatch(r"[1-9]\d{9}|[1-9]\d{12}|[1-9]\d{15}|[1-9]\d{18}|\d+\.\d+", stem):
            return None
        stamp = parse_stamp(stem)
        if stamp is None:
            return None
        stamps.append(stamp)
    return stamps


def _stamps(files: list[Path]) -> list[int]:
    return _name_stamps(files) or [index * UNTIMED_STEP_NS for index in range(len(files))]


def _with_at_names(files: list[Path]) -> tuple[list[ImageEntry], LatLonAlt | None, str]:
    """Entries from '@' names, in order of their timestamps where all have one."""
    named = [(file, parse_at_name(file.name)) for file in files]
    known = [time for _, name in named if (time := name.stamp_ns()) is not None]
    if len(known) == len(named):
        named.sort(key=lambda pair: pair[1].stamp_ns() or 0)
        known.sort()
    timed = len(known) == len(set(known)) == len(named)
    first = named[0][1]
    utm, grid = on_one_grid([name for _, name in named])
    points = np.column_stack([utm - utm[0], np.zeros(len(utm))])
    along = courses(points)
    entries = []
    for index, (file, name) in enumerate(named):
        x, y, z = points[index].tolist()
        course = along[index].tolist()
        turn = (course[0], course[1], course[2], course[3])
        if name.yaw is not None:
            turn = yaw_quaternion(name.yaw)
        stamp = known[index] if timed else index * UNTIMED_STEP_NS
        entries.append(ImageEntry(file, stamp, Pose((x, y, z), turn)))
    if first.latitude is None or first.longitude is None or not grid:
        return entries, None, PLANE
    return entries, (first.latitude, first.longitude, 0.0), grid


def _with_distance(entries: list[ImageEntry], limits: Limits) -> list[ImageEntry]:
    """Fill in the distance travelled, where every image has a pose; unusable poses add nothing."""
    if any(entry.pose is None for entry in entries):
        return entries
    positions = np.array([entry.pose.position for entry in entries if entry.pose])
    positions = positions.reshape(-1, 3)
    known = np.flatnonzero(np.isfinite(positions).all(axis=1))
    along = np.zeros(len(entries))
    if len(known):
        along = np.interp(np.arange(len(entries)), known, way_along(positions[known], limits))
    return [
        ImageEntry(entry.path, entry.stamp_ns, entry.pose, float(metres))
        for entry, metres in zip(entries, along, strict=True)
    ]
