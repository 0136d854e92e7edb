"""A real HTTP server on this machine that can cut connections, redirect and refuse."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

COMMIT = "0123456789abcdef" * 2 + "01234567"


@dataclass
class FileServer:
    """files: path to content.  cuts: bytes after which each coming answer breaks off.

    ranges, tokens, paths: Range header, Authorization header and path of every request so far, the
    headers empty where there were none.
    redirects: path to the address that it sends to.  refused: path to a status and headers.
    pages: paths answered by a web page.
    """

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    refused: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    pages: set[str] = field(default_factory=set)
    etag: str = '"first"'

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def publish(self, name: str, files: dict[str, bytes], licence: str = "mit") -> None:
        """Serve a model in the hub's layout, at COMMIT and on main, and what its API tells."""
        siblings = []
        for file, content in files.items():
            for revision in (COMMIT, "main"):
                self.files[f"/{name}/resolve/{revision}/{file}"] = content
            one = {"rfilename": file, "size": len(content), "blobId": "0" * 40}
            if not file.endswith(".json"):
                sha256 = hashlib.sha256(content).hexdigest()
                one["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 130}
            siblings.append(one)
        told = {"id": name, "sha": COMMIT, "siblings": siblings, "cardData": {"license": licence}}
        for revision in (COMMIT, "main"):
            path = f"/api/models/{name}/revision/{revision}?blobs=true"
            self.files[path] = json.dumps(told).encode()


def _handler(server: FileServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            server.ranges.append(wanted)
            server.tokens.append(self.headers.get("Authorization", ""))
            server.paths.append(self.path)
            if self.path in server.redirects:
                self._answer(302, {"Location": server.redirects[self.path], "Content-Length": "0"})
                return
            if self.path in server.refused:
                status, headers = server.refused[self.path]
                self._answer(status, {**headers, "Content-Length": "0"})
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
            headers = {"ETag": server.etag, "Content-Length": str(len(content) - start)}
            if self.path in server.pages:
                headers["Content-Type"] = "text/html; charset=utf-8"
            self._answer(206 if start else 200, headers)
            end = start + server.cuts.pop(0) if server.cuts else len(content)
            self.wfile.write(content[start:end])

        def _answer(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


@contextmanager
def serving() -> Iterator[FileServer]:
    state = FileServer()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
