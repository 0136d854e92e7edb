"""Replay a recorded drive, such as a RobotCar traverse, through the node that runs on the car."""

from __future__ import annotations

from launch.action import Action
from launch.actions import OpaqueFunction

from launch import LaunchContext, LaunchDescription
from saane_ros.ros.image_player.replay import image_topic_of, playing_rate
from saane_ros.ros.shared import launching

ARGUMENTS = {
    "traverse": "rosbag2 bag of the drive, such as `saane robotcar to-bag` writes.",
    "map": "Folder of the route map (<name>.routemap).",
    "model": "Name of a model card in models/, or the path of a card.",
    "rate": "So many times as fast as recorded; empty: 1.",
    "rviz": "true: show query, attention, matched place, route, true and estimated position.",
    "image_topic": "Image topic of the bag; empty: its only one, or the first compressed one.",
    "params_file": "Parameter file; empty: config/localizer.yaml of the package. What other "
    "arguments leave empty is taken from it.",
    "device": "auto (CUDA where there is one), cpu, cuda or cuda:N.",
    "use_sim_time": "true or empty: take the time from /clock.",
    "autostart": "false: leave the lifecycle transitions to somebody else.",
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*launching.arguments(ARGUMENTS), OpaqueFunction(function=_actions)])


def _actions(context: LaunchContext) -> list[Action]:
    traverse = launching.given(context, "traverse")
    topic = image_topic_of(traverse, launching.given(context, "image_topic"))
    rate = playing_rate(launching.given(context, "rate"))
    # From here on as `localize.launch.py bag:=<traverse> image_topic:=<topic>`.
    context.launch_configurations.update(bag=traverse, image_topic=topic)
    localizer = launching.node(context, "localizer", ("model", "map", "device"), {})
    player = launching.bag_player(traverse, rate)
    actions = [
        *launching.large_images(),
        launching.once_active(localizer, [player]),
        localizer,
    ]
    if launching.switch(context, "rviz"):
        actions.append(launching.rviz(simulated=True))
    return actions
