"""Downloads that resume where they stopped and keep their name only when verified."""

from __future__ import annotations

import fcntl
import http.client
import os
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from saane_ros.errors import SaaneError
from saane_ros.progress import byte_progress
from saane_ros.weights.hub import open_url, refusal

BLOCK = 1 << 16
ATTEMPTS = 4
ADVICE = {
    **dict.fromkeys((401, 403), "it asks for an account or for its terms to be accepted there"),
    **dict.fromkeys((404, 410), "the file was moved or taken away"),
}
"""What an answer means for a person who wants a file of weights."""


class DownloadError(Exception):
    """Why a download failed, in a few words; what was received stays for the next try.

    remedy: what a person can do about it, where the server tells; else empty.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy


def download(url: str, target: Path, check: Callable[[Path], str | None]) -> None:
    """Fetch `url` to `target`, going on with an earlier part.

    check: given the complete file, says what is wrong with it or None.  Processes that want the
    same file wait for one another.  Raises DownloadError where the network or the server fails
    and SaaneError where the content is wrong; a wrong file is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.with_name(f".{target.name}.lock")):
        if target.exists():
            return
        part = target.with_name(f"{target.name}.part")
        _fetch_all(url, part, target.name)
        problem = check(part)
        if problem:
            _forget(part)
            raise SaaneError(
                f"The download of {target.name} from {url} {problem}: try again; if that does not "
                "help, the file at its source was replaced and the card needs the new sha256."
            )
        os.replace(part, target)
        _forget(part)


def _fetch_all(url: str, part: Path, name: str) -> None:
    """Ask again for the rest as long as each try brings bytes, at most ATTEMPTS fruitless times."""
    fruitless = 0
    while True:
        before = _size(part)
        try:
            if _fetch_rest(url, part, name):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and before:
                _forget(part)
                continue
            told = f"the server answered {error.code} {error.reason}"
            remedy = refusal(url, error)
            if not remedy and error.code in ADVICE:
                told = f"{told}: {ADVICE[error.code]}"
            raise DownloadError(told, remedy) from error
        except urllib.error.URLError as error:
            raise DownloadError(str(getattr(error.reason, "strerror", None) or error.reason)) from (
                error
            )
        except (OSError, http.client.HTTPException, ValueError) as error:
            # The last of an answer that makes no sense, such as a redirect to no address.
            reason = str(error) or type(error).__name__
        fruitless = 0 if _size(part) > before else fruitless + 1
        if fruitless == ATTEMPTS:
            raise DownloadError(reason)


def _fetch_rest(url: str, part: Path, name: str) -> bool:
    """Append what is missing; True where the file is complete.

    If-Range makes the server start anew where its file changed since the first part.
    """
    validator = _validator_file(part)
    have = _size(part)
    headers = {}
    if have and validator.exists():
        version = validator.read_text(encoding="utf-8")
        headers = {"Range": f"bytes={have}-", "If-Range": version}
    with open_url(url, headers) as response:
        if response.headers.get_content_type() == "text/html":
            raise DownloadError("the server sent a web page instead of it: open it in a browser")
        resumed = response.status == http.client.PARTIAL_CONTENT
        start = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        if not resumed:
            _remember_version(response.headers, validator)
        with part.open("ab" if resumed else "wb") as stream:
            _copy(response, stream.write, name, start, total)
    return total is None or _size(part) == total


def _copy(
    response: http.client.HTTPResponse,
    write: Callable[[bytes], int],
    name: str,
    start: int,
    total: int | None,
) -> None:
    with byte_progress(name, total, start) as bar:
        for block in iter(lambda: response.read(BLOCK), b""):
            write(block)
            bar.update(len(block))


def _remember_version(headers: http.client.HTTPMessage, validator: Path) -> None:
    """Keep what identifies the server's file: a strong ETag, else its date."""
    etag = headers.get("ETag", "")
    version = etag if etag.startswith('"') else headers.get("Last-Modified", "")
    if version:
        validator.write_text(version, encoding="utf-8")
    else:
        validator.unlink(missing_ok=True)


def _validator_file(part: Path) -> Path:
    return part.with_name(f".{part.name}.version")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
