"""`saane fleet push`: a map into the fleet store, no more of it than is not there yet.

The manifest comes last, so a push that is cut off shows nothing and goes on where it was. Pieces
and places are named by their content: two vehicles that push one map send the same, and of
different maps of one name each becomes a version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from saane_ros.errors import SaaneError
from saane_ros.fleet.content import EMPTY, PIECE_BYTES, MapContent, table_of
from saane_ros.fleet.engine import Stored, Where
from saane_ros.fleet.manifest import (
    MANIFEST_ROOM,
    PIECE_ROOM,
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
    a map of an older format, and where the store does not answer, is full or holds another model's
    places.
    """
    route_map.localizable()
    content = MapContent(route_map, condition)
    info = route_map.info
    report = PushReport(content.version, of_places=len(content))
    if store.has(info.name, content.version):
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
    files = {}
    for name in content.file_names():
        files[name] = _send_file(store, content.file_pieces(name), everything, report)
    table = table_of(ids)
    cut = (table[at : at + PIECE_BYTES] for at in range(0, len(table), PIECE_BYTES))
    manifest = content.manifest(files, _send_file(store, cut, everything, report))
    for name in (PIECE_ROOM, room):
        store.engine.settle(name)
    _publish(store, manifest, everything)
    return report


def _publish(store: FleetStore, manifest: Manifest, everything: bool) -> None:
    write = store.engine.replace if everything else store.engine.insert
    write(MANIFEST_ROOM, [Stored(manifest.id, manifest.payload())])
    store.engine.settle(MANIFEST_ROOM)


def _send_file(
    store: FleetStore, pieces: Iterable[bytes], everything: bool, report: PushReport
) -> Pieces:
    ids, size = [], 0
    for piece in pieces:
        ids.append(id_of(piece))
        size += len(piece)
        report.bytes += store.send_pieces({ids[-1]: piece}, everything)
    return Pieces(size, tuple(ids))


def _send_places(
    store: FleetStore, room: str, points: dict[str, Stored], version: str, everything: bool
) -> int:
    """Add places that are not there, and the version to all of them; gives how many were new."""
    absent = store.absent(room, list(points))
    if everything:
        _mend(store, room, points)
    elif absent:
        store.engine.insert(room, [points[one] for one in sorted(absent)])
    waiting = list(points)
    for _ in range(_TRIES):
        found = store.engine.get(room, waiting, ["versions"])
        waiting = [one for one in waiting if version not in _versions(found.get(one))]
        if not waiting:
            return len(absent)
        groups: dict[tuple[str, ...], list[str]] = {}
        for one in waiting:
            groups.setdefault(tuple(_versions(found.get(one))), []).append(one)
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
