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
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from ros_world import PATIENCE_S, Peer, spinning, until, values
from scenes import smooth_scene
from sensor_msgs.msg import Image

from saane_ros.data.bags import BagWriter
from saane_ros.errors import SaaneError
from saane_ros.ros.image_player.replay import image_topic_of, playing_rate
from saane_ros.ros.map_builder.settings import MapBuilderSettings
from saane_ros.ros.shared.model_loading import load_model
from saane_ros.route_map.builder import build_map
from saane_ros.settings import Settings, default_settings
from saane_ros.types import Frame, Pose

LAUNCH = Path(__file__).resolve().parents[3] / "launch"
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
"""Functions of `saane_ros.ros.shared.launching` that take the names of launch arguments."""


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
    files = (LAUNCH / name, LAUNCH.parent / "saane_ros" / "ros" / "shared" / "launching.py")
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
        ("replay.launch.py", {"traverse", "rate", "rviz"}, Settings),
        (
            "build_map.launch.py",
            {"pose_source", "pose_topic", "every", "unit"},
            MapBuilderSettings,
        ),
    ],
)
def test_every_argument_is_described_and_read(name: str, more: set[str], kind: type) -> None:
    table = launch_arguments(name)
    assert set(table) == ALWAYS - ({"bag"} if "traverse" in more else set()) | more
    assert all(len(description) > 10 for description in table.values())
    read = asked_for(name)
    # `autostart` and `use_sim_time` are read in a loop over both.
    assert set(table) - {"autostart", "use_sim_time"} <= read
    ros_only = {"image_topic", "params_file", "use_sim_time", "rviz", "bag", "autostart"}
    ros_only |= {"traverse", "rate"}
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


def write_replay(tmp_path: Path) -> tuple[Path, Path]:
    """A map and a bag of the same drive, with another image topic and true poses."""
    frames = [
        Frame(smooth_scene(i), i * 10**9, f"p{i}", Pose((2.0 * i, 0.0, 0.0))) for i in range(8)
    ]
    with BagWriter(tmp_path / "drive") as bag:
        for i, frame in enumerate(frames):
            stamp = (1_000 + i) * 10**9
            bag.write_odometry("/ground_truth/odometry", stamp, frame.pose or Pose((0, 0, 0)))
            bag.write_image("/stereo/centre/image_raw/compressed", frame.image, stamp, "c", 90)
            bag.write_image("/also/raw", frame.image, stamp)
    route_map = build_map(frames, load_model(Settings(model="saane-town")), tmp_path / "m.routemap")
    return tmp_path / "drive", route_map.path


def test_replay_chooses_the_topic_and_shows_the_drive(tmp_path: Path) -> None:
    pytest.importorskip("launch_ros", reason="launch_ros is not installed")
    if subprocess.run(["ros2", "bag", "play", "--help"], capture_output=True).returncode:
        pytest.skip("ros2 bag is not installed")
    bag, route_map = write_replay(tmp_path)
    with spinning(Peer) as peer:
        matches = peer.hear(DiagnosticArray, "/localizer/place_match")
        truths = peer.hear(Odometry, "/ground_truth/odometry")
        overviews = peer.hear(Image, "/localizer/overview")
        with launched(
            "replay.launch.py", f"traverse:={bag}", f"map:={route_map}", "rate:=0.5"
        ) as process:
            until(lambda: len(matches) >= 4 and len(truths) >= 4, "matches and true poses")
            until(lambda: overviews, "a picture of query, attention and match")
            names = ("map", "image_transport", "use_sim_time")
            expected = [str(route_map), "compressed", True]
            assert parameters(peer, "localizer", *names) == expected
    assert process.returncode == 0


def test_the_image_topic_of_a_replay(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "drive") as bag:
        bag.write_image("/a/raw", smooth_scene(1), 10**9)
        bag.write_image("/b/compressed", smooth_scene(1), 10**9, jpeg_quality=90)
        bag.write_pose("/pose", 10**9, Pose((0, 0, 0)))
    path = str(tmp_path / "drive")
    assert image_topic_of(path) == "/b/compressed"
    assert image_topic_of(path, "/a/raw") == "/a/raw"
    for wanted, message in (("/pose", "holds no images"), ("/c", "is not in")):
        with pytest.raises(SaaneError, match=message):
            image_topic_of(path, wanted)
    with pytest.raises(SaaneError, match="traverse is empty"):
        image_topic_of("")
    assert playing_rate("0.5") == "0.5"
    for text in ("0", "-1", "fast", "inf"):
        with pytest.raises(SaaneError, match="give a number above 0"):
            playing_rate(text)
