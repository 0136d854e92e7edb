"""What a map folder is made of, in the pieces that travel: each named by a digest of its content.

What is kept place by place (descriptor, feature grid, points, thumbnail) travels place by place, so
that a place that did not change is not sent again wherever it stands in the new version. The
descriptor is the vector of the place's point, by which the engine searches; the rest is one piece.
Other files are cut in pieces of a mebibyte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.fleet.engine import Box, Stored
from saane_ros.fleet.manifest import (
    Manifest,
    Pieces,
    id_of,
    membership_token,
    place_id,
    version_of,
)
from saane_ros.geodesy import geographic
from saane_ros.metric.store import ROWS_FILE
from saane_ros.route_map.info import INFO_FILE
from saane_ros.route_map.places_csv import THUMBNAIL_FOLDER
from saane_ros.route_map.statistics import drive_names
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.verification import DESCRIPTOR_FILE, GRIDS_FILE, NOTHING

PIECE_BYTES = 1 << 20
TABLE_ROW = 32
"""Bytes of a place in the table: ids of its point and of its piece."""
BY_PLACE = (DESCRIPTOR_FILE, GRIDS_FILE, ROWS_FILE, THUMBNAIL_FOLDER)
EMPTY = id_of(b"")
"""Of a place that has nothing but its descriptor."""


class MapContent:
    """The content of a map.

    condition: a word for what all its drives were taken in, as `night`; empty where a merged map's
    drives are named after theirs.
    """

    def __init__(self, route_map: RouteMap, condition: str = "") -> None:
        self._map, self._condition = route_map, condition
        info = route_map.info
        self.version = version_of(info)
        names = drive_names(route_map)
        self._conditions = [condition or name for name in names]
        self._shown = info.files.get(THUMBNAIL_FOLDER, NOTHING) != NOTHING
        grids = None if route_map.bearings is None else route_map.bearings.grids
        # A memory map's own slicing costs more than what it slices.
        self._grids = None if grids is None else np.asarray(grids)
        self._vectors = np.asarray(route_map.descriptors)
        self._geographic = _geographic(route_map)

    def __len__(self) -> int:
        return self._map.info.count

    def point(self, row: int) -> Stored:
        """The point of a place, as it is before any version has it."""
        place, info = self._map.places[row], self._map.info
        vector = np.ascontiguousarray(self._vectors[row], np.float32)
        told: dict[str, Any] = {
            "map": info.name,
            "name": place.name.encode(errors="backslashreplace").decode(),
            "condition": self._conditions[row],
            "model": info.fingerprint,
            "postprocessing": info.postprocessing,
            "stamp_ns": place.stamp_ns,
        }
        if place.pose is not None:
            told["position"] = list(map(float, place.pose.position))
        fields = {name: told[name] for name in ("map", "condition", "model")}
        fields["time"] = place.stamp_ns // 10**9
        if self._geographic is not None and not np.isnan(self._geographic[row, 0]):
            latitude, longitude, _ = self._geographic[row].tolist()
            fields["location"] = told["location"] = {"lat": latitude, "lon": longitude}
        # As text, which no engine's numbers can change.
        text = json.dumps(told, sort_keys=True)
        payload = {**fields, "place": text, "versions": [], "token": membership_token([])}
        return Stored(place_id(text, vector), payload, vector)

    def piece(self, row: int) -> bytes:
        """What else a place has: feature grid, rows of points, thumbnail, one after another."""
        parts = []
        if self._grids is not None:
            parts.append(self._grids[row].tobytes())
        points = self._map.points
        if points is not None:
            parts.append(points.rows[points.starts[row] : points.starts[row + 1]].tobytes())
        thumbnail = self._map.places[row].thumbnail
        if self._shown and thumbnail is not None:
            parts.append(thumbnail.read_bytes())
        return b"".join(parts)

    def checked(self, row: int, ids: tuple[str, str]) -> tuple[NDArray[np.float32], bytes] | None:
        """Vector and piece of a place, where these are still their ids."""
        point, piece = self.point(row), self.piece(row)
        if (point.id, id_of(piece)) != ids or point.vector is None:
            return None
        return point.vector, piece

    def file_names(self) -> list[str]:
        """The files that are not kept place by place; the head of the map last."""
        return [*(name for name in self._map.info.files if name not in BY_PLACE), INFO_FILE]

    def file_pieces(self, name: str) -> Iterator[bytes]:
        """The pieces of such a file."""
        with (self._map.path / name).open("rb") as stream:
            yield from iter(lambda: stream.read(PIECE_BYTES), b"")

    def manifest(self, files: dict[str, Pieces], table: Pieces) -> Manifest:
        """The manifest of what was sent."""
        info = self._map.info
        arrays = [name for name in (DESCRIPTOR_FILE, GRIDS_FILE, ROWS_FILE) if name in info.files]
        return Manifest(
            map=info.name,
            version=self.version,
            created=info.created,
            pushed=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            condition=self._condition,
            model=info.model,
            fingerprint=info.fingerprint,
            places=info.count,
            size=info.descriptor_size,
            dtype=info.dtype,
            postprocessing=info.postprocessing,
            grid=info.grid,
            origin=info.origin,
            box=self._box(),
            heads={name: _head(self._map.path / name).hex() for name in arrays},
            shown=self._shown,
            files=files,
            table=table,
        )

    def _box(self) -> Box | None:
        where = self._geographic
        if where is None:
            where = self._map.places.positions[:, [1, 0]]
        known = where[~np.isnan(where[:, 0])]
        if not len(known):
            return None
        (south, west), (north, east) = known.min(axis=0)[:2], known.max(axis=0)[:2]
        return float(south), float(west), float(north), float(east)


def table_of(ids: Sequence[tuple[str, str]]) -> bytes:
    """The table of a map: the ids of the point and of the piece of every place."""
    return b"".join(bytes.fromhex(one.replace("-", "")) for pair in ids for one in pair)


def ids_of_row(row: NDArray[np.uint8]) -> tuple[str, str]:
    """The ids in a row (TABLE_ROW,) of a table: of a place's point and of its piece."""
    texts = [row[at : at + TABLE_ROW // 2].tobytes().hex() for at in (0, TABLE_ROW // 2)]
    first, second = (f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}" for t in texts)
    return first, second


def pieces_in(table: bytes) -> NDArray[np.bytes_]:
    """What the places of a table have as pieces, each once: ids as 16 bytes (n,)."""
    rows = np.frombuffer(table, np.uint8).reshape(-1, TABLE_ROW)[:, TABLE_ROW // 2 :]
    return np.unique(np.ascontiguousarray(rows).view("S16").ravel())


def digest_of_rows(rows: NDArray[np.int64]) -> str:
    """A name for some of a map's places."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:8]


def _geographic(route_map: RouteMap) -> NDArray[np.float64] | None:
    """Latitude, longitude, altitude (N, 3) of places, NaN without a pose; None without origin."""
    info, positions = route_map.info, route_map.places.positions
    if info.origin is None:
        return None
    found = np.full(positions.shape, np.nan)
    known = ~np.isnan(positions[:, 0])
    if known.any():
        found[known] = geographic(positions[known], info.origin, info.grid)
    return found


def _head(path: Path) -> bytes:
    """What comes before the rows in a .npy file."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    with path.open("rb") as stream:
        return stream.read(path.stat().st_size - array.nbytes)
