"""Replay a recorded drive, such as a RobotCar traverse: localize.launch.py with a bag."""

from __future__ import annotations

from pathlib import Path

from launch.action import Action
from launch.launch_description_sources import load_python_launch_file_as_module

from launch import LaunchContext, LaunchDescription

localize = load_python_launch_file_as_module(str(Path(__file__).with_name("localize.launch.py")))
shared = localize.shared

ARGUMENTS = {
    "traverse": "Bag of the drive, such as `saane robotcar to-bag` writes.",
    **{name: text for name, text in localize.ARGUMENTS.items() if name != "bag"},
}


def generate_launch_description() -> LaunchDescription:
    return shared.described(__file__, ARGUMENTS, _actions)


def _actions(context: LaunchContext) -> list[Action]:
    traverse = shared.given(context, "traverse")
    if not traverse:
        raise RuntimeError("Launch argument traverse is empty: give the bag, traverse:=<bag>.")
    context.launch_configurations["bag"] = traverse
    return localize.actions(context)
