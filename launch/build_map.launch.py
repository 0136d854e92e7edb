"""Build a route map from a drive: the map builder, and if asked for a bag to play."""

from __future__ import annotations

from launch.action import Action
from launch.actions import ExecuteProcess, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit

from launch import LaunchContext, LaunchDescription
from saane_ros.errors import SaaneError
from saane_ros.ros.shared import launching

ARGUMENTS = {
    "model": "Name of a model card in models/, or the path of a card.",
    "map": "Folder of the route map to write (<name>.routemap).",
    "image_topic": "Camera topic; one that ends in /compressed is subscribed to compressed.",
    "pose_source": "What the poses are: odometry, fix, pose or none.",
    "pose_topic": "Topic of the poses; empty: odometry, fix or pose.",
    "every": "A place every so many metres or seconds.",
    "unit": "metres or seconds.",
    "params_file": "Parameter file; empty: config/map_builder.yaml of the package. What other "
    "arguments leave empty is taken from it.",
    "device": "auto (CUDA where there is one), cpu, cuda or cuda:N.",
    "use_sim_time": "true: take the time from /clock; empty: true with a bag.",
    "bag": "rosbag2 bag that is played with --clock as soon as the map builder is active; at its "
    "end the map is saved. Without a bag, save with `ros2 service call /map_builder/save "
    "std_srvs/srv/Trigger`.",
    "autostart": "false: leave the lifecycle transitions to somebody else.",
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*launching.arguments(ARGUMENTS), OpaqueFunction(function=_actions)])


def _actions(context: LaunchContext) -> list[Action]:
    every = launching.given(context, "every")
    pose_topic = launching.given(context, "pose_topic")
    sources = ("odometry", "fix", "pose")
    builder = launching.node(
        context,
        "map_builder",
        ("model", "map", "device", "pose_source", "unit"),
        {"every": _number(every)} if every else {},
        [(source, pose_topic) for source in sources] if pose_topic else [],
    )
    actions = [*launching.large_images(), builder]
    bag = launching.given(context, "bag")
    if bag:
        actions.insert(-1, launching.once_active(builder, _play_and_save(bag)))
    return actions


def _play_and_save(bag: str) -> list[Action]:
    player = launching.bag_player(bag)
    save = ExecuteProcess(
        cmd=["ros2", "service", "call", "/map_builder/save", "std_srvs/srv/Trigger"],
        output="screen",
    )
    return [RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[save])), player]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SaaneError(f"Launch argument every is {text!r}: give a number.") from None
