"""`saane fleet remove`: versions out of the fleet store, and what no other version needs.

A version is `removing` first: nobody lists or pulls it from then on, and whoever removes next goes
on where a removal was cut off. What it alone has goes, its table of places and its manifest last.

Pieces are shared by all maps, and another vehicle may push a map that names one at this moment. So
a piece that no manifest names is marked; then manifests are read once more, those of pushes that
are not finished too; then what is still marked goes. A push writes its manifest before it looks
whether all is there, and sends marked pieces again, by which the mark is gone.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.fleet.content import EMPTY, TABLE_ROW, pieces_in
from saane_ros.fleet.engine import STATE, Stored, Where
from saane_ros.fleet.manifest import (
    MANIFEST_ROOM,
    PIECE_ROOM,
    REMOVING,
    Manifest,
    membership_token,
)
from saane_ros.fleet.store import FleetStore, LackingError
from saane_ros.progress import progress

T = TypeVar("T")
_BATCH = 1000
_TRIES = 16
"""Of a change that another vehicle's change may come before."""


@dataclass
class RemoveReport:
    """What went.  versions: names of maps and versions.  places, pieces: that no other needs."""

    versions: list[str] = field(default_factory=list)
    places: int = 0
    pieces: int = 0


def remove(store: FleetStore, manifests: Sequence[Manifest]) -> RemoveReport:
    """Remove versions, and those whose removal was cut off.

    Raises SaaneError where the store does not answer, or what another version needs cannot be read:
    then the same command goes on, and nothing that is listed lacks anything.
    """
    if MANIFEST_ROOM in store.engine.rooms():
        store.make_room(MANIFEST_ROOM, 0)
        store.make_room(PIECE_ROOM, 0)
    for batch in _batches(one.id for one in manifests):
        store.engine.set_fields(MANIFEST_ROOM, Where(ids=batch), {STATE: REMOVING})
    going = store.meant(Where(state=REMOVING))
    report = RemoveReport([one.title for one in going])
    if not going:
        return report
    tables = {one for manifest in going for one in manifest.table.ids}
    named = {id for one in going for pieces in one.files.values() for id in pieces.ids} | tables
    for manifest in going:
        with suppress(LackingError):  # gone already, or damaged: what it named stays
            named.update(_texts(_of_places(store, manifest)))
    named.discard(EMPTY)
    seen: set[tuple[str, str]] = set()
    doomed = named - _needed(store, named, seen)
    report.places = _remove_places(store, going)
    # A removal at the same time has a mark of its own, and takes none for what it marked.
    mark = str(uuid.uuid4())
    for batch in _batches(doomed):
        store.engine.set_fields(PIECE_ROOM, Where(ids=batch), {STATE: REMOVING, "token": mark})
    late = _needed(store, doomed, seen)
    for batch in _batches(late):
        store.engine.set_fields(PIECE_ROOM, Where(ids=batch), {STATE: ""})
    doomed -= late
    for part in (doomed - tables, doomed & tables):
        for batch in _batches(part):
            marked = Where(ids=batch, state=REMOVING, token=mark)
            report.pieces += store.engine.count(PIECE_ROOM, marked)
            store.engine.delete(PIECE_ROOM, marked)
    for batch in _batches(one.id for one in going):
        store.engine.delete(MANIFEST_ROOM, Where(ids=batch, state=REMOVING))
    for room in (PIECE_ROOM, *{one.room for one in going}, MANIFEST_ROOM):
        store.engine.settle(room)
    return report


def _needed(store: FleetStore, wanted: set[str], seen: set[tuple[str, str]]) -> set[str]:
    """Which of these pieces another version names.

    seen: manifests that were read before, to which those that are read are added.
    """
    needed: set[str] = set()
    known = np.array([uuid.UUID(one).bytes for one in wanted], "S16")
    others = store.meant(Where(other_states=(REMOVING,)))
    # One that is pushed again with another word for its condition has another table.
    todo = [one for one in others if (one.id, one.table.ids) not in seen]
    for manifest in progress(todo, "look what other versions need", unit="version", delay_s=2.0):
        needed |= wanted & {id for one in manifest.files.values() for id in one.ids}
        needed |= wanted & set(manifest.table.ids)
        with store.reading(manifest):
            there = _of_places(store, manifest)
            needed.update(_texts(there[np.isin(there, known)]))
        seen.add((manifest.id, manifest.table.ids))
    return needed


def _of_places(store: FleetStore, manifest: Manifest) -> NDArray[np.bytes_]:
    table = b"".join(store.read(manifest.table))
    if len(table) != TABLE_ROW * manifest.places:
        raise store.damaged(manifest.id)
    return pieces_in(table)


def _texts(ids: NDArray[np.bytes_]) -> Iterator[str]:
    # NumPy leaves zeros at the end of such values out.
    return (str(uuid.UUID(bytes=one.ljust(16, b"\0"))) for one in ids.tolist())


def _remove_places(store: FleetStore, going: Sequence[Manifest]) -> int:
    """Take versions from the places that have them; gives how many places had no other."""
    rooms = store.engine.rooms()
    removed = 0
    for room, name in sorted({(one.room, one.map) for one in going if one.room in rooms}):
        versions = {one.id: one.version for one in going if (one.room, one.map) == (room, name)}
        for _ in range(_TRIES):
            meant = Where(map=name, versions=tuple(sorted(versions.values())))
            places = store.engine.scroll(room, meant)
            shown = progress(places, f"remove {name}", unit="place", delay_s=2.0)
            for batch in _batches(shown):
                # Whose removal another command finished may be pushed again by now.
                still = store.engine.get(MANIFEST_ROOM, list(versions), [STATE])
                for one in versions.keys() - still.keys():
                    del versions[one]
                removed += _take(store, room, batch, set(versions.values()))
            if not versions or not store.engine.count(room, meant):
                break
        else:
            raise SaaneError(
                f"The fleet store {store.address} does not let places of {name} go (room {room}): "
                "give the same command again."
            )
    return removed


def _take(store: FleetStore, room: str, places: Sequence[Stored], versions: set[str]) -> int:
    """Take versions from some places, where nobody has changed them since they were read."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for one in places:
        groups.setdefault(tuple(map(str, one.payload.get("versions", []))), []).append(one.id)
    removed = 0
    for before, members in groups.items():
        meant = Where(ids=tuple(members), token=membership_token(list(before)))
        after = sorted(set(before) - versions)
        if not after:
            removed += store.engine.count(room, meant)
            store.engine.delete(room, meant)
        elif len(after) < len(before):
            fields = {"versions": after, "token": membership_token(after)}
            store.engine.set_fields(room, meant, fields)
    return removed


def _batches(values: Iterable[T]) -> Iterator[tuple[T, ...]]:
    some = iter(values)
    while batch := tuple(itertools.islice(some, _BATCH)):
        yield batch
