"""What the launch files share: arguments, parameters, remappings, bag. Imports `launch`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition

from saane_ros.errors import SaaneError
from saane_ros.paths import share_folder
from saane_ros.ros.shared.fast_dds import profile_environment

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def arguments(described: Mapping[str, str]) -> list[DeclareLaunchArgument]:
    """Launch arguments that are empty by default, and then leave everything to the parameters."""
    return [
        DeclareLaunchArgument(name, default_value="", description=description)
        for name, description in described.items()
    ]


def given(context: LaunchContext, name: str) -> str:
    return str(LaunchConfiguration(name).perform(context)).strip()


def switch(context: LaunchContext, name: str) -> bool | None:
    """A launch argument that is true or false; None where it is empty."""
    text = given(context, name).lower()
    if text and text not in _TRUE + _FALSE:
        raise SaaneError(f"Launch argument {name} is {text!r}: give true or false.")
    return text in _TRUE if text else None


def node(
    context: LaunchContext,
    name: str,
    strings: Iterable[str],
    values: Mapping[str, str | float | bool],
    remappings: Iterable[tuple[str, str]] = (),
) -> LifecycleNode:
    """The node `name` of this package, run by the executable of the same name.

    strings: launch arguments that are string parameters of the same name.  values: further
    parameters. Those given win over the parameter file: `params_file`, else config/<name>.yaml.
    """
    parameters: dict[str, str | float | bool] = {
        argument: given(context, argument) for argument in strings if given(context, argument)
    }
    for argument in ("autostart", "use_sim_time"):
        value = switch(context, argument)
        if value is not None:
            parameters[argument] = value
    if given(context, "bag"):
        parameters.setdefault("use_sim_time", True)
    file = given(context, "params_file") or str(share_folder() / "config" / f"{name}.yaml")
    topic = given(context, "image_topic")
    if topic.endswith("/compressed"):
        parameters["image_transport"] = "compressed"
    return LifecycleNode(
        package="saane_ros",
        executable=name,
        name=name,
        namespace="",
        output="screen",
        parameters=[file, {**parameters, **values}],
        remappings=[*_image_remappings(topic), *remappings],
        sigterm_timeout="15",  # PyTorch takes seconds to unload on a busy board
    )


def large_images() -> list[Action]:
    """Give what is started the Fast DDS profile under which large images arrive."""
    return [SetEnvironmentVariable(name, value) for name, value in profile_environment().items()]


def bag_player(bag: str, rate: str = "") -> ExecuteProcess:
    """`ros2 bag play` of a bag, with `/clock`; rate: so many times as fast as it was recorded."""
    faster = ["--rate", rate] if rate else []
    return ExecuteProcess(
        cmd=["ros2", "bag", "play", bag, "--clock", *faster], output="screen", name="bag"
    )


def rviz(simulated: bool) -> Node:
    """RViz with everything that the localizer publishes; simulated: by the time on /clock."""
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(share_folder() / "config" / "saane.rviz")],
        parameters=[{"use_sim_time": simulated}],
    )


def once_active(waited_for: LifecycleNode, actions: list[Action]) -> RegisterEventHandler:
    """Start actions when the node is active for the first time: a bag must not run ahead of it."""
    return RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=waited_for,
            goal_state="active",
            entities=actions,
            handle_once=True,
        )
    )


def _image_remappings(topic: str) -> list[tuple[str, str]]:
    if not topic:
        return []
    base = topic.removesuffix("/compressed")
    return [("image", base), ("image/compressed", f"{base}/compressed")]
