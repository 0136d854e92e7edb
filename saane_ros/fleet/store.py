"""The maps of a fleet in an engine: versions, their pieces and their places.

The folder of a map stays the truth. What is here can be made anew by pushing the folders again, and
everything that is read is compared with the digest that it is named by.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from saane_ros.errors import SaaneError
from saane_ros.fleet.edge import EdgeEngine
from saane_ros.fleet.engine import (
    MANIFEST_FIELDS,
    PIECE_FIELDS,
    PLACE_FIELDS,
    STATE,
    Box,
    Engine,
    Stored,
    Where,
)
from saane_ros.fleet.manifest import (
    MANIFEST_ROOM,
    PENDING,
    PIECE_ROOM,
    REMOVING,
    WHOLE,
    Manifest,
    Pieces,
    id_of,
    manifest_id,
    place_id,
    read_manifest,
)
from saane_ros.fleet.remote import RemoteEngine

BATCH_BYTES = 4 << 20
"""Of a call, about: a server takes 32 MiB, of which text makes half."""
BATCH_POINTS = 256
ADDRESS_VARIABLE = "SAANE_FLEET"


class LackingError(SaaneError):
    """What a version needs is not there, or no longer."""


class FleetStore:
    """The maps of a fleet in the engine at an address; get one by `open_store`."""

    def __init__(self, address: str, engine: Engine) -> None:
        self.address, self.engine = address, engine
        self._rooms = engine.rooms()

    def manifests(
        self, name: str = "", faults: list[str] | None = None, touching: Box | None = None
    ) -> list[Manifest]:
        """All versions of all maps, or of one; by name, then as they were pushed.

        touching: leave out most of those on earth that lie elsewhere. Raises SaaneError for one
        that is damaged, or adds its sentence to `faults`.
        """
        where = Where(map=name, other_states=(PENDING, REMOVING), touching=touching)
        return self.meant(where, faults)

    def meant(self, where: Where, faults: list[str] | None = None) -> list[Manifest]:
        """The same of those that are meant, in whatever state."""
        if MANIFEST_ROOM not in self._rooms:
            return []
        read = []
        for one in self.engine.scroll(MANIFEST_ROOM, where):
            try:
                read.append(read_manifest(one.payload, self._where))
            except SaaneError as error:
                if faults is None:
                    raise
                faults.append(str(error))
        return sorted(read, key=lambda one: (one.map, one.pushed, one.version))

    def manifest(self, name: str, version: str = "") -> Manifest:
        """A version of a map, by the beginning of its name, the newest for an empty one."""
        return self.chosen(name, self.manifests(name), version)

    def chosen(self, name: str, versions: list[Manifest], version: str) -> Manifest:
        """The same, of the versions of a map that are given."""
        if not versions:
            names = sorted({one.map for one in self.manifests()})
            there = f"there are {', '.join(names[:8])}" if names else "it holds no map"
            raise SaaneError(f"{self._where} has no map {name}: {there}.")
        meant = [one for one in versions if one.version.startswith(version)]
        if not meant or (version and len(meant) > 1):
            told = ", ".join(one.version for one in versions[-8:])
            raise SaaneError(
                f"{self._where} has {len(meant) or 'no'} versions {version} of map {name}: give "
                f"one of {told}."
            )
        return meant[-1]

    def state(self, name: str, version: str) -> str:
        """Of a version of a map; empty where it is not there."""
        one = manifest_id(name, version)
        if MANIFEST_ROOM not in self._rooms:
            return ""
        found = self.engine.get(MANIFEST_ROOM, [one], [STATE])
        return str(found[one].payload.get(STATE) or WHOLE) if one in found else ""

    def make_room(self, room: str, size: int) -> None:
        fields: Mapping[str, str] = PLACE_FIELDS
        if not size:
            fields = MANIFEST_FIELDS if room == MANIFEST_ROOM else PIECE_FIELDS
        self.engine.make_room(room, size, fields)
        self._rooms[room] = size

    @contextmanager
    def reading(self, manifest: Manifest) -> Iterator[None]:
        """Around what reads a version, which another command may remove meanwhile."""
        try:
            yield
        except LackingError as error:
            if self.state(manifest.map, manifest.version) == WHOLE:
                raise
            raise SaaneError(
                f"{manifest.title} was removed from the fleet store {self.address} while it was "
                "read: take another version; what is on this disk goes on."
            ) from error

    def absent(self, room: str, ids: Sequence[str]) -> set[str]:
        """Which of these are not there."""
        return set(ids) - self.engine.get(room, ids, []).keys()

    def send_pieces(self, pieces: dict[str, bytes], everything: bool) -> int:
        """Add pieces that are not there yet, or all; gives how many bytes were sent."""
        new = list(pieces) if everything else self.lost(list(pieces))
        points = [
            Stored(one, {"data": base64.b64encode(pieces[one]).decode("ascii")}) for one in new
        ]
        if points:
            self.engine.replace(PIECE_ROOM, points)
        return sum(len(pieces[one]) for one in new)

    def lost(self, pieces: list[str]) -> list[str]:
        """Those that are not there, or that a removal is about to take: what is sent stays."""
        lost = self.absent(PIECE_ROOM, pieces)
        going = Where(ids=tuple(pieces), state=REMOVING)
        if pieces and self.engine.count(PIECE_ROOM, going):
            lost |= {one.id for one in self.engine.scroll(PIECE_ROOM, going)}
        return sorted(lost)

    def pieces(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The pieces of these names; SaaneError where one is missing or is another."""
        found = self.engine.get(PIECE_ROOM, ids)
        content = {}
        for one in ids:
            data = found[one].payload.get("data") if one in found else None
            if data is None:
                raise self.lacking(one)
            try:
                content[one] = base64.b64decode(str(data), validate=True)
            except (binascii.Error, ValueError):
                raise self.damaged(one) from None
            if id_of(content[one]) != one:
                raise self.damaged(one)
        return content

    def places(self, room: str, ids: Sequence[str]) -> dict[str, Stored]:
        """Places with their vectors (D,); SaaneError where one is missing or is another."""
        found = self.engine.get(room, ids, ["versions", "place"], vectors=True)
        for one in ids:
            if one not in found:
                raise self.lacking(one)
            vector = found[one].vector
            text = str(found[one].payload.get("place", ""))
            if vector is None or place_id(text, vector) != one:
                raise self.damaged(one)
        return found

    def read(self, pieces: Pieces) -> Iterator[bytes]:
        """The content of a file, piece by piece."""
        size = 0
        for start in range(0, len(pieces.ids), 4):
            ids = pieces.ids[start : start + 4]
            found = self.pieces(list(dict.fromkeys(ids)))
            for one in ids:
                size += len(found[one])
                yield found[one]
        if size != pieces.size:
            raise self.damaged(pieces.ids[0] if pieces.ids else "of a file")

    def lacking(self, one: str) -> SaaneError:
        return LackingError(
            f"{self._where} lacks piece {one} of a map that it lists: push the folder of the map "
            "again with --everything."
        )

    def damaged(self, one: str) -> SaaneError:
        return SaaneError(
            f"{self._where} holds piece {one} with another content than was pushed: push the "
            "folder of the map again with --everything."
        )

    @property
    def _where(self) -> str:
        return f"The fleet store {self.address}"


@contextmanager
def open_store(address: str, make: bool = False) -> Iterator[FleetStore]:
    """The store at http://, https://, grpc:// or grpcs://, or in a folder.

    make: a folder where there is none. Raises SaaneError.
    """
    if not address.strip():
        raise SaaneError(
            f"No fleet store is named: give --store or set {ADDRESS_VARIABLE}, to http://host:6333 "
            "or a folder."
        )
    remote = "://" in address
    folder = Path(address).expanduser()
    engine: Engine = RemoteEngine(address) if remote else EdgeEngine(folder, make)
    try:
        yield FleetStore(address, engine)
    finally:
        engine.close()
