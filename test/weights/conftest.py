"""A server of weight files, and an empty cache folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from file_servers import FileServer, serving


@pytest.fixture
def file_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder of weights, not yet there."""
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"
