"""Whether the files of a route map are those that were written.

A map is read in full when it is opened for the first time or after a file changed. After that its
files are known by their size and times: which ones, stands in the user's cache, as a map may lie
where nobody can write, and so that a copy, which takes nothing from there, is read again. The time
of a file's last change of any kind counts too, which no copying sets back. A medium that lost bits
changes no time; `saane map verify` reads everything.

Files that are not the map's own, as a file manager, an editor or a disk leaves them, are let be.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file, sha256_of
from saane_ros.metric.store import METRIC_FILES
from saane_ros.paths import cache_folder
from saane_ros.progress import byte_progress
from saane_ros.route_map.calibration import CALIBRATION_FILE
from saane_ros.route_map.cohort import COHORT_FILE
from saane_ros.route_map.info import MapInfo
from saane_ros.route_map.place_graph import GRAPH_FILE
from saane_ros.route_map.places_csv import (
    COLUMNS_FILE,
    PLACES_FILE,
    THUMBNAIL_FOLDER,
    thumbnail_name,
)
from saane_ros.route_map.postprocessing import NONE
from saane_ros.route_map.postprocessing_file import POSTPROCESSING_FILE

DESCRIPTOR_FILE = "descriptors.npy"
GRIDS_FILE = "grids.npy"
INDEX_FILE = "index.faiss"
OWN_FILES = (
    CALIBRATION_FILE,
    COHORT_FILE,
    DESCRIPTOR_FILE,
    GRAPH_FILE,
    GRIDS_FILE,
    INDEX_FILE,
    *METRIC_FILES,
    PLACES_FILE,
    COLUMNS_FILE,
    POSTPROCESSING_FILE,
    THUMBNAIL_FOLDER,
)
"""What a map may hold besides `map.yaml`."""
THUMBNAILS_LOOKED_AT = 2048
"""Whose sizes and times tell of a folder of more whether it changed: pictures are for people, and
those of a million places would take seconds to look at."""
VERIFIED_FILE = "verified_maps.json"
"""In the cache: by folder and by file, the digest of expected checksum, size and times."""
SETTLED_NS = 2 * 10**9
"""A file that changed so shortly before it was read is read again the next time: it may change once
more and have the same time, which some file systems tell by two seconds."""
NOTHING = hashlib.sha256().hexdigest()
"""Checksum of a folder that held no thumbnails."""

Stamps = dict[str, str]


@dataclass(frozen=True)
class Verified:
    """read: the files that were read in full just now.  stamps: of all that need not be again.

    index_fault: why the index cannot be used, as the map is whole without it; empty where it can.
    """

    folder: Path
    read: frozenset[str]
    stamps: Stamps
    index_fault: str = ""

    def remember(self) -> None:
        """Keep the stamps for the next opening, where there is a cache to keep them in."""
        try:
            known = _known_maps()
            place = str(self.folder.resolve())
            if known.get(place, {}) == self.stamps:
                return
            kept = {name: stamps for name, stamps in known.items() if Path(name).is_dir()}
            with replacing_file(cache_folder() / VERIFIED_FILE) as part:
                part.write_text(json.dumps({**kept, place: self.stamps}, indent=1))
        except (OSError, RuntimeError):  # no home, or one that cannot be written to
            return


def checksums(folder: Path, count: int) -> dict[str, str]:
    """SHA-256 of each own file of a map of so many places; a folder's is over names and bytes."""
    found = [folder / name for name in OWN_FILES if (folder / name).exists()]
    return {path.name: _digest(path, _parts(path, range(count))) for path in found}


def check_files(folder: Path, info: MapInfo, everything: bool = False) -> Verified:
    """Raise SaaneError where a file is missing or is not the one that was written.

    everything: read those too that are known by their size and times, and raise where it is only
    the index. Where it takes long, a bar tells how far it is.
    """
    _check_names(folder, info)
    known = {} if everything else _known_maps().get(str(folder.resolve()), {})
    now = time.time_ns()
    files, index_fault = [], ""
    for name in info.files:
        try:
            files.append(_OwnFile.look_at(folder, name, info))
        except SaaneError as error:
            index_fault = _only_index(name, everything, error)
    unread = [file for file in files if known.get(file.name) != file.stamp]
    size = sum(file.size for file in unread)
    whole = list(files)
    with byte_progress(f"verify {folder.name}", size, 0, delay_s=2.0) as bar:
        for file in unread:
            try:
                file.check(bar.update)
            except SaaneError as error:
                index_fault = _only_index(file.name, everything, error)
                whole.remove(file)
    settled = {file.name: file.stamp for file in whole if now - file.changed_ns > SETTLED_NS}
    return Verified(folder, frozenset(file.name for file in unread), settled, index_fault)


def _only_index(name: str, everything: bool, error: SaaneError) -> str:
    """What is wrong with the index; raises the error of any other file."""
    if everything or name != INDEX_FILE:
        raise error
    return str(error)


@dataclass(frozen=True)
class _OwnFile:
    """A file of a map, or its folder of thumbnails of `count` places.

    size: bytes of it, about.  changed_ns: when it last changed.
    """

    path: Path
    expected: str
    count: int
    size: int
    changed_ns: int
    stamp: str

    @property
    def name(self) -> str:
        return self.path.name

    @classmethod
    def look_at(cls, folder: Path, name: str, info: MapInfo) -> _OwnFile:
        path, expected = folder / name, info.files[name]
        count = 0 if expected == NOTHING else info.count
        looked = range(0, count, max(1, count // THUMBNAILS_LOOKED_AT))
        size, changed_ns, seen = 0, 0, hashlib.sha256(expected.encode())
        parts = _parts(path, looked)
        for part in parts:
            found = _stat(folder, part)
            size += found.st_size
            changed_ns = max(changed_ns, found.st_mtime_ns, found.st_ctime_ns)
            seen.update(f" {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}".encode())
        if len(parts) > 1:
            size = size * count // len(parts)
        return cls(path, expected, count, size, changed_ns, seen.hexdigest())

    def check(self, advance: Callable[[int], object]) -> None:
        """Read it in full; SaaneError where it is not what it was."""
        parts = _parts(self.path, range(self.count))
        for part in parts[1:]:
            _stat(self.path.parent, part)
        try:
            actual = _digest(self.path, parts, advance)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if actual != self.expected:
            raise SaaneError(
                f"{self.path} was truncated or changed, as its checksum differs from the one in "
                "map.yaml: build the map again or restore a copy."
            )


def _stat(folder: Path, part: Path) -> os.stat_result:
    try:
        return part.stat()
    except FileNotFoundError:
        raise SaaneError(
            f"Route map {folder} lacks {part.relative_to(folder)}: build the map again or "
            "restore a copy."
        ) from None
    except OSError as error:
        raise _unreadable(part, error) from error


def _check_names(folder: Path, info: MapInfo) -> None:
    required_files = [PLACES_FILE, DESCRIPTOR_FILE]
    required_files += [INDEX_FILE] * (info.index != "flat")
    required_files += [COLUMNS_FILE] * info.columns
    required_files += [POSTPROCESSING_FILE] * (info.postprocessing != NONE)
    required_files += [GRAPH_FILE, COHORT_FILE, CALIBRATION_FILE] * info.calibrated
    required_files += METRIC_FILES * any(name in info.files for name in METRIC_FILES)
    for required in required_files:
        if required not in info.files:
            raise SaaneError(
                f"Route map {folder} has no checksum of {required} in map.yaml: build it again."
            )
    for name in info.files:
        if name not in OWN_FILES:
            raise SaaneError(
                f"Route map {folder} names a file {name} in map.yaml that no map has: build the "
                "map again or restore a copy."
            )


def _parts(path: Path, places: Sequence[int]) -> list[Path]:
    """What is read of a map's own file: itself, or the thumbnails of these places."""
    if path.name != THUMBNAIL_FOLDER:
        return [path]
    return [path / name for name in sorted(map(thumbnail_name, places))]


def _digest(path: Path, parts: list[Path], advance: Callable[[int], object] | None = None) -> str:
    if parts == [path]:
        return sha256_of(path, advance)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.name} {sha256_of(part, advance)}\n".encode())
    return digest.hexdigest()


def _unreadable(path: Path, error: OSError) -> SaaneError:
    return SaaneError(
        f"{path} cannot be read ({error.strerror}): check the disk and the permissions, or restore "
        "a copy of the map."
    )


def _known_maps() -> dict[str, Stamps]:
    """What the cache knows of maps; nothing where it is absent or no longer what was written."""
    try:
        maps = json.loads((cache_folder() / VERIFIED_FILE).read_text())
    except (OSError, RuntimeError, ValueError):
        return {}
    if not isinstance(maps, dict):
        return {}
    return {name: stamps for name, stamps in maps.items() if isinstance(stamps, dict)}
