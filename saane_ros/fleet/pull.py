"""`saane fleet pull`: a version of a map, or the part of one in a region, as a folder on disk.

What has come lies in `.<version>.pulling/` until all is there, so a pull that is cut off goes on
where it was. What another version on this disk has is taken from there. Everything is compared with
its digests before the folder gets its name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.files import lock_folder, replacing_file, replacing_folder, telling_full_disk
from saane_ros.fleet.content import (
    BY_PLACE,
    EMPTY,
    TABLE_ROW,
    MapContent,
    digest_of_rows,
    ids_of_row,
)
from saane_ros.fleet.manifest import Manifest
from saane_ros.fleet.region import Region
from saane_ros.fleet.rows import RowFiles, Split
from saane_ros.fleet.store import BATCH_BYTES, BATCH_POINTS, FleetStore
from saane_ros.fleet.working_set import WorkingSet
from saane_ros.metric.store import METRIC_FILE, ROWS_FILE, STARTS_FILE, points_head
from saane_ros.progress import progress
from saane_ros.route_map.calibration import CALIBRATION_FILE, read_calibration
from saane_ros.route_map.cohort import COHORT_FILE, read_cohort
from saane_ros.route_map.info import INFO_FILE, read_info
from saane_ros.route_map.places_csv import (
    PLACES_FILE,
    THUMBNAIL_FOLDER,
    read_places,
    thumbnail_name,
)
from saane_ros.route_map.postprocessing import NONE
from saane_ros.route_map.postprocessing_file import POSTPROCESSING_FILE, read_postprocessing
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.verification import GRIDS_FILE, OWN_FILES
from saane_ros.route_map.writing import write_map

_FILES, _TABLE = "files", "table"
"""In the folder of a pull: what is not kept place by place, and with it the table of places."""


@dataclass
class PullReport:
    """What came.  label: of the version or part.  new: whether it was not here before.

    places, fetched: that it has, and that came over the network.  bytes: of those and of files.
    """

    path: Path
    label: str
    new: bool = True
    places: int = 0
    fetched: int = 0
    bytes: int = 0


def pull(store: FleetStore, manifest: Manifest, maps: Path, region: Region | None) -> PullReport:
    """Pull into the working set below `maps`; nothing is installed.

    Raises SaaneError where the store does not answer or gives something else than was pushed, the
    version was removed meanwhile, or no place lies in the region; what was here before stays.
    """
    target = WorkingSet(maps, manifest.map)
    if not set(manifest.files) <= {*OWN_FILES, INFO_FILE} - {*BY_PLACE}:
        raise store.damaged(manifest.id)
    whole = target.path(manifest.version)
    if region is None and _usable(whole):
        return PullReport(whole, manifest.version, False, manifest.places)
    with telling_full_disk(whole), store.reading(manifest):
        return _Pull(store, manifest, target).run(region)


class _Pull:
    """One pull, in the folder that holds what has come."""

    def __init__(self, store: FleetStore, manifest: Manifest, target: WorkingSet) -> None:
        self._store, self._manifest, self._target = store, manifest, target
        self._folder = target.folder / f".{manifest.version}.pulling"
        self._fetched, self._bytes = 0, 0

    def run(self, region: Region | None) -> PullReport:
        lock = lock_folder(self._folder, f"command pulls {self._manifest.title}")
        try:
            return self._run(region)
        finally:
            os.close(lock)

    def _run(self, region: Region | None) -> PullReport:
        manifest, target = self._manifest, self._target
        files = self._files()
        table = np.fromfile(files / _TABLE, np.uint8)
        if len(table) != manifest.places * TABLE_ROW:
            raise self._store.damaged(manifest.table.ids[0])
        table = table.reshape(-1, TABLE_ROW)
        rows, label = np.arange(manifest.places), manifest.version
        if region is not None:
            rows = region.rows(manifest, read_places(files / PLACES_FILE, False).positions)
            if not len(rows):
                self._forget()
                raise SaaneError(
                    f"{manifest.title} has no place within {region.radius:g} m of there: give a "
                    "larger --radius or another map."
                )
            label = f"{manifest.version}+{digest_of_rows(rows)}"
        path = target.path(label)
        report = PullReport(path, label, not _usable(path), len(rows))
        if report.new:
            kept = self._rows(label, rows, table)
            try:
                self._whole(path, kept) if region is None else self._part(path, rows, kept)
            except SaaneError:
                # What this disk made of it goes, or it would be taken for what came.
                shutil.rmtree(self._folder, ignore_errors=True)
                raise
            with replacing_file(target.table(label)) as part:
                part.write_bytes(table[rows].tobytes())
        self._tidy(keep=region is not None)
        return replace(report, fetched=self._fetched, bytes=self._bytes)

    def _tidy(self, keep: bool) -> None:
        """Remove what has come, but for the files of a version of which parts are pulled.

        They are most of what the next part of it costs, as a vehicle drives on.
        """
        for other in self._target.folder.glob(".*.pulling"):
            if other != self._folder:
                with suppress(SaaneError):  # another command pulls it
                    lock = lock_folder(other, "command pulls")
                    shutil.rmtree(other, ignore_errors=True)
                    os.close(lock)
        for one in self._folder.iterdir():
            if not keep or one.name != _FILES:
                shutil.rmtree(one, ignore_errors=True)
        if not keep:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _forget(self) -> None:
        """Leave no trace of a pull of nothing."""
        shutil.rmtree(self._folder, ignore_errors=True)
        folder = self._target.folder
        with suppress(OSError):  # not empty
            for path in (folder, folder.parent, folder.parent.parent):
                path.rmdir()

    def _files(self) -> Path:
        """The files that are not kept place by place."""
        folder = self._folder / _FILES
        folder.mkdir(exist_ok=True)
        for name, pieces in {**self._manifest.files, _TABLE: self._manifest.table}.items():
            if not (folder / name).exists():
                with replacing_file(folder / name) as part, part.open("wb") as stream:
                    for piece in self._store.read(pieces):
                        stream.write(piece)
                self._bytes += pieces.size
        return folder

    def _rows(self, label: str, rows: NDArray[np.int64], table: NDArray[np.uint8]) -> RowFiles:
        """What is kept place by place, of these places."""
        kept = RowFiles(self._folder / f"rows {label}", self._manifest.size)
        local = _Local(self._target, self._manifest.condition)
        todo = rows[len(kept) :]
        size = max(1, min(BATCH_POINTS, BATCH_BYTES // self._manifest.place_bytes))
        starts = range(0, len(todo), size)
        for start in progress(starts, f"pull {self._manifest.map}", unit="batch", delay_s=2.0):
            pairs = [ids_of_row(table[row]) for row in todo[start : start + size]]
            vectors, pieces = self._batch(pairs, local)
            kept.append(
                np.stack([vectors[one] for one, _ in pairs]), [pieces[two] for _, two in pairs]
            )
        return kept

    def _batch(
        self, pairs: Sequence[tuple[str, str]], local: _Local
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, bytes]]:
        """Vectors by the ids of points, and pieces by their ids: from this disk, or the store."""
        vectors: dict[str, NDArray[np.float32]] = {}
        pieces: dict[str, bytes] = {EMPTY: b""}
        for pair in pairs:
            found = local.find(pair)
            if found is not None:
                vectors[pair[0]], pieces[pair[1]] = found
        points = list(dict.fromkeys(one for one, _ in pairs if one not in vectors))
        others = list(dict.fromkeys(two for _, two in pairs if two not in pieces))
        if points:
            manifest = self._manifest
            for one, point in self._store.places(manifest.room, points).items():
                assert point.vector is not None, "checked by the store"
                vectors[one] = point.vector
        if others:
            pieces.update(self._store.pieces(others))
        self._fetched += len(points)
        self._bytes += sum(len(pieces[two]) for two in others)
        self._bytes += sum(vectors[one].nbytes for one in points)
        return vectors, pieces

    def _whole(self, path: Path, kept: RowFiles) -> None:
        """The folder as it was pushed, byte for byte."""
        manifest, files = self._manifest, self._folder / _FILES
        split = self._split(np.arange(manifest.places))
        with replacing_folder(path) as folder:
            for name in manifest.files:
                shutil.copyfile(files / name, folder / name)
            heads = {name: bytes.fromhex(head) for name, head in manifest.heads.items()}
            split.write(kept, folder, heads, np.dtype(manifest.dtype))
            RouteMap.open(folder, everything=True)

    def _part(self, path: Path, rows: NDArray[np.int64], kept: RowFiles) -> None:
        """A map of some places, with what the whole one learned of its drive."""
        manifest, files = self._manifest, self._folder / _FILES
        info = read_info(files)
        split, scratch = self._split(rows), self._folder / f"split {path.name}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        split.write(kept, scratch, {}, None)
        shown = [scratch / THUMBNAIL_FOLDER / thumbnail_name(i) for i in range(len(rows))]
        all_places = read_places(files / PLACES_FILE, False)
        places = [replace(all_places[row], id=i) for i, row in enumerate(rows)]
        grids = points = postprocessing = None
        if split.grid:
            grids = np.memmap(scratch / GRIDS_FILE, np.int8, "r", shape=(len(rows), *split.grid))
        if split.starts is not None:
            head = points_head(files / METRIC_FILE)
            content = np.fromfile(scratch / ROWS_FILE, head.rows.dtype)
            points = replace(head, starts=split.starts, rows=content)
        if info.postprocessing != NONE:
            postprocessing = read_postprocessing(files / POSTPROCESSING_FILE, info.postprocessing)
        known = read_calibration(files / CALIBRATION_FILE)
        write_map(
            path,
            replace(info, count=len(rows), index="flat", files={}),
            places,
            kept.vectors(),
            range(len(rows)),
            shown if manifest.shown else [],
            read_cohort(files / COHORT_FILE),
            grids,
            postprocessing,
            (known.weights, known.source),
            points,
        )

    def _split(self, rows: NDArray[np.int64]) -> Split:
        """How a place's piece is cut, of these places."""
        manifest, files = self._manifest, self._folder / _FILES
        starts, item = None, 0
        if ROWS_FILE in manifest.heads:
            counts = np.diff(np.load(files / STARTS_FILE, allow_pickle=False))[rows]
            starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            item = points_head(files / METRIC_FILE).rows.dtype.itemsize
        return Split(
            manifest.grid_shape, starts, item, manifest.shown, self._store.damaged(manifest.id)
        )


class _Local:
    """What other versions of the map on this disk have."""

    def __init__(self, target: WorkingSet, condition: str) -> None:
        self._rows: dict[tuple[str, str], tuple[MapContent, int]] = {}
        for label in target.labels:
            try:
                table = np.fromfile(target.table(label), np.uint8).reshape(-1, TABLE_ROW)
                content = MapContent(RouteMap.open(target.path(label)), condition)
            except (OSError, ValueError, SaaneError):
                continue  # what it has comes from the store
            if len(content) == len(table):
                self._rows.update({ids_of_row(row): (content, i) for i, row in enumerate(table)})

    def find(self, pair: tuple[str, str]) -> tuple[NDArray[np.float32], bytes] | None:
        """The vector and the piece of a place, where they are here and still are what they were."""
        if pair not in self._rows:
            return None
        content, row = self._rows[pair]
        return content.checked(row, pair)


def _usable(path: Path) -> bool:
    try:
        RouteMap.open(path).localizable()
    except SaaneError:
        return False
    return True
