"""Match a camera with a route map: the localizer, and if asked for a bag to play and RViz."""

from __future__ import annotations

from pathlib import Path

from launch.action import Action
from launch.launch_description_sources import load_python_launch_file_as_module

from launch import LaunchContext, LaunchDescription

shared = load_python_launch_file_as_module(str(Path(__file__).with_name("shared.py")))

ARGUMENTS = {
    **{name: text.format(node="localizer") for name, text in shared.ARGUMENTS.items()},
    "odometry_topic": "Topic of the robot's odometry (nav_msgs/Odometry), from which the filter "
    "knows its motion; empty: odometry, and with a bag its first one that is no ground truth.",
    "rviz": "true: show query, attention, matched place, route and pose in RViz.",
}


def generate_launch_description() -> LaunchDescription:
    return shared.described(__file__, ARGUMENTS, actions)


def actions(context: LaunchContext) -> list[Action]:
    found = shared.topics_of_bag(context)
    topics = {
        "image": shared.given(context, "image_topic") or found.get("image", ""),
        "odometry": shared.given(context, "odometry_topic") or found.get("motion", ""),
    }
    localizer = shared.node(context, "localizer", topics, {})
    started = [localizer]
    if found:
        player = shared.bag_player(context, found, topics, ("image", "odometry"))
        started.insert(0, shared.once_active(localizer, player))
    if shared.switch(context, "rviz"):
        started.append(shared.rviz(context))
    return started
