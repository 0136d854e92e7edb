"""The poses of a RobotCar traversal: `rtk.csv`, `gps/ins.csv` and `gps/gps.csv`.

Positions are UTM metres (east, north, up), orientations those of the inertial unit's body turned
into x forward, y left, z up in an east-north-up frame (the files are north-east-down). Headings
are taken as they are, relative to north; the grid's own north differs by its convergence.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.plausibility import FIXES
from saane_ros.data.poses.track import PoseTrack
from saane_ros.errors import SaaneError
from saane_ros.geodesy import on_grid, utm_zone

POSE_FILES = {"rtk": "rtk.csv", "ins": "gps/ins.csv", "gps": "gps/gps.csv"}
"""The best first."""
POSITION = ("northing", "easting", "down")
ATTITUDE = ("roll", "pitch", "yaw")
GEOGRAPHIC = ("latitude", "longitude", "altitude")
INS_GOOD = "INS_SOLUTION_GOOD"
LONGEST_GAP_S = 1.0
"""Between rows further apart than this there is no pose."""


@dataclass(frozen=True)
class PoseRecord:
    """What one pose file holds.

    source: rtk, ins or gps.  track: UTM metres.  geographic: float64 (N, 3), latitude, longitude,
    altitude of every pose of the track.  zone: UTM zone number.  southern: south of the equator.
    left_out: rows by the reason why they are of no use.  rezoned: rows of another zone, taken over
    into this one.  backwards: rows earlier than the row
    before, put in order.  gaps: times longer than a second without a row.
    """

    source: str
    track: PoseTrack
    geographic: NDArray[np.float64]
    zone: int
    southern: bool
    left_out: dict[str, int]
    rezoned: int
    backwards: int
    gaps: int

    @property
    def grid(self) -> str:
        """The UTM grid of the positions, such as "utm_30N"."""
        return f"utm_{self.zone}{'S' if self.southern else 'N'}"

    def geographic_at(self, stamp_ns: int) -> tuple[float, float, float]:
        """Latitude, longitude, altitude at a stamp (ns) within the track, linear between rows."""
        start = self.track.stamps_ns[0]
        times, at = (self.track.stamps_ns - start).astype(np.float64), float(stamp_ns - start)
        latitude, longitude, altitude = (
            float(np.interp(at, times, column)) for column in self.geographic.T
        )
        return latitude, longitude, altitude

    def sentences(self) -> list[str]:
        """For a person to read."""
        told = [f"Poses from {POSE_FILES[self.source]}: {len(self.track.stamps_ns)} rows."]
        told += [f"Pose rows left out {why}: {count}." for why, count in self.left_out.items()]
        if self.track.faults.counts:
            told.append(f"Pose rows doubted: {self.track.faults}.")
        if self.rezoned:
            told.append(
                f"Pose rows of another UTM zone, taken over into {self.zone}: {self.rezoned}."
            )
        if self.backwards:
            told.append(f"Pose rows earlier than the one before, put in order: {self.backwards}.")
        if self.gaps:
            told.append(f"Times longer than {LONGEST_GAP_S:g} s without a pose: {self.gaps}.")
        return told


def find_pose_record(traversal: Path, source: str = "auto") -> tuple[PoseRecord | None, list[str]]:
    """The best usable of the pose files ("auto"), or the one of `source`; and what was met.

    None where "auto" finds no usable one.  Raises SaaneError where the named one is of no use.
    """
    if source != "auto":
        record = read_pose_record(traversal / POSE_FILES[source])
        return record, record.sentences()
    notes: list[str] = []
    for name in POSE_FILES.values():
        if not (traversal / name).is_file():
            continue
        try:
            record = read_pose_record(traversal / name)
        except SaaneError as error:
            notes.append(str(error))
            continue
        return record, [*notes, *record.sentences()]
    return None, [*notes, f"No usable pose file ({', '.join(POSE_FILES.values())}): no poses."]


def read_pose_record(path: Path) -> PoseRecord:
    """Read `ins.csv`, `rtk.csv` or `gps.csv`, told apart by their header.

    Of INS only good solutions are taken, and GPS, which has no orientation, looks along the
    motion. Rows with missing or wrong fields are left out and counted. Raises SaaneError where
    the columns are wrong or no row is usable.
    """
    header, rows = _rows(path)
    source = "ins" if "ins_status" in header else "rtk" if "yaw" in header else "gps"
    columns = (*GEOGRAPHIC, *POSITION, *(() if source == "gps" else ATTITUDE))
    missing = [name for name in ("timestamp", *columns) if name not in header]
    if missing:
        raise SaaneError(
            f"{path} lacks the columns {', '.join(missing)}: extract the original file again."
        )
    left_out: Counter[str] = Counter()
    stamps, values, zones = [], [], []
    for row in rows:
        if row.get("ins_status", INS_GOOD) != INS_GOOD and source == "ins":
            left_out["without a good solution"] += 1
            continue
        numbers = _numbers(row, columns)
        if numbers is None:
            left_out["with missing or wrong fields"] += 1
            continue
        stamps.append(1000 * int(row["timestamp"] or 0))
        values.append(numbers)
        zones.append(row.get("utm_zone") or "")
    if not values:
        raise SaaneError(f"{path} holds no usable pose: extract the original file again.")
    order = np.argsort(np.array(stamps, np.int64), kind="stable")
    table, times = np.array(values, np.float64)[order], np.array(stamps, np.int64)[order]
    own = [_zone(zones[row], *table[n, :2]) for n, row in enumerate(order.tolist())]
    (zone, southern), _ = Counter(own).most_common(1)[0]
    moved = [n for n, found in enumerate(own) if found != (zone, southern)]
    for n in moved:
        # A drive over the border of two zones goes on in one.
        table[n, 4], table[n, 3] = on_grid(table[n, 0], table[n, 1], zone, southern)
    track = _track(times, table, source)
    return PoseRecord(
        source,
        track,
        table[track.rows, :3],
        zone,
        southern,
        dict(left_out),
        len(moved),
        int((np.diff(stamps) < 0).sum()),
        int((np.diff(track.stamps_ns) > track.longest_gap_ns).sum()),
    )


def body_orientation(roll: float, pitch: float, yaw: float) -> NDArray[np.float64]:
    """Quaternion (x, y, z, w) in east-north-up of roll, pitch, yaw in north-east-down, radians.

    Turning both the world's and the body's axes over keeps roll, and turns pitch, yaw around.
    """
    halves = np.array([roll, -pitch, np.pi / 2 - yaw]) / 2
    (cr, cp, cy), (sr, sp, sy) = np.cos(halves), np.sin(halves)
    return np.array(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ]
    )


def _track(times: NDArray[np.int64], table: NDArray[np.float64], source: str) -> PoseTrack:
    northing, easting, down = table[:, 3:6].T
    positions = np.column_stack([easting, northing, -down])
    if source == "gps":
        return PoseTrack(times, positions, None, LONGEST_GAP_S, FIXES)
    turns = np.array([body_orientation(*row) for row in table[:, 6:9]])
    return PoseTrack(times, positions, turns, LONGEST_GAP_S)


def _rows(path: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            reader = csv.DictReader(stream)
            return list(reader.fieldnames or []), list(reader)
    except (OSError, csv.Error) as error:
        raise SaaneError(
            f"The pose file {path} cannot be read: extract the traversal's gps archive there."
        ) from error


def _numbers(row: dict[str, str | None], columns: tuple[str, ...]) -> list[float] | None:
    """The values of a row, latitude and longitude first; None where one is missing or wrong."""
    stamp = row["timestamp"] or ""
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 17):
        return None
    try:
        values = [float(row[name] or "") for name in columns]
    except ValueError:
        return None
    on_earth = abs(values[0]) <= 90 and abs(values[1]) <= 180
    return values if on_earth and all(map(math.isfinite, values)) else None


def _zone(text: str, latitude: float, longitude: float) -> tuple[int, bool]:
    """Number and hemisphere of a zone such as "30U"; by the position where it is none."""
    found = re.fullmatch(r"(\d{1,2})([C-HJ-NP-X])", text.strip().upper())
    if found and 1 <= int(found[1]) <= 60:
        return int(found[1]), found[2] < "N"
    try:
        number, band = utm_zone(latitude, longitude)
    except ValueError:
        return 31, latitude < 0
    return number, band < "N"
