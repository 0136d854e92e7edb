"""The live part: localizer and image player as processes over DDS, and who listens to them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from saane_ros.demo.domain import free_domain_id
from saane_ros.demo.processes import Child, Children
from saane_ros.demo.scene import CAMERA_TOPIC, Recording
from saane_ros.progress import progress
from saane_ros.ros.listening.published import Replay
from saane_ros.ros.shared.fast_dds import profile_environment

if TYPE_CHECKING:
    from saane_ros.ros.listening.collector import Collector

LOCALIZER = "saane_ros.ros.localizer.node"
PLAYER = "saane_ros.ros.image_player.node"
_START_S = 180.0
_SETTLE_S = 60.0
_TICK_S = 0.05
_PICTURES_KEPT = 600


def replay(settings: Mapping[str, object], recording: Recording, logs: Path) -> Replay:
    """Run the localizer with these ROS parameters while the camera plays all of a recording.

    Both run in a private DDS domain on this machine. Raises SaaneError, with the log's last line,
    where one of them fails, and ends both whatever happens.
    """
    domain = free_domain_id()
    env = {
        **profile_environment(),
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    os.environ.update(env)  # the collector's participant reads them too
    from saane_ros.ros.listening.collector import (
        Collector,  # rclpy reads the environment when it is loaded
    )

    with (
        Collector(
            domain, CAMERA_TOPIC, keep_every=-(-recording.count // _PICTURES_KEPT)
        ) as collector,
        Children(logs, env) as children,
    ):
        print("starting the localizer node", file=sys.stderr)
        remapped = ["-r", f"image:={CAMERA_TOPIC}"]
        node = children.start("localizer", LOCALIZER, [*ros_arguments(settings), *remapped])
        decided = _wait(
            lambda: collector.active.is_set() or collector.failed, _START_S, children, collector
        )
        if collector.failed:
            raise node.failure("could not start")
        if not decided:
            raise node.failure(f"was not ready within {_START_S:.0f} s")
        listeners = 2  # the localizer and the collector
        played = ros_arguments(recording.camera(listeners))
        camera = children.start("image player", PLAYER, played)
        for _ in progress(
            _arrivals(collector, children, camera), "replay", recording.count, "frame"
        ):
            pass
        collector.unsettle()
        if not collector.images:
            raise camera.failure("ended without an image")
        if not _wait(lambda: collector.settled, _SETTLE_S, children, collector):
            raise node.failure("did not come to rest after the last image")
        return Replay(
            images=list(collector.images),
            matches=dict(collector.matches),
            candidates=dict(collector.candidates),
            pictures=dict(collector.pictures),
            counts=dict(collector.counts),
        )


def ros_arguments(parameters: Mapping[str, object]) -> list[str]:
    """Parameters as a node takes them on its command line; text is quoted, as YAML reads it."""
    arguments = ["--ros-args"]
    for key, value in parameters.items():
        arguments += ["-p", f"{key}:={json.dumps(value)}"]
    return arguments


def _arrivals(collector: Collector, children: Children, player: Child) -> Iterator[int]:
    """The number of every image, as it arrives, until the player has ended."""
    told = 0
    while True:
        running = player.running
        children.check()
        collector.check()
        while told < len(collector.images):
            yield told
            told += 1
        if not running:
            return
        time.sleep(_TICK_S)


def _wait(
    happened: Callable[[], bool], seconds: float, children: Children, collector: Collector
) -> bool:
    """Wait until something happened; False where it took too long."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            return False
        children.check()
        collector.check()
        time.sleep(_TICK_S)
    return True
