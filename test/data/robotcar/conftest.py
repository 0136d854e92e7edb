"""One small traverse in the official layout for all tests of a file."""

from __future__ import annotations

import pytest
from robotcar_world import World, write_sdk, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("robotcar")
    write_sdk(root)
    return write_world(root / "2014-12-09-13-21-02")
