"""A real HTTP server on this machine that can cut connections, and an empty cache folder."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class FileServer:
    """files: path to content.  cuts: bytes after which each coming answer breaks off.

    ranges: the Range header of every request so far, empty where there was none.
    gated: paths that ask for an account.  pages: paths answered by a web page.
    """

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    gated: set[str] = field(default_factory=set)
    pages: set[str] = field(default_factory=set)
    etag: str = '"first"'

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


def _handler(server: FileServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            server.ranges.append(wanted)
            if self.path in server.gated:
                self.send_error(401)
                return
            if self.path not in server.files:
                self.send_error(404)
                return
            content = server.files[self.path]
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if self.headers.get("If-Range") not in (None, server.etag):
                start = 0
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("ETag", server.etag)
            if self.path in server.pages:
                self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = start + server.cuts.pop(0) if server.cuts else len(content)
            self.wfile.write(content[start:end])

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


@pytest.fixture
def file_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = FileServer()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder of weights, not yet there."""
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"
