"""What the tests of nodes share; every test over DDS has a domain of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap

if TYPE_CHECKING:  # there may be no rclpy, and then all of these tests are skipped
    from ros_world import Peer


@pytest.fixture(autouse=True)
def _own_domain() -> None:
    pytest.importorskip("rclpy")
    from ros_world import use_own_domain

    use_own_domain()


@pytest.fixture(scope="module")
def route_map(tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    """A straight street of twelve scenes."""
    pytest.importorskip("rclpy")
    from ros_world import drive

    frames = drive([smooth_scene(seed) for seed in range(12)])
    path = tmp_path_factory.mktemp("map") / "street.routemap"
    return build_map(frames, ColourGridEmbedder(), path)


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Another node on the same domain, that talks and hears."""
    from ros_world import Peer, spinning

    with spinning(Peer) as node:
        yield node
