"""Bags whose headers claim absurd sizes: no memory is taken for what is not there."""

from __future__ import annotations

import contextlib
import tracemalloc
from pathlib import Path

import pytest
from fuzz.bags import FRAMES, STORAGES, messages, read_all

from saane_ros.errors import SaaneError

MOST_TRACED = 64 << 20
"""Bytes of Python and numpy at once, for files of some ten kilobytes."""


@pytest.mark.parametrize("name", STORAGES)
def test_no_claimed_size_takes_memory(tmp_path: Path, name: str) -> None:
    """An absurd length at one place after the other of a file's start, where its headers are."""
    file, write = STORAGES[name]
    path = write(tmp_path / "one" / file, messages(tmp_path))
    assert read_all(path) == 2 * FRAMES
    whole = path.read_bytes()
    for at in range(12, 300, 12):
        for size in (4, 8):
            claimed = ((1 << 8 * size) - 2).to_bytes(size, "little")
            path.write_bytes(whole[:at] + claimed + whole[at + size :])
            tracemalloc.start()
            with contextlib.suppress(SaaneError):
                read_all(path)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < MOST_TRACED, f"{size} bytes at {at}"
