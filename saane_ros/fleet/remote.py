"""A server or cluster of Qdrant as an engine, over HTTP or gRPC.

A call that is not answered is made again after a while, which is safe, as every one of them has the
same effect twice. After the last try it is told in one sentence.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.fleet.engine import Stored, Where, filter_of
from saane_ros.reading import parsing, reason_of

KEY_VARIABLE = "QDRANT_API_KEY"
"""In the environment, as a command line is read by others."""
TIMEOUT_S = 30
WAITS_S = (0.5, 2.0, 8.0)
"""Before the second try, the third and the last."""
OLDEST = (1, 17)
"""Version of the server; older ones cannot insert without overwriting, by which two vehicles that
push at a time would lose places."""
_PAGE = 1000
_FULL = ("space", "disk", "memory", "quota", "full", "limit")
_T = TypeVar("_T")


class RemoteEngine:
    """A server at http://, https://, grpc:// or grpcs://host[:port]."""

    def __init__(self, address: str) -> None:
        with parsing(
            "A fleet store on a server needs qdrant-client", "pip install 'saane_ros[fleet]'"
        ):
            import qdrant_client
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._kit: Any = qdrant_client.models
        self._address = address
        with parsing(f"{address} is no address of a server", "give http://host:6333 or grpc://"):
            parts = urlsplit(address)
            scheme, port = parts.scheme, parts.port
        known = scheme in ("http", "https", "grpc", "grpcs")
        if (
            not known
            or not parts.hostname
            or parts.username
            or parts.path.strip("/")
            or parts.query
        ):
            raise SaaneError(f"{address} is no address of a server: give http://host:6333.")
        where: dict[str, Any] = {"port": port or 6333}
        if scheme.startswith("grpc"):
            where = {"grpc_port": port or 6334, "prefer_grpc": True}
        self._client: Any = qdrant_client.QdrantClient(
            host=parts.hostname,
            https=scheme in ("https", "grpcs"),
            api_key=os.environ.get(KEY_VARIABLE) or None,
            timeout=TIMEOUT_S,
            check_compatibility=False,
            **where,
        )
        self._sizes: dict[str, int] = {}
        version = str(self._call(self._client.info).version)
        numbers = version.split(".")[:2]
        if not all(n.isdigit() for n in numbers) or tuple(map(int, numbers)) < OLDEST:
            least = ".".join(map(str, OLDEST))
            raise SaaneError(
                f"The fleet store {address} runs version {version}, by which two vehicles that "
                f"push at a time lose places: run {least} or newer."
            )

    def rooms(self) -> dict[str, int]:
        names = [one.name for one in self._call(self._client.get_collections).collections]
        return {name: self._size(name) for name in names}

    def make_room(self, room: str, size: int, fields: Mapping[str, str]) -> None:
        kit, client = self._kit, self._client
        if not self._call(lambda: client.collection_exists(room)):
            vectors: Any = {}
            if size:
                vectors = kit.VectorParams(size=size, distance=kit.Distance.EUCLID, on_disk=True)
            self._unless_there(
                lambda: client.create_collection(room, vectors, on_disk_payload=True)
            )
        there = self._call(lambda: client.get_collection(room)).payload_schema
        for name in fields.keys() - there.keys():
            schema = kit.PayloadSchemaType(fields[name])
            self._call(partial(client.create_payload_index, room, name, schema))
        if self._size(room) != size:
            raise SaaneError(
                f"Room {room} of the fleet store {self._address} has vectors of "
                f"{self._size(room)} values, not {size} by Euclidean distance: name another store."
            )

    def insert(self, room: str, points: Sequence[Stored]) -> None:
        self._upsert(room, points, self._kit.UpdateMode.INSERT_ONLY)

    def replace(self, room: str, points: Sequence[Stored]) -> None:
        self._upsert(room, points, self._kit.UpdateMode.UPSERT)

    def get(
        self,
        room: str,
        ids: Sequence[str],
        fields: Sequence[str] | None = None,
        vectors: bool = False,
    ) -> dict[str, Stored]:
        wanted: Any = True if fields is None else list(fields) or False
        found = self._call(
            lambda: self._client.retrieve(room, list(ids), wanted, vectors, timeout=TIMEOUT_S)
        )
        return {one.id: one for one in map(_stored, found)}

    def set_fields(self, room: str, where: Where, fields: dict[str, Any]) -> None:
        chosen = self._kit.FilterSelector(filter=self._filter(where))
        strong = self._kit.WriteOrdering.STRONG
        self._call(
            lambda: self._client.set_payload(room, fields, chosen, wait=True, ordering=strong)
        )

    def delete(self, room: str, where: Where) -> None:
        chosen = self._kit.FilterSelector(filter=self._filter(where))
        strong = self._kit.WriteOrdering.STRONG
        self._call(lambda: self._client.delete(room, chosen, wait=True, ordering=strong))

    def scroll(self, room: str, where: Where) -> Iterator[Stored]:
        at: Any = None
        while True:
            ask = partial(self._client.scroll, room, self._filter(where), _PAGE)
            found, at = self._call(partial(ask, offset=at, with_payload=True))
            yield from map(_stored, found)
            if at is None:
                return

    def count(self, room: str, where: Where) -> int:
        asked = self._filter(where)
        return int(self._call(lambda: self._client.count(room, asked, exact=True)).count)

    def nearest(self, room: str, query: NDArray[np.float32], k: int, where: Where) -> list[Stored]:
        found = self._call(
            lambda: self._client.query_points(
                room,
                query.tolist(),
                query_filter=self._filter(where),
                limit=k,
                with_payload=["versions"],
            )
        )
        return [_stored(one) for one in found.points]

    def settle(self, room: str) -> None:
        """A server does it by itself."""

    def close(self) -> None:
        self._client.close()

    def _upsert(self, room: str, points: Sequence[Stored], mode: Any) -> None:
        kit = self._kit
        rows = [
            kit.PointStruct(
                id=one.id,
                vector={} if one.vector is None else one.vector.tolist(),
                payload=one.payload,
            )
            for one in points
        ]
        strong = kit.WriteOrdering.STRONG
        self._call(
            lambda: self._client.upsert(room, rows, wait=True, ordering=strong, update_mode=mode)
        )

    def _size(self, room: str) -> int:
        """Values of the vectors of a room; 0 without, -1 of vectors that are none of ours."""
        if room not in self._sizes:
            vectors = self._call(lambda: self._client.get_collection(room)).config.params.vectors
            size = 0 if not vectors else -1
            if isinstance(vectors, self._kit.VectorParams):
                euclid = vectors.distance == self._kit.Distance.EUCLID
                size = int(vectors.size) if euclid else -1
            self._sizes[room] = size
        return self._sizes[room]

    def _filter(self, where: Where) -> Any:
        kit = self._kit

        def has_id(ids: list[str]) -> Any:
            return kit.HasIdCondition(has_id=ids)

        def lacks(field: str) -> Any:
            return kit.IsEmptyCondition(is_empty=kit.PayloadField(key=field))

        return filter_of(where, kit, kit.Range, has_id, lacks)

    def _unless_there(self, make: Callable[[], object]) -> None:
        """Two vehicles may make one room at a time."""
        try:
            self._call(make)
        except SaaneError as error:
            if "already exists" not in str(error):
                raise

    def _call(self, ask: Callable[[], _T]) -> _T:
        """Ask, and ask again where the server is slow, away, or breaks off."""
        for wait in (*WAITS_S, None):
            try:
                return ask()
            except Exception as error:  # of httpx, gRPC, pydantic and the client itself
                status, why = _status(error)
                if status is not None and 400 <= status < 500 and status not in (408, 429):
                    raise self._refused(status, why) from error
                if wait is None:
                    raise self._silent(status, why) from error
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _refused(self, status: int, why: str) -> SaaneError:
        if status in (401, 403):
            return SaaneError(
                f"The fleet store {self._address} lets nobody in without its key: set "
                f"{KEY_VARIABLE} to one that may do this."
            )
        return SaaneError(
            f"The fleet store {self._address} refuses this ({status}: {why}): check its address, "
            "and that its collections were made by this command."
        )

    def _silent(self, status: int | None, why: str) -> SaaneError:
        kept = "what was sent is kept, and the same command goes on from there"
        if status == 507 or (status and any(word in why.lower() for word in _FULL)):
            return SaaneError(
                f"The fleet store {self._address} is full ({why}): give it room; {kept}."
            )
        return SaaneError(
            f"The fleet store {self._address} gave no whole answer in {len(WAITS_S) + 1} tries "
            f"({why}): check that it runs and the network; {kept}."
        )


def _status(error: Exception) -> tuple[int | None, str]:
    """HTTP status of an answer, None where there was none, and what it says."""
    status = getattr(error, "status_code", None)
    content = getattr(error, "content", b"")
    if isinstance(status, int):
        return status, reason_of(ValueError(bytes(content).decode(errors="replace")))
    code = getattr(error, "code", None)
    if callable(code):  # of gRPC
        name, details = getattr(code(), "name", ""), str(getattr(error, "details", str)())
        return _OF_GRPC.get(name), reason_of(ValueError(f"{name}: {details}"))
    source = getattr(error, "source", error)
    if isinstance(source, (ValueError, TypeError)) and not hasattr(error, "source"):
        return 400, reason_of(source)
    return None, reason_of(source)


_OF_GRPC = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "UNIMPLEMENTED": 404,
    "RESOURCE_EXHAUSTED": 507,
    "INTERNAL": 500,
}
"""What they would be in HTTP."""


def _stored(found: Any) -> Stored:
    vector = getattr(found, "vector", None)
    row = np.array(vector, np.float32) if isinstance(vector, list) else None
    return Stored(str(found.id), found.payload or {}, row)
