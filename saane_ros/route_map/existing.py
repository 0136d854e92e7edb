"""What a build does with a finished map that it finds at its name."""

from __future__ import annotations

import shutil
from pathlib import Path

from saane_ros.errors import SaaneError
from saane_ros.files import link_or_copy, replacing_folder, telling_full_disk
from saane_ros.route_map.info import INFO_FILE, MapInfo, read_info
from saane_ros.route_map.journal import Journal
from saane_ros.route_map.merge import check_extendable
from saane_ros.route_map.places_csv import PLACES_FILE, read_places
from saane_ros.route_map.postprocessing import AUTO
from saane_ros.route_map.store import RouteMap

REFUSE, EXTEND, REPLACE = EXISTING = ("refuse", "extend", "replace")

_ALIKE = (
    ("fingerprint", "model fingerprint", "load the model that made it"),
    ("frame_id", "frame", "give the poses in that frame"),
    ("grid", "grid of its frame", "build both from the same kind of poses"),
    ("postprocessing", "post-processing", "choose that one"),
)


def base_of(existing: str, path: Path, journal: Journal, drive: MapInfo) -> RouteMap | None:
    """The map that a build extends, kept with its journal; None where it stands alone.

    existing: one of `EXISTING`, for a finished map that has places which this build does not: what
    an interrupted build had saved before is its own.  drive: what the new places' own map would
    say. Raises SaaneError where such a map is refused, or cannot be extended by this drive.
    """
    if existing == REPLACE:
        shutil.rmtree(journal.base, ignore_errors=True)
        return None
    base = RouteMap.open(journal.base) if journal.base.exists() else None
    if (path / INFO_FILE).exists():
        places = read_places(path / PLACES_FILE)
        own = {row.stamp_ns for row in journal.rows}
        own |= set(base.places.stamps.tolist()) if base is not None else set()
        if not own.issuperset(places.stamps.tolist()):
            if existing == REFUSE:
                raise SaaneError(
                    f"{path} is a finished map of {len(places)} places, which a new build would "
                    f"replace: set existing to {EXTEND} or {REPLACE}, or give another name."
                )
            _keep(path, journal.base)
            base = RouteMap.open(journal.base)
    if base is not None:
        _check(base, path, drive)
    return base


def rerank_there(existing: str, path: Path, fingerprint: str) -> str:
    """`MapInfo.rerank` of a finished map that is to be extended; empty where there is none of the
    model."""
    if existing != EXTEND or not (path / INFO_FILE).exists():
        return ""
    info = read_info(path)
    return info.rerank if info.fingerprint == fingerprint else ""


def _keep(path: Path, kept: Path) -> None:
    """Keep a map's files under another name; they are never written to, so links will do."""
    with telling_full_disk(path), replacing_folder(kept) as folder:
        shutil.copytree(path, folder, copy_function=link_or_copy, dirs_exist_ok=True)


def _check(base: RouteMap, path: Path, drive: MapInfo) -> None:
    for field, words, remedy in _ALIKE:
        theirs, ours = getattr(base.info, field), getattr(drive, field)
        if ours not in (theirs, AUTO):
            raise SaaneError(
                f"{path} has the {words} {theirs} and the new drive {ours}, so it cannot be "
                f"extended: {remedy}, or give another name."
            )
    check_extendable(base)
