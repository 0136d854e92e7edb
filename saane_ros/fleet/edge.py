"""The embedded edition: an engine in this process whose rooms are folders of one folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.files import lock_folder, replacing_file, telling_full_disk
from saane_ros.fleet.engine import Stored, Where, filter_of
from saane_ros.reading import parsing, reason_of

ROOMS_FILE = "fleet.json"
"""In the folder: the format, and the rooms with their sizes."""
FORMAT = 1
_PAGE = 1000
_NO_VECTORS = "none"
"""A room needs a kind of vectors, of which its points then have none."""


class EdgeEngine:
    """An engine in a folder, which one process has at a time.

    make: the folder where there is none. Raises SaaneError.
    """

    def __init__(self, folder: Path, make: bool) -> None:
        with parsing(
            "A fleet store in a folder needs qdrant-edge", "pip install 'saane_ros[fleet]'"
        ):
            import qdrant_edge
        self._kit: Any = qdrant_edge
        self._folder = folder
        if not make and not folder.is_dir():
            raise SaaneError(f"There is no fleet store {folder}: push a map, or name another.")
        if folder.is_dir() and any(folder.iterdir()) and not (folder / ROOMS_FILE).is_file():
            raise SaaneError(f"{folder} is a folder of other things: name another for the store.")
        self._lock: int | None = lock_folder(folder, f"command is using the fleet store {folder}")
        self._shards: dict[str, Any] = {}
        try:
            self._rooms = self._read_rooms()
        except BaseException:
            self.close()
            raise

    def rooms(self) -> dict[str, int]:
        return dict(self._rooms)

    def make_room(self, room: str, size: int, fields: Mapping[str, str]) -> None:
        if self._rooms.setdefault(room, size) != size:
            raise SaaneError(
                f"Room {room} of the fleet store {self._folder} has vectors of "
                f"{self._rooms[room]} values, not {size}: name another store."
            )
        kit = self._kit
        if (self._folder / room).is_dir():
            with self._telling(room):
                self._index(self._shard(room), fields)
            return
        vectors: dict[str, Any] = {"sparse_vectors": {_NO_VECTORS: kit.EdgeSparseVectorParams()}}
        if size:
            vectors = {"vectors": kit.EdgeVectorParams(size=size, distance=kit.Distance.Euclid)}
        making = self._folder / f".{room}.new"
        with self._telling(room):
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            shard = kit.EdgeShard.create(str(making), kit.EdgeConfig(**vectors))
            self._index(shard, fields)
            shard.close()
            with replacing_file(self._folder / ROOMS_FILE) as part:
                part.write_text(json.dumps({"format": FORMAT, "rooms": self._rooms}))
            os.rename(making, self._folder / room)

    def _index(self, shard: Any, fields: Mapping[str, str]) -> None:
        there = shard.info().payload_schema
        for name in fields.keys() - there.keys():
            schema = getattr(self._kit.PayloadSchemaType, fields[name].capitalize())
            shard.update(self._kit.UpdateOperation.create_field_index(name, schema))
        shard.flush()

    def insert(self, room: str, points: Sequence[Stored]) -> None:
        self._upsert(room, points, self._kit.UpdateMode.InsertOnly)

    def replace(self, room: str, points: Sequence[Stored]) -> None:
        self._upsert(room, points, self._kit.UpdateMode.Upsert)

    def get(
        self,
        room: str,
        ids: Sequence[str],
        fields: Sequence[str] | None = None,
        vectors: bool = False,
    ) -> dict[str, Stored]:
        wanted = True if fields is None else list(fields) or False
        with self._telling(room):
            found = self._shard(room).retrieve(list(ids), wanted, vectors)
        return {one.id: one for one in map(_stored, found)}

    def set_fields(self, room: str, where: Where, fields: dict[str, Any]) -> None:
        setting = self._kit.UpdateOperation.set_payload_by_filter
        with self._telling(room):
            self._shard(room).update(setting(self._filter(where), fields))

    def delete(self, room: str, where: Where) -> None:
        deleting = self._kit.UpdateOperation.delete_points_by_filter
        with self._telling(room):
            self._shard(room).update(deleting(self._filter(where)))

    def scroll(self, room: str, where: Where) -> Iterator[Stored]:
        at = None
        while True:
            request = self._kit.ScrollRequest(
                offset=at, limit=_PAGE, filter=self._filter(where), with_payload=True
            )
            with self._telling(room):
                found, at = self._shard(room).scroll(request)
            yield from map(_stored, found)
            if at is None:
                return

    def count(self, room: str, where: Where) -> int:
        with self._telling(room):
            request = self._kit.CountRequest(exact=True, filter=self._filter(where))
            return int(self._shard(room).count(request))

    def nearest(self, room: str, query: NDArray[np.float32], k: int, where: Where) -> list[Stored]:
        request = self._kit.QueryRequest(
            limit=k,
            query=self._kit.Query.Nearest(query.tolist()),
            filter=self._filter(where),
            with_payload=["versions"],
        )
        with self._telling(room):
            return [_stored(one) for one in self._shard(room).query(request)]

    def settle(self, room: str) -> None:
        with self._telling(room):
            self._shard(room).flush()
            self._shard(room).optimize()

    def close(self) -> None:
        for shard in self._shards.values():
            shard.close()
        self._shards = {}
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _upsert(self, room: str, points: Sequence[Stored], mode: Any) -> None:
        kit = self._kit
        rows = [
            kit.Point(one.id, {} if one.vector is None else one.vector.tolist(), one.payload)
            for one in points
        ]
        with self._telling(room):
            self._shard(room).update(kit.UpdateOperation.upsert_points(rows, None, mode))

    def _shard(self, room: str) -> Any:
        if room not in self._shards:
            if room not in self._rooms:
                raise SaaneError(f"The fleet store {self._folder} has no room {room}: push first.")
            self._shards[room] = self._kit.EdgeShard.load(str(self._folder / room))
        return self._shards[room]

    def _filter(self, where: Where) -> Any:
        kit = self._kit

        def has_id(ids: list[str]) -> Any:
            return kit.HasIdCondition(set(ids))

        return filter_of(where, kit, kit.RangeFloat, has_id, kit.IsEmptyCondition)

    def _read_rooms(self) -> dict[str, int]:
        path = self._folder / ROOMS_FILE
        if not path.exists():
            return {}
        with parsing(f"{path} does not tell what the fleet store holds", "push its maps anew"):
            values = json.loads(path.read_text(encoding="utf-8"))
            version, rooms = values["format"], {str(k): int(v) for k, v in values["rooms"].items()}
        if version != FORMAT:
            raise SaaneError(
                f"The fleet store {self._folder} has format {version} and this version reads "
                f"{FORMAT}: push its maps into another."
            )
        # A room that was not finished when its maker was killed is made anew.
        return {room: size for room, size in rooms.items() if (self._folder / room).is_dir()}

    @contextmanager
    def _telling(self, room: str) -> Iterator[None]:
        """Around the engine, which raises what it likes."""
        with telling_full_disk(self._folder / room):
            try:
                yield
            except (SaaneError, OSError):
                raise
            except Exception as error:
                raise SaaneError(
                    f"The fleet store {self._folder} fails in {room} ({reason_of(error)}): free "
                    "some space, or push its maps into another folder."
                ) from error


def _stored(found: Any) -> Stored:
    vector = getattr(found, "vector", None)
    row = np.array(vector, np.float32) if isinstance(vector, list) else None
    return Stored(str(found.id), found.payload or {}, row)
