"""Follow the documentation on a robot with two Pythons, step by step, with the real `ros2`.

    .venv/bin/python test/walk/walk.py --ros2 /opt/ros/jazzy/bin/ros2

This Python has the package and what its nodes need; `ros2` runs on another one. Each step says ok,
or failed, or skipped and why. Exit status 1 where one failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import driving
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from robot import ROOT, Launched, Robot, SkippedError
from ros_world import Peer, image_message, spinning, use_own_domain, values
from scenes import smooth_scene
from sensor_msgs.msg import Image

from saane_ros.data.bags import BagWriter
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Pose

FILES = ("localize.launch.py", "replay.launch.py", "build_map.launch.py")
IMAGE, WHEELS = "/camera/image/compressed", "/wheels/odometry"
PLACES = 8
STEPS: list[Callable[[Robot], str | None]] = []


def step(function: Callable[[Robot], str | None]) -> Callable[[Robot], str | None]:
    """One of the steps, which are taken in the order of this file."""
    STEPS.append(function)
    return function


@step
def build_and_source(robot: Robot) -> str:
    return f"by {robot.build()}"


@step
def saane_is_a_command(robot: Robot) -> None:
    assert robot.saane("--version").startswith("saane_ros ")
    assert robot.ros2("run", "saane_ros", "saane", "--version").startswith("saane_ros ")
    if shutil.which("saane", path=robot.environment["PATH"]) is None:
        raise SkippedError("`ros2 run saane_ros saane` works, but saane is not on PATH")


@step
def a_map_of_a_bag(robot: Robot) -> None:
    with BagWriter(robot.folder / "drive") as bag:
        for place in range(PLACES):
            stamp, pose = (1_000 + place) * 10**9, Pose((2.0 * place, 0.0, 0.0))
            bag.write_odometry(WHEELS, stamp, pose)
            bag.write_image(IMAGE, smooth_scene(place), stamp, "camera", 90)
    robot.saane(
        "map", "build", "--bag", "drive", "--image-topic", IMAGE, "--pose-topic", WHEELS,
        "--model", "saane-town", "--out", "street.routemap",
    )  # fmt: skip
    assert "street" in robot.saane("map", "info", "street.routemap")
    assert IMAGE in robot.saane("bag", "info", "drive")


@step
def every_launch_file_tells_its_arguments_on_the_python_of_ros2(robot: Robot) -> None:
    for file in FILES:
        told = robot.ros2("launch", "saane_ros", file, "--show-args")
        assert all(f"'{name}':" in told for name in ("namespace", "name", "map", "model"))


@step
def what_cannot_be_is_told_and_nothing_is_left_over(robot: Robot) -> None:
    wrong = [
        (("build_map.launch.py", "out:=a.routemap"), "has no argument out"),
        (("localize.launch.py", "odom_topic:=/odom"), "did you mean odometry_topic?"),
        (("replay.launch.py", "traverse:=nowhere"), "There is no bag at nowhere"),
    ]
    prefixes = robot.environment["AMENT_PREFIX_PATH"].split(os.pathsep)
    if not any((Path(prefix) / "share" / "rviz2").is_dir() for prefix in prefixes):
        wrong.append((("localize.launch.py", "rviz:=true"), "RViz is not installed"))
    for words, sentence in wrong:
        with robot.launch(*words) as launched:
            assert launched.ended() == 1
            assert sentence in launched.text, launched.text
            assert "process started" not in launched.text


@step
def localize_with_every_argument(robot: Robot) -> None:
    file = robot.folder / "mine.yaml"
    file.write_text("/**:\n  ros__parameters:\n    candidates: 3\n    device: auto\n")
    (robot.folder / "weights").mkdir()
    home = robot.environment["HOME"]
    robot.environment["HOME"] = str(robot.folder)
    words = [
        "name:=front", "namespace:=robot_1", "model:=saane-town", "weights:=~/weights",
        "map:=~/street.routemap", f"image_topic:={IMAGE}", f"odometry_topic:={WHEELS}",
        "params_file:=~/mine.yaml", "device:=cpu", "use_sim_time:=true", "log_level:=info",
        "respawn:=false", "rviz:=false", "bag:=~/drive", "rate:=2", "autostart:=true",
    ]  # fmt: skip
    with spinning(Peer) as peer, robot.launch("localize.launch.py", *words) as launched:
        robot.environment["HOME"] = home
        matches = peer.hear(DiagnosticArray, "/robot_1/front/place_match")
        reports = peer.hear(DiagnosticArray, "/diagnostics")
        launched.until(lambda: len(matches) >= PLACES - 1, "place matches")
        used = lambda: [s for r in reports for s in r.status if values(s)["odometry"] == "used"]  # noqa: E731
        launched.until(used, "odometry that is used")
        names = ("map", "weights", "candidates", "device", "image_transport", "use_sim_time")
        expected = [f"{robot.folder}/street.routemap", f"{robot.folder}/weights", 3, "cpu"]
        assert parameters(peer, "/robot_1/front", *names) == [*expected, "compressed", True]
        assert launched.stop() == 0


@step
def replay_finds_image_and_odometry(robot: Robot) -> None:
    words = ("traverse:=drive", "map:=street.routemap", "rate:=2")
    with spinning(Peer) as peer, robot.launch("replay.launch.py", *words) as launched:
        matches = peer.hear(DiagnosticArray, "/localizer/place_match")
        launched.says(f"image from {IMAGE}, odometry from {WHEELS}")
        launched.until(lambda: len(matches) >= PLACES - 1, "place matches")
        moved = [values(match.status[0])["travelled_m"] for match in matches]
        assert any(map(float, filter(None, moved)))
        assert launched.stop() == 0


@step
def build_map_saves_in_a_namespace_and_ends(robot: Robot) -> None:
    if not robot.has_ros2:
        raise SkippedError("saving calls `ros2 service call`, and there is no ros2 command")
    words = [
        "name:=mapper", "namespace:=robot_1", "model:=saane-town", "map:=new.routemap",
        f"image_topic:={IMAGE}", "pose_source:=odometry", f"pose_topic:={WHEELS}", "every:=2",
        "unit:=metres", "device:=cpu", "log_level:=warn", "respawn:=false", "bag:=drive",
        "rate:=2", "autostart:=true", "use_sim_time:=true", "weights:=weights",
    ]  # fmt: skip
    with robot.launch("build_map.launch.py", *words) as launched:
        assert launched.ended() == 0, launched.text
    assert RouteMap.open(robot.folder / "new.routemap").info.count >= PLACES - 2


@step
def two_robots_and_two_cameras_side_by_side(robot: Robot) -> None:
    cameras = {
        "/robot_1/localizer": ("/robot_1/image", ["namespace:=robot_1"]),
        "/robot_2/localizer": ("/robot_2/image", ["namespace:=robot_2"]),
        "/front": ("/front/image", ["name:=front", "image_topic:=/front/image"]),
        "/rear": ("/rear/image", ["name:=rear", "image_topic:=/rear/image"]),
    }
    with ExitStack() as stack:
        peer = stack.enter_context(spinning(Peer))
        launched = {
            node: stack.enter_context(
                robot.launch("localize.launch.py", "map:=street.routemap", *words)
            )
            for node, (_, words) in cameras.items()
        }
        heard = {node: peer.hear(DiagnosticArray, f"{node}/place_match") for node in cameras}
        for place, (node, (topic, _)) in enumerate(cameras.items()):
            launched[node].says("Subscribed to")
            show(peer, topic, place, heard[node], launched[node])
        best = {node: values(heard[node][-1].status[0])["best_place"] for node in cameras}
        assert best == {node: str(place) for place, node in enumerate(cameras)}
        for one in launched.values():
            assert one.stop() == 0


def show(peer: Peer, topic: str, place: int, heard: list[Any], launched: Launched) -> None:
    """Publish images of a place until one was matched; only this node may have heard it."""
    camera = peer.talk(Image, topic)
    before = len(heard)

    def matched() -> bool:
        camera.publish(image_message(smooth_scene(place), time.time_ns()))
        time.sleep(0.1)
        return len(heard) > before

    launched.until(matched, f"a match of {topic}")


@step
def lifecycle_by_hand(robot: Robot) -> None:
    words = ("namespace:=robot_1", "map:=street.routemap", "autostart:=false")
    node = "/robot_1/localizer"
    with robot.launch("localize.launch.py", *words) as launched:
        launched.says("process started")
        _found(robot, node, launched)
        assert "unconfigured" in robot.ros2("lifecycle", "get", node)
        for transition, state in (
            ("configure", "inactive"),
            ("activate", "active"),
            ("deactivate", "inactive"),
            ("cleanup", "unconfigured"),
        ):
            assert "successful" in robot.ros2("lifecycle", "set", node, transition)
            assert robot.ros2("lifecycle", "get", node).startswith(state)
        assert launched.stop() == 0


def _found(robot: Robot, node: str, launched: Launched) -> None:
    """Wait until `ros2` has found the node."""
    launched.until(lambda: node in robot.ros2("lifecycle", "nodes").split(), f"{node} to be found")


@step
def parameters_are_dumped_loaded_and_launched_with(robot: Robot) -> None:
    node = "/robot_1/localizer"
    words = ("namespace:=robot_1", "map:=street.routemap", "autostart:=false")
    with robot.launch("localize.launch.py", *words) as launched:
        _found(robot, node, launched)
        robot.ros2("param", "set", node, "max_deviation", "5.5")
        dump = robot.ros2("param", "dump", node)
        (robot.folder / "dump.yaml").write_text(dump)
        # Kilted's `ros2 param load` reads the section for all nodes alone.
        (robot.folder / "any.yaml").write_text(dump.replace(f"{node}:", "/**:"))
        for file, loaded in (("{ROOT}/config/localizer.yaml", "10.0"), ("any.yaml", "5.5")):
            robot.ros2("param", "load", node, file.format(ROOT=ROOT))
            assert loaded in robot.ros2("param", "get", node, "max_deviation")
        assert launched.stop() == 0
    words = ("namespace:=robot_1", "params_file:=dump.yaml")
    with spinning(Peer) as peer, robot.launch("localize.launch.py", *words) as launched:
        launched.says("process started")
        names = ("max_deviation", "map", "autostart")
        assert parameters(peer, node, *names) == [5.5, "street.routemap", False]
        assert launched.stop() == 0


def parameters(peer: Peer, node: str, *names: str) -> list[Any]:
    request = GetParameters.Request(names=names)
    answer = peer.ask(GetParameters, f"{node}/get_parameters", request)
    return [parameter_value_to_python(value) for value in answer.values]


@step
def a_node_that_ends_ends_the_launch(robot: Robot) -> None:
    words = ("map:=street.routemap", "bag:=drive", "rate:=0.1")
    with robot.launch("localize.launch.py", *words) as launched:
        launched.until(lambda: launched.pids("image_player"), "the bag to be played")
        os.kill(launched.pids("localizer")[0], signal.SIGKILL)
        launched.ended()


@step
def a_node_that_ends_is_started_again_on_request(robot: Robot) -> None:
    words = ("map:=street.routemap", "respawn:=true")
    with robot.launch("localize.launch.py", *words) as launched:
        launched.says("Subscribed to")
        os.kill(launched.pids("localizer")[0], signal.SIGKILL)
        launched.until(lambda: launched.text.count("Subscribed to") == 2, "the node's return")
        assert launched.stop() == 0


@step
def a_node_that_cannot_start_ends_and_is_started_until_it_can(robot: Robot) -> None:
    later = robot.folder / "later.routemap"
    with robot.launch("localize.launch.py", f"map:={later}", "respawn:=true") as launched:
        launched.says("There is no route map")
        if "exit_on_failure is unknown" in launched.text:
            raise SkippedError("the nodes have no parameter exit_on_failure")
        launched.until(lambda: len(launched.pids("localizer")) > 1, "the node's return")
        (robot.folder / "street.routemap").rename(later)
        launched.says("Subscribed to")
        assert launched.stop() == 0
    later.rename(robot.folder / "street.routemap")


@step
def a_told_pose_map_to_odom_and_a_restart_with_the_last_pose(robot: Robot) -> None:
    robot.drive = driving.build_street(robot)
    driving.told_pose_and_transform(robot, robot.drive)


@step
def another_map_while_running_and_a_map_that_grows(robot: Robot) -> str:
    return driving.switch_and_extend(robot, robot.drive or driving.build_street(robot))


def walk(robot: Robot) -> list[str]:
    """Take all steps, telling of each; the names of those that failed."""
    failed = []
    for take in STEPS:
        name = take.__name__.replace("_", " ")
        began = time.monotonic()
        try:
            told = take(robot) or ""
            state = "ok"
        except SkippedError as reason:
            told, state = str(reason), "skipped"
        except Exception as error:
            told, state = f"{type(error).__name__}: {error}", "failed"
            failed.append(name)
        seconds = time.monotonic() - began
        print(f"{state:8}{name} ({seconds:.0f} s){': ' + told if told else ''}", flush=True)
        if failed and take is STEPS[0]:
            break
    return failed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--ros2", default="ros2", help="the command; by default that on PATH")
    parser.add_argument("--only", nargs="*", default=[], help="words of the steps to take")
    options = parser.parse_args(arguments)
    if options.only:
        needed = (build_and_source, a_map_of_a_bag)
        STEPS[:] = [
            s for s in STEPS if s in needed or any(word in s.__name__ for word in options.only)
        ]
    use_own_domain()
    with tempfile.TemporaryDirectory(prefix="walk_") as folder:
        robot = Robot(Path(folder), options.ros2)
        try:
            return int(bool(walk(robot)))
        finally:
            robot.close()


if __name__ == "__main__":
    sys.exit(main())
