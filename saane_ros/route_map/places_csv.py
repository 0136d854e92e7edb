"""`places.csv`: one row per place of a route map, in route order; and `places.npy`, its columns.

The table is what a person reads and where names stand. The columns are its numbers, and where each
row begins in it, memory-mapped, so that a map of a million places opens at once.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.reading import parsing
from saane_ros.route_map.arrays import let_go
from saane_ros.types import Place, Pose

PLACES_FILE = "places.csv"
COLUMNS_FILE = "places.npy"
THUMBNAIL_FOLDER = "thumbnails"
COLUMNS = ("id", "name", "stamp_ns", "x", "y", "z", "qx", "qy", "qz", "qw")
ALONG = "along"
"""A further column of maps whose places tell where along the route they lie."""
ROW = np.dtype(
    [
        ("begin", "<u8"),
        ("stamp_ns", "<i8"),
        ("position", "<f8", 3),
        ("orientation", "<f8", 4),
        ("along", "<f8"),
    ]
)
"""begin: byte of `places.csv` where the row begins.  position, orientation, along: NaN where the
place has none."""
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}


class Places(Sequence[Place]):
    """The places of a map, made from its columns when they are looked at.

    rows: of dtype `ROW` (N,).  table: bytes of `places.csv`.  thumbnails: their folder, None
    without them.
    """

    def __init__(
        self, rows: NDArray[np.void], table: NDArray[np.uint8], thumbnails: Path | None
    ) -> None:
        # A memory map's own slicing costs more than what it slices.
        self._rows, self._table = np.asarray(rows), np.asarray(table)
        self._mapped = rows, table
        self._thumbnails = thumbnails

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Place: ...
    @overload
    def __getitem__(self, place: slice) -> list[Place]: ...
    def __getitem__(self, place: int | slice) -> Place | list[Place]:
        if isinstance(place, slice):
            return [self._place(row) for row in range(*place.indices(len(self)))]
        row = range(len(self))[place]
        return self._place(row)

    def __iter__(self) -> Iterator[Place]:
        return map(self._place, range(len(self)))

    @property
    def stamps(self) -> NDArray[np.int64]:
        """Nanoseconds (N,)."""
        return np.asarray(self._rows["stamp_ns"])

    @property
    def positions(self) -> NDArray[np.float64]:
        """Metres (N, 3), NaN where a place has no pose."""
        return np.asarray(self._rows["position"])

    @property
    def orientations(self) -> NDArray[np.float64]:
        """Unit quaternions x y z w (N, 4), NaN where a place has no pose."""
        return np.asarray(self._rows["orientation"])

    @property
    def along(self) -> NDArray[np.float64]:
        """Metres along the route (N,), NaN where a place does not tell."""
        return np.asarray(self._rows["along"])

    def let_go(self) -> None:
        """Give pages of memory-mapped files back, which stay in the system's memory."""
        for part in self._mapped:
            let_go(part)

    def pose(self, number: int) -> Pose | None:
        """That of a place, whose name is not read for it."""
        x, y, z = self._rows["position"][number].tolist()
        qx, qy, qz, qw = self._rows["orientation"][number].tolist()
        return None if math.isnan(x) else Pose((x, y, z), (qx, qy, qz, qw))

    def _place(self, number: int) -> Place:
        _, stamp, position, orientation, along = self._rows[number].tolist()
        x, y, z = position
        qx, qy, qz, qw = orientation
        pose = None if math.isnan(x) else Pose((x, y, z), (qx, qy, qz, qw))
        thumbnail = None
        if self._thumbnails is not None:
            thumbnail = self._thumbnails / thumbnail_name(number)
        way = None if math.isnan(along) else along
        return Place(number, self._name(number), stamp, pose, thumbnail, way)

    def _name(self, number: int) -> str:
        begin = int(self._rows["begin"][number])
        end = int(self._rows["begin"][number + 1]) if number + 1 < len(self) else None
        line = self._table[begin:end].tobytes().decode(**_ENCODING)
        if '"' not in line:
            return line.split(",", 2)[1]
        return next(csv.reader(io.StringIO(line, newline="")))[1]


class Poses(Sequence["Pose | None"]):
    """The poses of places, made when they are looked at."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Pose | None: ...
    @overload
    def __getitem__(self, place: slice) -> list[Pose | None]: ...
    def __getitem__(self, place: int | slice) -> Pose | list[Pose | None] | None:
        rows = range(len(self))[place]
        if isinstance(rows, range):
            return [self._places.pose(row) for row in rows]
        return self._places.pose(rows)


def thumbnail_name(place: int) -> str:
    """File name of a place's thumbnail."""
    return f"{place:06d}.jpg"


def write_places(path: Path, places: Sequence[Place]) -> None:
    """Write table and columns; numbers keep every bit, a place without a pose has empty ones."""
    with_along = any(place.along is not None for place in places)
    rows = np.zeros(len(places), ROW)
    with path.open("wb") as stream:
        at = stream.write(_line((*COLUMNS, ALONG) if with_along else COLUMNS))
        for number, place in enumerate(places):
            pose = () if place.pose is None else _numbers(place.pose)
            along = math.nan if place.along is None else float(place.along)
            rows[number] = _row(at, place.stamp_ns, pose, along)
            texts = tuple(map(repr, pose)) or ("",) * 7
            way = (repr(place.along),) if with_along else ()
            at += stream.write(_line((place.id, place.name, place.stamp_ns, *texts, *way)))
    np.save(path.with_name(COLUMNS_FILE), rows)


def _line(values: Sequence[object]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(values)
    return text.getvalue().encode(**_ENCODING)


def _row(begin: int, stamp: int, pose: Sequence[float], along: float) -> tuple[object, ...]:
    numbers = tuple(pose) or (math.nan,) * 7
    return begin, stamp, numbers[:3], numbers[3:], along


def _numbers(pose: Pose) -> tuple[float, ...]:
    return tuple(float(value) for value in (*pose.position, *pose.orientation))


def read_places(path: Path, everything: bool = True) -> Places:
    """Read the places of a map; SaaneError names the first line that is not one.

    everything: read the table although there are columns, and compare the two.
    """
    folder = path.parent / THUMBNAIL_FOLDER
    thumbnails = folder if (folder / thumbnail_name(0)).is_file() else None
    columns = path.with_name(COLUMNS_FILE)
    rows = _columns(columns) if columns.exists() else None
    if rows is None or everything:
        parsed = _parsed(path)
        if rows is not None and rows.tobytes() != parsed.tobytes():
            raise SaaneError(
                f"{columns} is not of the same places as {path.name} beside it: build the map "
                "again or restore a copy."
            )
        rows = parsed if rows is None else rows
    return Places(rows, np.memmap(path, np.uint8, "r"), thumbnails)


def _columns(path: Path) -> NDArray[np.void]:
    remedy = "build the map again or restore a copy"
    with parsing(f"{path} is no NumPy array", remedy):
        rows: NDArray[np.void] = np.load(path, mmap_mode="r", allow_pickle=False)
    if rows.dtype != ROW or rows.ndim != 1:
        raise SaaneError(f"{path} has no columns of places: {remedy}.")
    return rows


def _parsed(path: Path) -> NDArray[np.void]:
    """The columns, by reading the whole table."""
    begins: list[int] = []
    rows: list[tuple[object, ...]] = []
    with path.open("rb") as stream:
        lines = _Lines(stream)
        table = csv.reader(lines)
        head = next(table, None)
        if head not in (list(COLUMNS), [*COLUMNS, ALONG]):
            raise SaaneError(
                f"{path} does not begin with the columns {','.join(COLUMNS)}: "
                "build the map again or restore a copy."
            )
        begins.append(lines.read)
        for row in table:
            where = path, table.line_num
            along = _along(*where, row) if len(head) > len(COLUMNS) else math.nan
            stamp, pose = _checked(*where, row[: len(COLUMNS)], len(rows))
            rows.append(_row(begins[-1], stamp, pose, along))
            begins.append(lines.read)
    return np.array(rows, ROW)


class _Lines:
    """Lines of a binary stream as text; read: bytes of those that were given out."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream, self.read = stream, 0

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            self.read += len(line)
            yield line.decode(**_ENCODING)


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


def _checked(path: Path, line: int, row: list[str], expected: int) -> tuple[int, tuple[float, ...]]:
    """Stamp and the seven numbers of the pose, none without one."""
    try:
        if len(row) != len(COLUMNS) or int(row[0]) != expected:
            raise ValueError
        stamp = int(row[2])
        if not -(2**63) <= stamp < 2**63:
            raise ValueError
        pose = tuple(float(value) for value in row[3:]) if any(row[3:]) else ()
    except ValueError as error:
        raise SaaneError(
            f"{path} line {line} is not place {expected}: build the map again or restore a copy."
        ) from error
    if not all(map(math.isfinite, pose)):
        raise SaaneError(f"{path} line {line} has a pose that is not finite: build the map again.")
    return stamp, pose
