"""The fleet's end of `PlaceIndex`: the places of a version, found by the engine that holds them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.fleet.content import TABLE_ROW, ids_of_row
from saane_ros.fleet.engine import Stored, Where
from saane_ros.fleet.manifest import Manifest
from saane_ros.fleet.store import FleetStore
from saane_ros.route_map.postprocessing import NONE
from saane_ros.route_map.postprocessing_file import POSTPROCESSING_FILE, read_postprocessing


class FleetIndex:
    """The places of a version of a map, by rows of that version; as a map's own index.

    Descriptors are compared as they are stored: a query goes through the map's post-processing
    first, as for the map's folder. Raises SaaneError where the store does not answer.
    """

    def __init__(self, store: FleetStore, manifest: Manifest) -> None:
        self._engine, self._manifest = store.engine, manifest
        self._where = Where(map=manifest.map, version=manifest.version, model=manifest.fingerprint)
        table = np.frombuffer(b"".join(store.read(manifest.table)), np.uint8)
        self._rows: dict[str, list[int]] = {}
        for row, ids in enumerate(table.reshape(-1, TABLE_ROW)):
            self._rows.setdefault(ids_of_row(ids)[0], []).append(row)

    def find(self, query: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """About the k nearest places of a descriptor (D,), about in the order of their nearness."""
        found = self._engine.nearest(self._manifest.room, query, k, self._where)
        rows = [row for one in found for row in self._rows.get(one.id, [])]
        return np.array(rows[:k], np.int64)


@dataclass(frozen=True)
class Found:
    """A place that looks alike.  position: latitude, longitude; None without."""

    map: str
    version: str
    name: str
    condition: str
    position: tuple[float, float] | None
    distance: float


@dataclass(frozen=True)
class Alike:
    """Places, the nearest first, whose descriptors went through one post-processing."""

    postprocessing: str
    places: list[Found]


def find(
    store: FleetStore,
    manifests: Sequence[Manifest],
    fingerprint: str,
    descriptor: NDArray[np.float32],
    k: int,
    where: Where,
) -> list[Alike]:
    """The k places that are nearest to a raw descriptor (D,), of each kind of maps of its model.

    manifests: of which the newest version of each map is asked, in the order of `store.manifests`.
    Maps without a post-processing are one kind and come first; others are of one kind where they
    share it, and the descriptor goes through it before. A kind without such places is left out.
    Raises SaaneError.
    """
    newest = {one.map: one for one in manifests if one.fingerprint == fingerprint}
    kinds: dict[tuple[str, tuple[str, ...]], list[Manifest]] = {}
    for one in newest.values():
        file = one.files.get(POSTPROCESSING_FILE)
        kinds.setdefault((one.room, () if file is None else file.ids), []).append(one)
    alike = []
    for _, maps in sorted(kinds.items(), key=lambda kind: (kind[0][1] != (), kind[0])):
        query = _processed(store, maps[0], descriptor)
        versions = tuple(sorted(one.version for one in maps))
        asked = replace(where, version="", versions=versions, model=fingerprint)
        points = store.engine.nearest(maps[0].room, query, k, asked)
        vectors = store.places(maps[0].room, [one.id for one in points])
        if points:
            found = [_found(one, vectors[one.id], versions, query) for one in points]
            alike.append(Alike(maps[0].postprocessing, found))
    return alike


def _processed(
    store: FleetStore, manifest: Manifest, descriptor: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The descriptor as a query of the map."""
    if manifest.postprocessing == NONE:
        return descriptor
    if POSTPROCESSING_FILE not in manifest.files:
        raise store.damaged(manifest.id)
    with tempfile.TemporaryDirectory() as folder, store.reading(manifest):
        path = Path(folder) / POSTPROCESSING_FILE
        path.write_bytes(b"".join(store.read(manifest.files[POSTPROCESSING_FILE])))
        return read_postprocessing(path, manifest.postprocessing).apply(descriptor[None])[0]


def _found(
    point: Stored, place: Stored, versions: tuple[str, ...], descriptor: NDArray[np.float32]
) -> Found:
    told = json.loads(str(place.payload["place"]))
    location = told.get("location")
    assert place.vector is not None, "checked by the store"
    return Found(
        str(told["map"]),
        next(one for one in point.payload["versions"] if one in versions),
        str(told["name"]),
        str(told["condition"]),
        None if location is None else (location["lat"], location["lon"]),
        float(np.linalg.norm(place.vector - descriptor)),
    )
