"""The commands by which a person repeats what the demo did."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from saane_ros.demo.scene import Scene


def commands_by_hand(scene: Scene, model: str, map_path: Path) -> str:
    """Shell commands, to be typed from the folder in which the demo ran."""
    localizer = _node("localizer_node", {"model": model, "map": str(map_path)})
    player = _node("image_player_node", {**scene.query.player})
    return "\n".join(
        [
            "# the map",
            f"saane map build {scene.route.by_hand} --model {model} --out {map_path}",
            "# the live node, in one terminal",
            localizer,
            "# the camera, in another",
            player,
            "# the answers, with ROS 2 sourced in a third",
            "ros2 topic echo /localizer/place_match",
            "# the same answers without a live node, one line a frame",
            f"saane localize --map {map_path} {scene.query.by_hand} --set model={model}",
        ]
    )


def _node(module: str, parameters: Mapping[str, object]) -> str:
    given = " ".join(f"-p {key}:={value}" for key, value in parameters.items())
    return f"python -m saane_ros.ros.{module} --ros-args {given}"
