"""What the launch files share: arguments, nodes, the topics of a bag.

They import launch, launch_ros and the standard library alone, since `ros2` may run on another
Python than the nodes. What is to be known of a bag tells `saane bag topics`, a process.
"""

from __future__ import annotations

import difflib
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.events.process import ProcessExited
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch.substitutions.substitution_failure import SubstitutionFailure
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.substitutions import ExecutableInPackage, FindPackagePrefix

from launch import LaunchContext, LaunchDescription

PACKAGE = "saane_ros"
SHARE = Path(__file__).parent.parent
"""The folder with `config/`, of a checkout and of an installation."""
ARGUMENTS = {
    "name": "Name of the node, such as front_localizer for one of two cameras; empty: {node}.",
    "namespace": "Namespace of the node, such as robot_1; names of topics that do not begin with / "
    "lie in it.",
    "model": "Name of a model card in models/, or the path of a card.",
    "weights": "Folder looked into first for weight files.",
    "map": "Folder of the route map (<name>.routemap).",
    "image_topic": "Camera topic; one that ends in /compressed is subscribed to compressed. Empty: "
    "image, and with a bag its first compressed image topic, else its first raw one.",
    "params_file": "Parameter file; empty: config/{node}.yaml of the package. What other "
    "arguments leave empty is taken from it.",
    "device": "auto (CUDA where there is one), cpu, cuda or cuda:N.",
    "use_sim_time": "true: take the time from /clock; empty: true with a bag.",
    "log_level": "debug, info, warn, error or fatal.",
    "respawn": "true: start the node again when it ends, and end it when it cannot start.",
    "bag": "Bag that is played with /clock as soon as the node is active.",
    "rate": "Play the bag so many times as fast as it was recorded; empty: 1.",
    "autostart": "false: leave the lifecycle transitions to somebody else.",
}
"""Of every launch file; `{node}` is its executable."""
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_LEVELS = ("debug", "info", "warn", "error", "fatal")
_LAUNCH_OWN = ("launch-prefix", "launch-prefix-filter", "sigterm_timeout", "sigkill_timeout")
"""Arguments that launch itself reads."""
_RESPAWN_S = 2.0


def described(
    file: str,
    arguments: Mapping[str, str],
    actions: Callable[[LaunchContext], list[Action]],
) -> LaunchDescription:
    """Arguments that are empty by default, which leaves all to the parameters, and what they do."""

    def checked(context: LaunchContext) -> list[Action]:
        refuse_unknown(Path(file), context.argv, arguments)
        return actions(context)

    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value="", description=description)
                for name, description in arguments.items()
            ),
            OpaqueFunction(function=checked),
        ]
    )


def refuse_unknown(file: Path, words: Iterable[str], known: Iterable[str]) -> None:
    """RuntimeError where the command line gives this launch file an argument that it lacks.

    Where another launch file includes this one, the words of the command line are for that one.
    """
    command = sys.argv
    named = (PACKAGE, file.name) in pairwise(command)
    if not named and str(file) not in map(_absolute, command):
        return
    names = sorted(known)
    for word in words:
        name = word.partition(":=")[0]
        if name in names or name in _LAUNCH_OWN:
            continue
        close = difflib.get_close_matches(name, names, n=1)
        hint = f": did you mean {close[0]}?" if close else "."
        raise RuntimeError(
            f"{file.name} has no argument {name}{hint} Its arguments are {', '.join(names)}."
        )


def given(context: LaunchContext, name: str) -> str:
    return str(LaunchConfiguration(name).perform(context)).strip()


def path(context: LaunchContext, name: str) -> str:
    """A launch argument that is a path, with `~` for the home folder."""
    text = given(context, name)
    return str(Path(text).expanduser()) if text.startswith("~") else text


def switch(context: LaunchContext, name: str) -> bool | None:
    """A launch argument that is true or false; None where it is empty."""
    text = given(context, name).lower()
    if text and text not in _TRUE + _FALSE:
        raise RuntimeError(f"Launch argument {name} is {text!r}: give true or false.")
    return text in _TRUE if text else None


def number(context: LaunchContext, name: str) -> dict[str, float]:
    """The parameter `name` where the launch argument of that name is given."""
    text = given(context, name)
    try:
        return {name: float(text)} if text else {}
    except ValueError:
        raise RuntimeError(f"Launch argument {name} is {text!r}: give a number.") from None


def node(
    context: LaunchContext,
    executable: str,
    topics: Mapping[str, str],
    values: Mapping[str, str | float | bool],
) -> LifecycleNode:
    """The lifecycle node of an executable of this package; when it ends, so does all.

    topics: name in the node to the topic's; those that are empty stay.  values: parameters beside
    those of ARGUMENTS. What is given wins over the parameter file.
    """
    image = topics.get("image", "")
    base = image.removesuffix("/compressed")
    remappings = {**topics, "image": base, "image/compressed": base and f"{base}/compressed"}
    parameters: dict[str, str | float | bool] = {
        name: path(context, name) for name in ("model", "weights", "map", "device")
    }
    parameters = {name: value for name, value in parameters.items() if value}
    for name in ("autostart", "use_sim_time"):
        if (value := switch(context, name)) is not None:
            parameters[name] = value
    if given(context, "bag"):
        parameters.setdefault("use_sim_time", True)
    if image.endswith("/compressed"):
        parameters["image_transport"] = "compressed"
    respawn = bool(switch(context, "respawn"))
    if respawn:
        parameters["exit_on_failure"] = True
    file = path(context, "params_file") or str(SHARE / "config" / f"{executable}.yaml")
    if not Path(file).is_file():
        raise RuntimeError(f"There is no parameter file {file}: check params_file.")
    return LifecycleNode(
        package=PACKAGE,
        executable=executable,
        name=given(context, "name") or executable,
        namespace=given(context, "namespace"),
        output="screen",
        parameters=[file, {**parameters, **values}],
        remappings=[(name, topic) for name, topic in remappings.items() if topic],
        ros_arguments=_log_level(context),
        sigterm_timeout="15",  # PyTorch takes seconds to unload on a busy board
        respawn=respawn,
        respawn_delay=_RESPAWN_S,
        on_exit=None if respawn else end_all(f"The {executable} has ended."),
    )


def end_all(reason: str) -> Callable[[ProcessExited, LaunchContext], Shutdown | None]:
    """At the end of a process: end the others too, unless that is going on."""
    return lambda _, context: None if context.is_shutdown else Shutdown(reason=reason)


def topics_of_bag(context: LaunchContext) -> dict[str, str]:
    """Which topic of the bag is which: the lines of `saane bag topics`; empty without a bag."""
    bag, image = path(context, "bag"), given(context, "image_topic")
    if not bag:
        return {}
    command = ExecutableInPackage("saane", PACKAGE).perform(context)
    options = ["--image-topic", image] if image else []
    done = subprocess.run([command, "bag", "topics", *options, bag], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise RuntimeError(last.removeprefix("saane: "))
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def bag_player(
    context: LaunchContext,
    found: Mapping[str, str],
    topics: Mapping[str, str],
    awaited: Iterable[str],
) -> tuple[Node, LogInfo]:
    """What plays the bag, at the recorded pace times `rate`, and what tells the topics taken.

    found: of the bag.  topics: as of `node`.  awaited: names in the node that the first message
    must not come before; what the bag lacks of them is not waited for.
    """
    bag = path(context, "bag")
    player = Node(
        package=PACKAGE,
        executable="image_player",
        name="image_player",
        namespace=given(context, "namespace"),
        output="screen",
        parameters=[
            {
                "source": bag,
                "clock": True,
                "wait_for_subscribers": 1,
                "wait_topics": sorted({topics.get(name) for name in awaited} & {*found.values()}),
                **number(context, "rate"),
            }
        ],
    )
    taken = ", ".join(f"{name} from {topic}" for name, topic in topics.items() if topic)
    return player, LogInfo(msg=f"Playing {bag}: {taken}.")


def once_active(waited_for: LifecycleNode, actions: list[Action]) -> RegisterEventHandler:
    """Start actions when the node is active for the first time: a bag must not run ahead of it.

    It stands before the node, which it must hear from the beginning.
    """
    return RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=waited_for,
            goal_state="active",
            entities=actions,
            handle_once=True,
        )
    )


def rviz(context: LaunchContext) -> Node:
    """RViz with everything that a localizer publishes, in its namespace.

    RuntimeError where there is no RViz: before anything is started.
    """
    try:
        FindPackagePrefix("rviz2").perform(context)
    except (LookupError, SubstitutionFailure):
        raise RuntimeError(
            "RViz is not installed: install the package rviz2, or leave rviz:=true out."
        ) from None
    simulated = switch(context, "use_sim_time")
    if simulated is None:
        simulated = bool(given(context, "bag"))
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=given(context, "namespace"),
        arguments=["-d", str(_rviz_file(given(context, "name")))],
        parameters=[{"use_sim_time": simulated}],
    )


def _rviz_file(node_name: str) -> Path:
    """config/saane.rviz, whose topics begin with `localizer/`; for another name in a copy of it."""
    shipped = SHARE / "config" / "saane.rviz"
    if node_name in ("", "localizer"):
        return shipped
    text = shipped.read_text(encoding="utf-8").replace(" localizer/", f" {node_name}/")
    file = Path(launch_config.log_dir) / "saane.rviz"
    file.write_text(text, encoding="utf-8")
    return file


def _log_level(context: LaunchContext) -> list[str]:
    level = given(context, "log_level").lower()
    if level and level not in _LEVELS:
        raise RuntimeError(
            f"Launch argument log_level is {level!r}: choose one of {', '.join(_LEVELS)}."
        )
    return ["--log-level", level] if level else []


def _absolute(word: str) -> str:
    return str(Path(word).absolute())
