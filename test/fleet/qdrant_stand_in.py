"""A small server that answers the calls of Qdrant's HTTP interface which the fleet makes.

Its collections are those of the client library's own in-memory mode. It can be told to fail: what a
server that is slow, away, full or broken off does to whoever speaks to it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
from qdrant_client import QdrantClient, models

Fault = Callable[[str, str, int], str]
"""From method, path and the number of the call to what goes wrong: `away`, `half`, `full`,
`busy`, `slow`, `fewer`, `changed`, `closed`; empty where nothing does."""
SLOW_S = 3.0
_REFUSED = {
    "full": (500, "Service internal error: No space left"),
    "no storage": (507, "Insufficient Storage"),
    "busy": (503, "Service Unavailable"),
    "closed": (403, "Forbidden: key"),
}


class StandIn(ThreadingHTTPServer):
    """The server; `calls` are those that it got."""

    daemon_threads = True
    version = "1.20.0"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.engine = QdrantClient(":memory:")
        self.lock = threading.RLock()
        self.fault: Fault = lambda *_: ""
        self.calls: list[tuple[str, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """A client that gave up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        with self.server.lock:
            self.server.calls.append((self.command, path))
            number = len(self.server.calls)
        fault = self.server.fault(self.command, path, number)
        if fault == "away":
            self.close_connection = True
            self.connection.close()
            return
        if fault == "slow":
            time.sleep(SLOW_S)
        status, content = 200, b""
        if fault in _REFUSED:
            status, why = _REFUSED[fault]
            told = {"status": {"error": why}}
        else:
            try:
                with self.server.lock:
                    result = self._result(path, body)
                if fault == "fewer":
                    result = result[::2]
                if fault == "changed":
                    result = _changed(result)
                told = {"result": result, "status": "ok", "time": 0.0}
            except ValueError as error:
                status = 404 if "not found" in str(error) else 409
                told = {"status": {"error": str(error)}}
        if path == "/":
            told = {"title": "qdrant", "version": self.server.version}
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if fault == "half" else content)
        if fault == "half":
            self.close_connection = True

    def _result(self, path: str, body: dict[str, Any]) -> Any:
        engine, parts = self.server.engine, path.strip("/").split("/")
        if parts == ["collections"]:
            return _plain(engine.get_collections())
        if parts == [""]:
            return None
        room, call = parts[1], (self.command, *parts[2:])
        if call == ("GET", "exists"):
            return {"exists": engine.collection_exists(room)}
        if call == ("PUT",):
            made = models.CreateCollection(**body)
            return engine.create_collection(room, made.vectors)
        if call == ("PUT", "index"):
            return {"operation_id": 0, "status": "completed"}
        if call == ("GET",):
            return _plain(engine.get_collection(room))
        if call == ("PUT", "points"):
            return self._upsert(room, body)
        if call == ("POST", "points"):
            asked = models.PointRequest(**body)
            vectors = bool(asked.with_vector)
            return _plain(engine.retrieve(room, asked.ids, asked.with_payload, vectors))
        if call == ("POST", "points", "payload"):
            assert "wait" in parse_qs(urlsplit(self.path).query)
            asked = models.SetPayload(**body)
            engine.set_payload(room, asked.payload, models.FilterSelector(filter=asked.filter))
            return {"operation_id": 0, "status": "completed"}
        if call == ("POST", "points", "delete"):
            meant = models.FilterSelector(**body)
            engine.delete(room, meant)
            return {"operation_id": 0, "status": "completed"}
        if call == ("POST", "points", "scroll"):
            asked = models.ScrollRequest(**body)
            found, at = engine.scroll(
                room, asked.filter, limit=asked.limit, offset=asked.offset, with_payload=True
            )
            return {"points": _plain(found), "next_page_offset": at}
        if call == ("POST", "points", "count"):
            return _plain(engine.count(room, models.CountRequest(**body).filter))
        if call == ("POST", "points", "query"):
            asked = models.QueryRequest(**body)
            found = engine.query_points(
                room, asked.query, query_filter=asked.filter, limit=asked.limit
            )
            return _plain(found)
        raise ValueError(f"{call} is not found here")

    def _upsert(self, room: str, body: dict[str, Any]) -> Any:
        engine = self.server.engine
        points = [models.PointStruct(**one) for one in body["points"]]
        if body.get("update_mode") == "insert_only":
            there = {one.id for one in engine.retrieve(room, [one.id for one in points])}
            points = [one for one in points if one.id not in there]
        if points:
            engine.upsert(room, points)
        return {"operation_id": 0, "status": "completed"}


def _plain(found: Any) -> Any:
    if isinstance(found, list):
        return [one.model_dump(mode="json") for one in found]
    return found.model_dump(mode="json")


def _changed(points: Any) -> Any:
    """The same points, with another content in each."""
    for one in points:
        if one["vector"]:
            one["vector"][0] += 1.0
        if "data" in (one["payload"] or {}):
            one["payload"]["data"] = "QUFB"
    return points


@contextmanager
def running() -> Iterator[StandIn]:
    """The server, while the block runs."""
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
