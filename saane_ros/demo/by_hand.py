"""The commands by which a person repeats what the demo did."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from saane_ros.demo.replay import LOCALIZER, PLAYER
from saane_ros.demo.scene import CAMERA_TOPIC, Scene


def commands_by_hand(scene: Scene, model: str, map_path: Path) -> str:
    """Shell commands, to be typed from the folder in which the demo ran."""
    localizer = _node(LOCALIZER, {"model": model, "map": map_path})
    player = _node(PLAYER, scene.query.camera(listeners=1))
    where = shlex.quote(str(map_path))
    return "\n".join(
        [
            *_activation(),
            "# the map",
            f"saane map build {scene.route.by_hand} --model {model} --out {where}",
            "# the live node, in one terminal",
            f"{localizer} -r image:={CAMERA_TOPIC}",
            "# the camera, in another",
            player,
            "# the answers, with ROS 2 sourced in a third",
            "ros2 topic echo /localizer/place_match",
            "# the same answers without a live node, one line a frame",
            f"saane localize --map {where} {scene.query.by_hand} --model {model}",
        ]
    )


def _activation() -> list[str]:
    """How to get `saane` and this Python on the path, where they live in a virtual environment."""
    if sys.prefix == sys.base_prefix:
        return []
    script = Path(os.path.relpath(sys.prefix)) / "bin" / "activate"
    return ["# once in every terminal", f". {shlex.quote(str(script))}"]


def _node(module: str, parameters: Mapping[str, object]) -> str:
    given = [f"-p {key}:={shlex.quote(_text(value))}" for key, value in parameters.items()]
    return f"python -m {module} --ros-args {' '.join(given)}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
