"""Build a route map from a drive: the map builder, and if asked for a bag to play."""

from __future__ import annotations

from pathlib import Path

from launch.action import Action
from launch.actions import ExecuteProcess, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_description_sources import load_python_launch_file_as_module

from launch import LaunchContext, LaunchDescription

shared = load_python_launch_file_as_module(str(Path(__file__).with_name("shared.py")))

ARGUMENTS = {
    **{name: text.format(node="map_builder") for name, text in shared.ARGUMENTS.items()},
    "map": "Folder of the route map to write (<name>.routemap).",
    "pose_source": "What the poses are: odometry, fix, pose or none; empty, with a bag and without "
    "a parameter file: the first of these that the bag has.",
    "pose_topic": "Topic of the poses; empty: odometry, fix or pose, and with a bag its first "
    "topic of that kind, ground truth before others.",
    "every": "A place every so many metres or seconds.",
    "unit": "metres or seconds.",
    "existing": "What to do with a finished map of that name: refuse, extend or replace.",
    "bag": "Bag that is played with /clock as soon as the map builder is active; at its end the "
    "map is saved, and all ends. Without a bag, save with `ros2 service call /map_builder/save "
    "std_srvs/srv/Trigger`.",
}
_SOURCES = ("odometry", "fix", "pose")


def generate_launch_description() -> LaunchDescription:
    return shared.described(__file__, ARGUMENTS, _actions)


def _actions(context: LaunchContext) -> list[Action]:
    found = shared.topics_of_bag(context)
    pose_topic = shared.given(context, "pose_topic")
    topics = {source: pose_topic or found.get(source, "") for source in _SOURCES}
    topics["image"] = shared.given(context, "image_topic") or found.get("image", "")
    values = {name: shared.given(context, name) for name in ("pose_source", "unit", "existing")}
    if not values["pose_source"] and not pose_topic and not shared.given(context, "params_file"):
        values["pose_source"] = next((source for source in _SOURCES if source in found), "")
    values = {name: value for name, value in values.items() if value}
    values.update(shared.number(context, "every"))
    builder = shared.node(context, "map_builder", topics, values)
    if not found:
        return [builder]
    awaited = ("image", values.get("pose_source", ""))
    player, told = shared.bag_player(context, found, topics, awaited)
    saving = RegisterEventHandler(
        OnProcessExit(target_action=player, on_exit=lambda *event: _save(*event, builder))
    )
    return [shared.once_active(builder, [saving, player, told]), builder]


def _save(_: ProcessExited, context: LaunchContext, builder: Action) -> list[Action]:
    """Save the map at the end of the bag, under whichever name the builder runs, and end."""
    if context.is_shutdown:
        return []
    service = f"{builder.node_name}/save"
    return [
        ExecuteProcess(
            cmd=["ros2", "service", "call", service, "std_srvs/srv/Trigger"],
            output="screen",
            on_exit=shared.end_all("The map is saved."),
        )
    ]
