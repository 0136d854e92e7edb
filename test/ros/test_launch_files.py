"""The launch files: their arguments always, and a real `ros2 launch` where ROS 2 has it."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from ros_world import PATIENCE_S, Peer, spinning, until, values

from saane_ros.ros.map_builder_settings import MapBuilderSettings
from saane_ros.settings import Settings, default_settings

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
ALWAYS = {
    "model",
    "map",
    "image_topic",
    "params_file",
    "device",
    "use_sim_time",
    "bag",
    "autostart",
}


READERS = {"given", "switch", "node"}
"""Functions of `saane_ros.ros.launching` that take the names of launch arguments."""


def launch_arguments(name: str) -> dict[str, str]:
    """The table `ARGUMENTS` of a launch file, read without `launch`."""
    source = (LAUNCH / name).read_text(encoding="utf-8")
    compile(source, name, "exec")
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == "ARGUMENTS":  # type: ignore[attr-defined]
            table: dict[str, str] = ast.literal_eval(statement.value)
            return table
    raise AssertionError(f"{name} has no table of arguments")


def asked_for(name: str) -> set[str]:
    """Arguments that a launch file and what it shares read by name."""
    files = (LAUNCH / name, LAUNCH.parent / "saane_ros" / "ros" / "launching.py")
    calls = [
        node
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in READERS
    ]
    texts = [node for call in calls for node in ast.walk(call) if isinstance(node, ast.Constant)]
    return {node.value for node in texts if isinstance(node.value, str)}


@pytest.mark.parametrize(
    ("name", "more", "kind"),
    [
        ("localize.launch.py", {"rviz"}, Settings),
        (
            "build_map.launch.py",
            {"pose_source", "pose_topic", "every", "unit"},
            MapBuilderSettings,
        ),
    ],
)
def test_every_argument_is_described_and_read(name: str, more: set[str], kind: type) -> None:
    table = launch_arguments(name)
    assert set(table) == ALWAYS | more
    assert all(len(description) > 10 for description in table.values())
    read = asked_for(name)
    # `autostart` and `use_sim_time` are read in a loop over both.
    assert set(table) - {"autostart", "use_sim_time"} <= read
    ros_only = {"image_topic", "params_file", "use_sim_time", "rviz", "bag", "autostart"}
    assert set(table) - ros_only - {"pose_topic"} <= set(default_settings(kind))


@contextmanager
def launched(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`ros2 launch` of this package; ended with Ctrl-C, as a person would."""
    pytest.importorskip("launch_ros", reason="launch_ros is not installed")
    if shutil.which("ros2") is None:
        pytest.skip("there is no ros2 command")
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix("saane_ros")
    except PackageNotFoundError:
        pytest.skip("saane_ros is not installed in an ament prefix: colcon build, then source it")
    process = subprocess.Popen(
        ["ros2", "launch", "saane_ros", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A shell without job control starts what is in the background with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)
    finally:
        process.kill()


def parameters(peer: Peer, node: str, *names: str) -> list[Any]:
    request = GetParameters.Request(names=names)
    answer = peer.ask(GetParameters, f"/{node}/get_parameters", request)
    return [parameter_value_to_python(value) for value in answer.values]


def test_localize_starts_the_node_with_what_was_given_and_the_file_for_the_rest(
    tmp_path: Path,
) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("localizer:\n  ros__parameters:\n    candidates: 3\n    model: from-file\n")
    with (
        spinning(Peer) as peer,
        launched(
            "localize.launch.py",
            "map:=/no/such.routemap",
            "image_topic:=/front/image_raw/compressed",
            f"params_file:={file}",
            "use_sim_time:=true",
        ) as process,
    ):
        reports = peer.hear(DiagnosticArray, "/diagnostics")
        until(lambda: reports, "a report of the localizer")
        assert "There is no route map at /no/such.routemap" in reports[0].status[0].message
        names = ("map", "model", "candidates", "image_transport", "use_sim_time", "device")
        assert parameters(peer, "localizer", *names) == [
            "/no/such.routemap",
            "from-file",
            3,
            "compressed",
            True,
            "auto",
        ]
    assert process.returncode == 0


def test_build_map_starts_the_builder(tmp_path: Path) -> None:
    with (
        spinning(Peer) as peer,
        launched(
            "build_map.launch.py",
            f"map:={tmp_path / 'a.routemap'}",
            "pose_source:=fix",
            "pose_topic:=/gps",
            "every:=1",
            "autostart:=false",
        ) as process,
    ):
        reports = peer.hear(DiagnosticArray, "/diagnostics")
        until(lambda: reports, "a report of the map builder")
        assert values(reports[0].status[0])["state"] == "unconfigured"
        names = ("pose_source", "every", "unit", "autostart")
        assert parameters(peer, "map_builder", *names) == ["fix", 1.0, "metres", False]
    assert process.returncode == 0
