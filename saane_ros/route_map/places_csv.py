"""`places.csv`: one row per place of a route map, in route order."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from saane_ros.errors import SaaneError
from saane_ros.types import Place, Pose

PLACES_FILE = "places.csv"
THUMBNAIL_FOLDER = "thumbnails"
COLUMNS = ("id", "name", "stamp_ns", "x", "y", "z", "qx", "qy", "qz", "qw")
ALONG = "along"
"""A further column of maps whose places tell where along the route they lie."""


def thumbnail_name(place: int) -> str:
    """File name of a place's thumbnail."""
    return f"{place:06d}.jpg"


def write_places(path: Path, places: Sequence[Place]) -> None:
    """Write the table; numbers keep every bit, a place without a pose has empty columns."""
    with_along = any(place.along is not None for place in places)
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow((*COLUMNS, ALONG) if with_along else COLUMNS)
        for place in places:
            pose = place.pose
            numbers = ("",) * 7 if pose is None else tuple(map(repr, _numbers(pose)))
            along = (repr(place.along),) if with_along else ()
            writer.writerow((place.id, place.name, place.stamp_ns, *numbers, *along))


def _numbers(pose: Pose) -> list[float]:
    return [float(value) for value in (*pose.position, *pose.orientation)]


def read_places(path: Path) -> list[Place]:
    """Read the table; SaaneError names the first line that is not a place."""
    thumbnails = path.parent / THUMBNAIL_FOLDER
    has_thumbnails = (thumbnails / thumbnail_name(0)).is_file()
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        rows = csv.reader(stream)
        head = next(rows, None)
        if head not in (list(COLUMNS), [*COLUMNS, ALONG]):
            raise SaaneError(
                f"{path} does not begin with the columns {','.join(COLUMNS)}: "
                "build the map again or restore a copy."
            )
        places: list[Place] = []
        for row in rows:
            thumbnail = thumbnails / thumbnail_name(len(places)) if has_thumbnails else None
            where = path, rows.line_num
            along = _along(*where, row) if len(head) > len(COLUMNS) else None
            place = _place(*where, row[: len(COLUMNS)], len(places), thumbnail)
            places.append(replace(place, along=along))
    return places


def _along(path: Path, line: int, row: list[str]) -> float:
    try:
        value = float(row[len(COLUMNS)])
    except (ValueError, IndexError):
        value = math.nan
    if not math.isfinite(value):
        raise SaaneError(
            f"{path} line {line} does not tell where along the route it lies: build the map again."
        )
    return value


def _place(path: Path, line: int, row: list[str], expected: int, thumbnail: Path | None) -> Place:
    try:
        if len(row) != len(COLUMNS) or int(row[0]) != expected:
            raise ValueError
        stamp = int(row[2])
        pose = None
        if any(row[3:]):
            x, y, z, *quaternion = (float(value) for value in row[3:])
            if not all(map(math.isfinite, (x, y, z, *quaternion))):
                raise SaaneError(
                    f"{path} line {line} has a pose that is not finite: build the map again."
                )
            pose = Pose((x, y, z), (quaternion[0], quaternion[1], quaternion[2], quaternion[3]))
    except ValueError as error:
        raise SaaneError(
            f"{path} line {line} is not place {expected}: build the map again or restore a copy."
        ) from error
    return Place(expected, row[1], stamp, pose, thumbnail)
