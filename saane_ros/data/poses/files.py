"""Pose files: columns named by a header, TUM, KITTI, EuRoC, hloc and COLMAP; metres."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.columns import STAMP_SCALES, TURNS, UNITS, Column, column_names, unnamed
from saane_ros.data.poses.track import course_orientations
from saane_ros.errors import SaaneError
from saane_ros.geodesy import LatLonAlt, to_enu
from saane_ros.reading import read_text
from saane_ros.types import Pose

CAMERA_TO_BODY = np.array(((0.0, 0.0, 1.0), (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)))
"""Axes of a camera (x right, y down, z forward) turned into those of a body (x forward, z up)."""
_MOST_NS = 2**63
WIDEST_YAW = 7.0
"""Radians; larger ones are degrees, or were not brought back into one turn."""


@dataclass(frozen=True)
class PoseTable:
    """Poses of one file, in its order, with what names them.

    stamps_ns, names: one per pose, or None where the file has no such column.
    origin: latitude, longitude, altitude of the positions' zero where the file is geographic.
    """

    poses: list[Pose]
    stamps_ns: list[int] | None = None
    names: list[str] | None = None
    origin: LatLonAlt | None = None


def read_poses(path: Path, origin: LatLonAlt | None = None) -> PoseTable:
    """Read a pose file; its header tells the columns, or else its first line the format.

    Header, in the first line or the last comment before it: `name` and/or `stamp` (seconds), and
    `x,y[,z]` (metres) or `lat,lon[,alt]`, and `yaw` (radians counter-clockwise from x), with
    geographic positions `heading` (degrees clockwise from north), or `qx,qy,qz,qw` in any order;
    without any the heading follows from the motion. Other common names of these (`filename`,
    `latitude`, `tx`, `p_RS_R_x [m]`) and other units (`stamp_ns`, `time [ms]`, `yaw_deg`, `x_mm`)
    are known, other columns left.
    TUM: `t x y z qx qy qz qw`, t in seconds.  EuRoC: 17 numbers, qw first.  KITTI: 12 numbers, the
    upper 3x4 of a camera's pose, turned into the body's convention.  hloc: `name qw qx qy qz tx ty
    tz`, and COLMAP's images.txt: of the world in the camera, turned round and into the body's axes.

    `origin` is the zero of geographic positions, by default the first of them. Values that are not
    finite are passed on. Raises SaaneError.
    """
    text = read_text(path, "The pose file")
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise SaaneError(f"The pose file {path} is empty: give one pose per line.")
    first = _cells(lines[0][1])
    comments = [line for line in text.splitlines()[: lines[0][0] - 1] if line.strip()]
    header = column_names(_cells(comments[-1].strip("# \t"))) if comments else []
    numbers = [_is_number(cell) for cell in first]
    if not comments or any("IMAGE_ID" in comment for comment in comments):
        images = [(n, row) for n, line in lines if (row := _image_of_colmap(line))]
        if images and images[0][0] == lines[0][0]:
            return _read_world_in_camera(path, images)
    if len(header) == len(first) and {"name", "stamp"} & {column.name for column in header}:
        return _read_columns(path, header, lines, origin)
    if numbers == [False, *[True] * 7]:
        if _has_turns_last(path, lines):
            return _read_columns(path, unnamed("name", *_TUM[1:]), lines, origin)
        return _read_world_in_camera(path, [(n, _cells(line)) for n, line in lines])
    if not _is_number(first[0]):
        return _read_columns(path, column_names(first), lines[1:], origin)
    if len(first) == 8:
        return _read_columns(path, unnamed(*_TUM), lines, origin)
    if len(first) == 17:
        return _read_columns(path, unnamed(*_EUROC), lines, origin)
    if len(first) == 12:
        return _read_kitti(path, lines)
    raise SaaneError(
        f"The pose file {path} has {len(first)} numbers in its first line: give 8 (TUM), "
        "12 (KITTI), 17 (EuRoC) or a header that names the columns."
    )


def parse_stamp(text: str, unit: str = "") -> int | None:
    """A stamp in nanoseconds; of an unknown unit, integers of 13, 16 and 19 digits are milli-,
    micro- and nanoseconds, anything else is seconds. None where no number.
    """
    digits = text.strip()
    scale = {13: 6, 16: 3, 19: 0}.get(len(digits), 9) if digits.isdigit() else 9
    try:
        value = Decimal(digits).scaleb(STAMP_SCALES.get(unit, scale))
    except ArithmeticError:
        return None
    return round(value) if value.is_finite() and abs(value) < _MOST_NS else None


def yaw_quaternion(yaw: float) -> tuple[float, float, float, float]:
    """Quaternion (x, y, z, w) of a turn about the upward axis, yaw in radians; NaN of infinity."""
    half = yaw / 2 if math.isfinite(yaw) else math.nan
    return (0.0, 0.0, math.sin(half), math.cos(half))


def _read_kitti(path: Path, lines: list[tuple[int, str]]) -> PoseTable:
    poses = []
    for number, line in lines:
        matrix = np.array(_numbers(path, number, line, 12)).reshape(3, 4)
        rotation = CAMERA_TO_BODY @ matrix[:, :3] @ CAMERA_TO_BODY.T
        position = (CAMERA_TO_BODY @ matrix[:, 3]).tolist()
        poses.append(_pose(path, number, position, list(quaternion_of(rotation))))
    return PoseTable(poses)


def quaternion_of(rotation: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Quaternion (x, y, z, w) of a rotation matrix, by its largest component (Shepperd 1978)."""
    if not np.isfinite(rotation).all():
        return (math.nan,) * 4
    trace = float(np.trace(rotation))
    squares = np.array([*(1 + 2 * np.diag(rotation) - trace), 1 + trace])
    i = int(np.argmax(squares))
    quaternion = np.empty(4)
    if i == 3:
        quaternion[:3] = (
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        )
    else:
        j, k = (i + 1) % 3, (i + 2) % 3
        quaternion[j] = rotation[j, i] + rotation[i, j]
        quaternion[k] = rotation[k, i] + rotation[i, k]
        quaternion[3] = rotation[k, j] - rotation[j, k]
    quaternion[i] = squares[i]
    x, y, z, w = (quaternion / np.linalg.norm(quaternion)).tolist()
    return (x, y, z, w)


def _read_world_in_camera(path: Path, rows: list[tuple[int, list[str]]]) -> PoseTable:
    """Rows of `name qw qx qy qz tx ty tz`, which take the world into the camera."""
    poses = []
    for number, cells in rows:
        if len(cells) != 8 or not all(map(_is_number, cells[1:])):
            raise _bad_line(path, number, "not the name and 7 numbers of the lines before")
        w, x, y, z, *shift = map(float, cells[1:])
        there = _pose(path, number, shift, [x, y, z, w])
        rotation = rotation_of(there.orientation).T
        position = (-rotation @ np.array(shift)).tolist()
        turn = quaternion_of(rotation @ CAMERA_TO_BODY.T)
        poses.append(_pose(path, number, position, list(turn)))
    return PoseTable(poses, names=[cells[0] for _, cells in rows])


def _image_of_colmap(line: str) -> list[str]:
    """Name and 7 numbers of `id qw qx qy qz tx ty tz camera name`; [] of a line of points."""
    cells = line.split(maxsplit=9)
    if len(cells) < 10 or not all(map(_is_number, cells[:9])):
        return []
    return [] if all(map(_is_number, cells[9].split())) else [cells[9].strip(), *cells[1:8]]


def _has_turns_last(path: Path, lines: list[tuple[int, str]]) -> bool:
    """Whether 7 numbers behind a name end with a quaternion, rather than begin with one."""
    try:
        values = np.array([[float(cell) for cell in _cells(line)[1:]] for _, line in lines])
        first, last = (np.linalg.norm(values[:, part], axis=1) for part in (slice(4), slice(3, 7)))
    except (ValueError, IndexError):
        return False  # the line that is wrong is told by who reads on
    begins, ends = (bool((np.abs(norm - 1) < 1e-2).all()) for norm in (first, last))
    if begins == ends:
        raise SaaneError(
            f"The pose file {path} does not tell whether its quaternions stand first (name qw qx "
            "qy qz tx ty tz) or last (name x y z qx qy qz qw): name the columns in a header."
        )
    return ends


def rotation_of(quaternion: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Rotation matrix of a unit quaternion (x, y, z, w)."""
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


_TUM = ("stamp", "x", "y", "z", "qx", "qy", "qz", "qw")
_EUROC = ("stamp", "x", "y", "z", "qw", "qx", "qy", "qz", *[""] * 9)


def _cells(line: str) -> list[str]:
    """The values of a line, separated by comma, semicolon, tab or blanks."""
    mark = next((mark for mark in ",;\t" if mark in line), None)
    if mark is None:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=mark))]


def _read_columns(
    path: Path, columns: list[Column], lines: list[tuple[int, str]], origin: LatLonAlt | None
) -> PoseTable:
    header, units = [column.name for column in columns], dict(columns)
    rows: list[tuple[int, dict[str, str]]] = []
    for number, line in lines:
        cells = _cells(line)
        if len(cells) != len(header):
            raise _bad_line(
                path, number, f"{len(cells)} columns where the header has {len(header)}"
            )
        rows.append((number, dict(zip(header, cells, strict=True))))
    names = [row["name"] for _, row in rows] if "name" in header else None
    stamps = None
    if "stamp" in header:
        stamps = [_stamp(path, n, row["stamp"], units["stamp"]) for n, row in rows]
    if (names is None and stamps is None) or not rows:
        raise SaaneError(
            f"The pose file {path} has {'no rows' if not rows else 'neither name nor stamp'}: "
            "give a column `name` (the image's file name) or `stamp`, and one row per pose."
        )
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise SaaneError(
            f"The pose file {path} has more than one column for {', '.join(twice)}: keep one."
        )
    positions, origin = _positions(path, units, rows, origin)
    quaternions = _orientations(path, units, rows, positions)
    poses = [
        _pose(path, number, position.tolist(), quaternion)
        for (number, _), position, quaternion in zip(rows, positions, quaternions, strict=True)
    ]
    return PoseTable(poses, stamps, names, origin)


def _positions(
    path: Path,
    header: dict[str, str],
    rows: list[tuple[int, dict[str, str]]],
    origin: LatLonAlt | None,
) -> tuple[NDArray[np.float64], LatLonAlt | None]:
    geographic = "lat" in header and "lon" in header
    wanted = ("lat", "lon", "alt") if geographic else ("x", "y", "z")
    if not all(name in header for name in wanted[:2]):
        raise SaaneError(
            f"The pose file {path} has the columns {', '.join(filter(None, header))}: it needs "
            "x and y, or lat and lon."
        )
    values = np.array([[_value(path, n, row, c) for c in wanted] for n, row in rows])
    values *= [UNITS[c].get(header.get(c, ""), 1.0) for c in wanted]
    if not geographic:
        return values, None
    finite = values[np.isfinite(values).all(axis=1)]
    if origin is None:
        if len(finite) == 0:
            raise SaaneError(f"The pose file {path} has no finite position: check its columns.")
        origin = (float(finite[0][0]), float(finite[0][1]), float(finite[0][2]))
    return to_enu(values, origin), origin


def _orientations(
    path: Path,
    header: dict[str, str],
    rows: list[tuple[int, dict[str, str]]],
    positions: NDArray[np.float64],
) -> list[list[float]]:
    columns = ("qx", "qy", "qz", "qw")
    if all(name in header for name in columns):
        return [[_value(path, n, row, c) for c in columns] for n, row in rows]
    name = next((name for name in ("yaw", "heading") if name in header), None)
    if name is None:
        return courses(positions).tolist()
    usual = "" if name == "yaw" else "deg"
    turns = np.array([_value(path, n, row, name) for n, row in rows])
    turns *= TURNS.get(header[name] or usual, 1.0)
    if name == "heading":
        if "lat" not in header:
            raise SaaneError(
                f"The pose file {path} has a heading beside x and y, which may be clockwise from "
                "north or counter-clockwise from x: give yaw or yaw_deg, counter-clockwise from x."
            )
        turns = np.pi / 2 - turns
    widest = float(np.abs(turns[np.isfinite(turns)]).max(initial=0.0))
    if name == "yaw" and not header[name] and widest > WIDEST_YAW:
        raise SaaneError(
            f"The pose file {path} has a yaw of {widest:g}, which is no radians within a turn: "
            "call the column yaw_deg, or write radians from -pi to pi."
        )
    return [list(yaw_quaternion(turn)) for turn in turns.tolist()]


def courses(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quaternions (n, 4) along the motion of positions (n, 3), those that are not finite aside."""
    orientations = np.tile((0.0, 0.0, 0.0, 1.0), (len(positions), 1))
    finite = np.isfinite(positions).all(axis=1)
    orientations[finite] = course_orientations(positions[finite])
    return orientations


def _value(path: Path, number: int, row: dict[str, str], column: str) -> float:
    """The number in a column, 0 where there is no such column."""
    if column not in row:
        return 0.0
    if not _is_number(row[column]):
        raise _bad_line(path, number, f"{row[column][:40]!r} as {column}")
    return float(row[column])


def _stamp(path: Path, number: int, text: str, unit: str) -> int:
    stamp = parse_stamp(text, unit)
    if stamp is None:
        raise _bad_line(path, number, f"{text[:40]!r} as stamp")
    return stamp


def _numbers(path: Path, number: int, line: str, count: int) -> list[float]:
    cells = line.replace(",", " ").split()
    if len(cells) != count or not all(map(_is_number, cells)):
        raise _bad_line(path, number, f"not the {count} numbers of the lines before")
    return [float(cell) for cell in cells]


def _pose(path: Path, number: int, position: list[float], quaternion: list[float]) -> Pose:
    norm = math.hypot(*quaternion)
    if norm == 0:
        raise _bad_line(path, number, "a zero quaternion")
    x, y, z = position
    qx, qy, qz, qw = (value / norm for value in quaternion)
    return Pose((x, y, z), (qx, qy, qz, qw))


_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan|inf)", re.IGNORECASE)


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _bad_line(path: Path, number: int, what: str) -> SaaneError:
    return SaaneError(f"The pose file {path} has {what} in line {number}: correct or remove it.")
