"""One small traverse in the official layout for all tests of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from robotcar_world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    from robotcar_world import write_sdk, write_world

    root = tmp_path_factory.mktemp("robotcar")
    write_sdk(root)
    return write_world(root / "2014-12-09-13-21-02")
