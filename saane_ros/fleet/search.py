"""The fleet's end of `PlaceIndex`: the places of a version, found by the engine that holds them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from saane_ros.fleet.content import TABLE_ROW, ids_of_row
from saane_ros.fleet.engine import Stored, Where
from saane_ros.fleet.manifest import Manifest
from saane_ros.fleet.store import FleetStore


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
        """About the k nearest places of a descriptor (D,), in no order."""
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


def find(
    store: FleetStore,
    fingerprint: str,
    descriptor: NDArray[np.float32],
    k: int,
    where: Where,
) -> list[Found]:
    """The k places of all maps of a model that are nearest to a descriptor (D,), the nearest first.

    Only the newest versions of maps whose descriptors went through no post-processing are asked, as
    distances of others mean something else. Raises SaaneError.
    """
    newest: dict[str, Manifest] = {}
    for one in store.manifests(where.map):
        if one.fingerprint == fingerprint and one.size == len(descriptor):
            newest[one.map] = one
    plain = [one for one in newest.values() if one.postprocessing == "none"]
    if where.version:
        plain = [one for one in plain if one.version.startswith(where.version)]
    if not plain:
        return []
    versions = tuple(sorted(one.version for one in plain))
    asked = replace(where, version="", versions=versions, model=fingerprint)
    points = store.engine.nearest(plain[0].room, descriptor, k, asked)
    vectors = store.places(plain[0].room, [one.id for one in points])
    return [_found(one, vectors[one.id], versions, descriptor) for one in points]


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
