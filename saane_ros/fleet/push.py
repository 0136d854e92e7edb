"""`saane fleet push`: a map into the fleet store, no more of it than is not there yet.

The manifest comes last, so a push that is cut off shows nothing and goes on where it was. Pieces
and places are named by their content: two vehicles that push one map send the same, and of
different maps of one name each becomes a version. A removal (`remove.py`) may take meanwhile what
was found to be there: so the manifest is pending at first, by which no removal begins to take what
it names, and all is looked at once more before it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from saane_ros.errors import SaaneError
from saane_ros.fleet.content import EMPTY, PIECE_BYTES, MapContent, table_of
from saane_ros.fleet.engine import STATE, Stored, Where
from saane_ros.fleet.manifest import (
    MANIFEST_ROOM,
    PENDING,
    PIECE_ROOM,
    REMOVING,
    WHOLE,
    Manifest,
    Pieces,
    id_of,
    membership_token,
    place_room,
)
from saane_ros.fleet.store import BATCH_BYTES, BATCH_POINTS, FleetStore
from saane_ros.progress import progress
from saane_ros.route_map.store import RouteMap

_TRIES = 16
"""Of a change that another vehicle's change may come before."""


@dataclass
class PushReport:
    """What was sent.  new: whether the version was not there before.

    places, bytes: that were not there; bytes of files and of what places have, without vectors.
    """

    version: str
    new: bool = True
    places: int = 0
    of_places: int = 0
    bytes: int = 0


def push(
    store: FleetStore, route_map: RouteMap, condition: str = "", everything: bool = False
) -> PushReport:
    """Push a map; a version that is there already is left as it is.

    everything: send all of it, also what is there, to mend what was damaged. Raises SaaneError for
    a map of an older format, and where the store does not answer, is full, holds another model's
    places or is about to remove the version.
    """
    route_map.localizable()
    content = MapContent(route_map, condition)
    info = route_map.info
    report = PushReport(content.version, of_places=len(content))
    state = store.state(info.name, content.version)
    if state == REMOVING:
        raise _removed(store, f"{info.name} version {content.version}")
    if state == WHOLE:
        report.new = False
        if not everything:
            return report
    room = place_room(info.fingerprint, info.descriptor_size)
    for name, size in ((MANIFEST_ROOM, 0), (PIECE_ROOM, 0), (room, info.descriptor_size)):
        store.make_room(name, size)
    foreign = store.engine.count(room, Where(other_model=info.fingerprint))
    if foreign:
        raise SaaneError(
            f"Room {room} of the fleet store {store.address} holds {foreign} places of another "
            f"model than {info.fingerprint}: remove the room and push its maps again."
        )
    rows = range(len(content))
    ids: list[tuple[str, str]] = []
    shown = progress(rows, f"push {info.name}", unit="place", delay_s=2.0)
    for batch in _batches((row, content.point(row), content.piece(row)) for row in shown):
        pieces = {id_of(piece): piece for _, _, piece in batch}
        report.bytes += store.send_pieces(
            {one: piece for one, piece in pieces.items() if one != EMPTY}, everything
        )
        points = {point.id: point for _, point, _ in batch}
        report.places += _send_places(store, room, points, content.version, everything)
        ids += [(point.id, id_of(piece)) for _, point, piece in batch]
    manifest, sent = _send_files(store, content, ids, everything)
    report.bytes += sent
    for name in (PIECE_ROOM, room):
        store.engine.settle(name)
    pending = {**manifest.payload(), STATE: PENDING}
    store.engine.insert(MANIFEST_ROOM, [Stored(manifest.id, pending)])
    _look_again(store, content, manifest, ids)
    # Of two vehicles that push one map the first is named; what is being removed is left alone.
    meant = Where(ids=(manifest.id,), state=PENDING)
    if everything:
        meant = Where(ids=(manifest.id,), other_states=(REMOVING,))
    store.engine.set_fields(MANIFEST_ROOM, meant, manifest.payload())
    if store.state(info.name, content.version) != WHOLE:
        raise _removed(store, manifest.title)
    store.engine.settle(MANIFEST_ROOM)
    return report


def _removed(store: FleetStore, title: str) -> SaaneError:
    return SaaneError(
        f"{title} is being removed from the fleet store {store.address}: wait for `saane fleet "
        "remove`, or give it again where it was cut off, and push then."
    )


def _look_again(
    store: FleetStore, content: MapContent, manifest: Manifest, ids: Sequence[tuple[str, str]]
) -> None:
    """Send what a removal took since it was looked at, or is about to take."""
    rows = {two: row for row, (_, two) in enumerate(ids) if two != EMPTY}
    names = list(rows)
    for start in range(0, len(names), BATCH_POINTS):
        for one in store.lost(names[start : start + BATCH_POINTS]):
            store.send_pieces({one: content.piece(rows[one])}, True)
    _send_files(store, content, ids, False)
    there = store.engine.count(manifest.room, Where(map=manifest.map, version=manifest.version))
    if there < len({one for one, _ in ids}):
        raise _removed(store, manifest.title)


def _send_files(
    store: FleetStore, content: MapContent, ids: Sequence[tuple[str, str]], everything: bool
) -> tuple[Manifest, int]:
    """The manifest, when all but it is there, and how many bytes were sent."""
    sent = 0

    def send(pieces: Iterable[bytes]) -> Pieces:
        nonlocal sent
        names, size = [], 0
        for piece in pieces:
            names.append(id_of(piece))
            size += len(piece)
            sent += store.send_pieces({names[-1]: piece}, everything)
        return Pieces(size, tuple(names))

    files = {name: send(content.file_pieces(name)) for name in content.file_names()}
    table = table_of(ids)
    cut = (table[at : at + PIECE_BYTES] for at in range(0, len(table), PIECE_BYTES))
    return content.manifest(files, send(cut)), sent


def _send_places(
    store: FleetStore, room: str, points: dict[str, Stored], version: str, everything: bool
) -> int:
    """Add places that are not there, and the version to all of them; gives how many were new."""
    new: set[str] = set()
    if everything:
        new = store.absent(room, list(points))
        _mend(store, room, points)
    first = {"versions": [version], "token": membership_token([version])}
    waiting = list(points)
    for _ in range(_TRIES):
        found = store.engine.get(room, waiting, ["versions"])
        waiting = [one for one in waiting if version not in _versions(found.get(one))]
        if not waiting:
            return len(new)
        absent = [one for one in waiting if one not in found]
        if absent:
            # Another vehicle may have added one since: then that one stays.
            given = [(points[one], {**points[one].payload, **first}) for one in absent]
            store.engine.insert(room, [Stored(one.id, told, one.vector) for one, told in given])
            new.update(absent)
        groups: dict[tuple[str, ...], list[str]] = {}
        for one in waiting:
            if one in found:
                groups.setdefault(tuple(_versions(found[one])), []).append(one)
        for versions, members in groups.items():
            # Another vehicle may have changed the list since: then these are no longer meant.
            meant = Where(ids=tuple(members), token=membership_token(list(versions)))
            now = sorted({*versions, version})
            fields = {"versions": now, "token": membership_token(now)}
            store.engine.set_fields(room, meant, fields)
    raise SaaneError(
        f"The fleet store {store.address} does not keep the places that it is sent (room {room}): "
        "give it room, and give the same command again."
    )


def _mend(store: FleetStore, room: str, points: dict[str, Stored]) -> None:
    """Write places anew, with the versions that they are known to be of."""
    known = store.engine.get(room, list(points), ["versions"])
    anew = []
    for one, point in points.items():
        versions = sorted(_versions(known.get(one)))
        fields = {"versions": versions, "token": membership_token(versions)}
        anew.append(Stored(one, {**point.payload, **fields}, point.vector))
    store.engine.replace(room, anew)


def _versions(point: Stored | None) -> list[str]:
    versions = [] if point is None else point.payload.get("versions", [])
    return [str(one) for one in versions] if isinstance(versions, list) else []


def _batches(
    rows: Iterable[tuple[int, Stored, bytes]],
) -> Iterator[Sequence[tuple[int, Stored, bytes]]]:
    """Places by as many as a call takes."""
    batch, size = [], 0
    for row in rows:
        batch.append(row)
        vector = row[1].vector
        size += len(row[2]) + (0 if vector is None else vector.nbytes)
        if size >= BATCH_BYTES or len(batch) >= BATCH_POINTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
