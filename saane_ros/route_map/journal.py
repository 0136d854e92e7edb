"""What a build has embedded so far, on disk, so that an interrupted build loses nothing.

`.<name>.building/` beside the map holds `journal.yaml` (whose build it is), `frames.jsonl` (one
line per embedded frame), `descriptors.f32` and `grids.i8` (raw rows), `thumbnails/`, `keypoints/`
where the map is to have points, and `origin.json` where the origin came with the frames. Rows are
appended before their line, so that a line always stands for a whole row. `journal.yaml` is the last
to come and the first to go, so that the rest is there as long as it is.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from saane_ros.files import lock_folder, replacing_file, telling_full_disk
from saane_ros.metric.features import Keypoints
from saane_ros.reading import YAML_FAULTS
from saane_ros.route_map.arrays import read_arrays, write_arrays
from saane_ros.route_map.info import Origin
from saane_ros.route_map.places_csv import THUMBNAIL_FOLDER, thumbnail_name
from saane_ros.types import Pose

JOURNAL_FORMAT = 4
KEYPOINT_FOLDER = "keypoints"


@dataclass(frozen=True)
class JournalHead:
    """Whose build a journal belongs to; another head means another build.

    grid: h, w and values of a compact feature grid, empty for a model without them.  features:
    name of what finds keypoints, empty for a map without points.
    """

    fingerprint: str
    descriptor_size: int
    source: str
    grid: tuple[int, ...] = ()
    features: str = ""

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of a descriptor and of a grid."""
        return 4 * self.descriptor_size, math.prod(self.grid) if self.grid else 0


@dataclass(frozen=True)
class JournalRow:
    """One embedded frame. `key`: digest of its pixels."""

    key: str
    name: str
    stamp_ns: int
    pose: Pose | None


class Journal:
    """Append-only record of embedded frames; `close` keeps it, `remove` deletes it.

    Raises SaaneError where another build has it, and where the disk has no room for it.
    """

    def __init__(self, map_path: Path, head: JournalHead) -> None:
        self.folder = map_path.with_name(f".{map_path.name}.building")
        self._map_path = map_path
        self._head = head
        with telling_full_disk(map_path):
            self._lock: int | None = lock_folder(self.folder, f"build is writing {map_path}")
            try:
                if self._stored_head() != self._head_values():
                    self._start()
                self.rows = self._recover()
            except BaseException:
                self.close()
                raise
        self._by_key = {row.key: number for number, row in enumerate(self.rows)}

    def find(self, key: str) -> int | None:
        """The row whose frame had these pixels, or None."""
        return self._by_key.get(key)

    def append(
        self,
        rows: list[JournalRow],
        descriptors: NDArray[np.float32],
        grids: list[NDArray[np.int8]],
        thumbnails: list[bytes],
        keypoints: list[Keypoints],
    ) -> None:
        """Record embedded frames: descriptors float32 (n, D), compact grids where the model has
        them, thumbnails as JPEG bytes, keypoints where the map is to have points.
        """
        first = len(self.rows)
        row_bytes, grid_bytes = self._head.sizes
        raw = np.ascontiguousarray(descriptors, np.float32).tobytes()
        lines = "".join(_line(row) for row in rows).encode()
        with telling_full_disk(self._map_path):
            for offset, jpeg in enumerate(thumbnails):
                self.thumbnail(first + offset).write_bytes(jpeg)
            for offset, one in enumerate(keypoints):
                arrays: dict[str, NDArray[Any]] = {"xy": one.xy, "descriptors": one.descriptors}
                write_arrays(self._keypoint_path(first + offset), arrays)
            _append(self._descriptor_path, first * row_bytes, raw)
            _append(self._grid_path, first * grid_bytes, b"".join(g.tobytes() for g in grids))
            _append(self._frame_path, self._lines_end, lines)
        self._lines_end += len(lines)
        for row in rows:
            self._by_key.setdefault(row.key, len(self.rows))
            self.rows.append(row)

    def descriptors(self) -> NDArray[np.float32]:
        """All recorded descriptors, memory-mapped float32 (n, D)."""
        shape = (len(self.rows), self._head.descriptor_size)
        return np.memmap(self._descriptor_path, dtype=np.float32, mode="r", shape=shape)

    def grids(self) -> NDArray[np.int8] | None:
        """All recorded grids, memory-mapped int8 (n, h, w, P); None where the model has none."""
        if not self._head.grid or not self.rows:
            return None
        shape = (len(self.rows), *self._head.grid)
        return np.memmap(self._grid_path, dtype=np.int8, mode="r", shape=shape)

    def thumbnail(self, row: int) -> Path:
        """File of a row's thumbnail."""
        return self.folder / THUMBNAIL_FOLDER / thumbnail_name(row)

    def keypoints(self, row: int) -> Keypoints:
        """A row's keypoints."""
        arrays = read_arrays(self._keypoint_path(row))
        return Keypoints(arrays["xy"], arrays["descriptors"])

    def origin(self) -> Origin | None:
        """Where the poses' zero lies on the Earth, if that was remembered."""
        try:
            latitude, longitude, altitude = json.loads(self._origin_path.read_text("utf-8"))
            return (float(latitude), float(longitude), float(altitude))
        except (OSError, ValueError, TypeError):
            return None

    def remember_origin(self, origin: Origin) -> None:
        """Keep where the poses' zero lies, for the rest of this build and whoever continues it."""
        with telling_full_disk(self._map_path), replacing_file(self._origin_path) as part:
            part.write_text(json.dumps(origin), encoding="utf-8")

    def close(self) -> None:
        """Let another build have the journal; what it holds stays."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def remove(self) -> None:
        """Forget everything, once the map is written."""
        self._head_path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def base(self) -> Path:
        """Folder of the map that the build extends, as it was before; there is none elsewhere."""
        return self.folder / "base"

    @property
    def _head_path(self) -> Path:
        return self.folder / "journal.yaml"

    @property
    def _descriptor_path(self) -> Path:
        return self.folder / "descriptors.f32"

    @property
    def _grid_path(self) -> Path:
        return self.folder / "grids.i8"

    def _keypoint_path(self, row: int) -> Path:
        return self.folder / KEYPOINT_FOLDER / f"{row:06d}.npz"

    @property
    def _origin_path(self) -> Path:
        return self.folder / "origin.json"

    @property
    def _frame_path(self) -> Path:
        return self.folder / "frames.jsonl"

    def _stored_head(self) -> object:
        try:
            return yaml.safe_load(self._head_path.read_text(encoding="utf-8"))
        except (OSError, *YAML_FAULTS):
            return None

    def _start(self) -> None:
        self._head_path.unlink(missing_ok=True)
        shutil.rmtree(self.base, ignore_errors=True)
        for name in (THUMBNAIL_FOLDER, KEYPOINT_FOLDER):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir()
        self._descriptor_path.write_bytes(b"")
        self._grid_path.write_bytes(b"")
        self._frame_path.write_bytes(b"")
        self._origin_path.unlink(missing_ok=True)
        with replacing_file(self._head_path) as part:
            part.write_text(yaml.safe_dump(self._head_values()), encoding="utf-8")

    def _head_values(self) -> dict[str, object]:
        return {"format": JOURNAL_FORMAT, **asdict(self._head), "grid": list(self._head.grid)}

    def _recover(self) -> list[JournalRow]:
        """Whole rows only; a torn end of either file is cut off, so that appending is safe."""
        row_bytes, grid_bytes = self._head.sizes
        lines = self._frame_path.read_bytes().split(b"\n")[:-1]
        rows: list[JournalRow] = []
        whole = min(len(lines), self._descriptor_path.stat().st_size // row_bytes)
        if grid_bytes:
            whole = min(whole, self._grid_path.stat().st_size // grid_bytes)
        for line in lines[:whole]:
            row = _row(line)
            if row is None or not self.thumbnail(len(rows)).is_file():
                break
            if self._head.features and not self._keypoint_path(len(rows)).is_file():
                break
            rows.append(row)
        self._lines_end = sum(len(line) + 1 for line in lines[: len(rows)])
        os.truncate(self._frame_path, self._lines_end)
        os.truncate(self._descriptor_path, len(rows) * row_bytes)
        os.truncate(self._grid_path, len(rows) * grid_bytes)
        return rows


def _append(path: Path, at: int, data: bytes) -> None:
    """Write data where the whole rows end: a write that lacked room may have left half a one."""
    with path.open("r+b") as stream:
        stream.truncate(at)
        stream.seek(at)
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _line(row: JournalRow) -> str:
    pose = None if row.pose is None else [*row.pose.position, *row.pose.orientation]
    return (
        json.dumps({"key": row.key, "name": row.name, "stamp": row.stamp_ns, "pose": pose}) + "\n"
    )


def _row(line: bytes) -> JournalRow | None:
    try:
        values = json.loads(line)
        pose = values["pose"]
        if pose is not None:
            x, y, z, qx, qy, qz, qw = (float(value) for value in pose)
            pose = Pose((x, y, z), (qx, qy, qz, qw))
        return JournalRow(values["key"], values["name"], int(values["stamp"]), pose)
    except (ValueError, KeyError, TypeError):
        return None
