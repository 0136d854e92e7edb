"""Match a camera with a route map: the localizer, and if asked for a bag to play and RViz."""

from __future__ import annotations

from launch.action import Action
from launch.actions import OpaqueFunction

from launch import LaunchContext, LaunchDescription
from saane_ros.ros.shared import launching

ARGUMENTS = {
    "model": "Name of a model card in models/, or the path of a card.",
    "map": "Folder of the route map (<name>.routemap).",
    "image_topic": "Camera topic; one that ends in /compressed is subscribed to compressed.",
    "params_file": "Parameter file; empty: config/localizer.yaml of the package. What other "
    "arguments leave empty is taken from it.",
    "device": "auto (CUDA where there is one), cpu, cuda or cuda:N.",
    "use_sim_time": "true: take the time from /clock; empty: true with a bag.",
    "rviz": "true: show everything in RViz.",
    "bag": "rosbag2 bag that is played with --clock as soon as the localizer is active.",
    "autostart": "false: leave the lifecycle transitions to somebody else.",
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*launching.arguments(ARGUMENTS), OpaqueFunction(function=_actions)])


def _actions(context: LaunchContext) -> list[Action]:
    localizer = launching.node(context, "localizer", ("model", "map", "device"), {})
    actions = [*launching.large_images(), localizer]
    bag = launching.given(context, "bag")
    if bag:
        # The handler must wait before the node can become active.
        actions.insert(-1, launching.once_active(localizer, [launching.bag_player(bag)]))
    if launching.switch(context, "rviz"):
        actions.append(launching.rviz(simulated=bool(bag)))
    return actions
