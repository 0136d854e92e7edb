"""`saane fleet verify`: everything that the fleet store holds of a map, against its digests."""

from __future__ import annotations

import numpy as np

from saane_ros.fleet.content import EMPTY, TABLE_ROW, ids_of_row
from saane_ros.fleet.manifest import Manifest
from saane_ros.fleet.store import BATCH_BYTES, BATCH_POINTS, FleetStore, LackingError
from saane_ros.progress import progress


def verify(store: FleetStore, manifest: Manifest) -> int:
    """Read all of a version; gives its bytes, or raises SaaneError on the first fault."""
    with store.reading(manifest):
        return _verify(store, manifest)


def _verify(store: FleetStore, manifest: Manifest) -> int:
    total = 0
    for pieces in manifest.files.values():
        total += sum(map(len, store.read(pieces)))
    table = np.frombuffer(b"".join(store.read(manifest.table)), np.uint8)
    if len(table) != TABLE_ROW * manifest.places:
        raise store.damaged(manifest.id)
    rows = table.reshape(-1, TABLE_ROW)
    size = max(1, min(BATCH_POINTS, BATCH_BYTES // manifest.place_bytes))
    starts = range(0, len(rows), size)
    for start in progress(starts, f"verify {manifest.map}", unit="batch", delay_s=2.0):
        pairs = [ids_of_row(row) for row in rows[start : start + size]]
        points = list(dict.fromkeys(one for one, _ in pairs))
        found = store.places(manifest.room, points)
        stray = [one for one in points if manifest.version not in found[one].payload["versions"]]
        if stray:
            raise LackingError(
                f"The fleet store {store.address} finds no place {stray[0]} in {manifest.title}, "
                "although it is one of it: push the folder of the map again with --everything."
            )
        others = list(dict.fromkeys(two for _, two in pairs if two != EMPTY))
        total += sum(map(len, store.pieces(others).values())) if others else 0
        total += 4 * manifest.size * len(points)
    return total
