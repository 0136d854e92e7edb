"""`~/extend` over DDS: a drive leaves the map, and the next one is localized where it went."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from localizer_world import Robot, localizer, street
from nav_msgs.msg import Odometry
from ros_world import Peer, noisy, until
from scenes import smooth_scene
from std_srvs.srv import SetBool

from saane_ros.localization import extension
from saane_ros.ros.shared.clock import to_stamp
from saane_ros.route_map.merge import merge_maps
from saane_ros.route_map.store import RouteMap

LEAVES = 25
S = 10**9


def true_position(step: int) -> tuple[float, float]:
    """East along the map, and north from where the drive leaves it."""
    return 2.0 * min(step, LEAVES), 2.0 * max(0, step - LEAVES)


class Wheels:
    """Odometry whose zero is where the drive began, at step 10, and which looks east."""

    def __init__(self, peer: Peer) -> None:
        self._publisher = peer.talk(Odometry, "odometry")

    def publish(self, step: int, stamp_ns: int) -> None:
        message = Odometry()
        message.header.stamp = to_stamp(stamp_ns)
        x, y = true_position(step)
        message.pose.pose.position.x, message.pose.pose.position.y = x - 20.0, y
        turned = np.pi / 4 if step > LEAVES else 0.0
        message.pose.pose.orientation.z = float(np.sin(turned))
        message.pose.pose.orientation.w = float(np.cos(turned))
        self._publisher.publish(message)


def extend(peer: Peer, on: bool) -> SetBool.Response:
    return peer.ask(SetBool, "/localizer/extend", SetBool.Request(data=on))


def drive(robot: Robot, wheels: Wheels | None, steps: range) -> list[dict[str, str]]:
    """Show a drive, with odometry or without; what is told of each image."""
    found = []
    for step in steps:
        stamp = robot.stamp + S
        if wheels is not None:
            wheels.publish(step, stamp)
            until(lambda stamp=stamp: robot.node._travelled.at(stamp) is not None, "the odometry")
        scene = step if step <= LEAVES else 1000 + step
        found.append(robot.show(noisy(smooth_scene(scene), step)))
    until(lambda: robot.node.counters["processed"] == len(robot.matches), "the last frame")
    return found


def test_a_road_that_was_driven_once_is_localized_on(tmp_path: Path, peer: Peer) -> None:
    path = street(tmp_path, "street", 0).path
    with localizer(path) as node:
        robot = Robot(node, peer)
        refused = extend(peer, True)
        assert not refused.success
        assert "Nobody publishes odometry on /odometry" in refused.message
        wheels = Wheels(peer)
        until(lambda: node.count_publishers("/odometry"), "the odometry's publisher")
        begun = extend(peer, True)
        assert begun.success
        assert "become places of map street" in begun.message
        first = drive(robot, wheels, range(10, 65))
        assert "localized" not in {said["state"] for said in first[20:]}
        assert RouteMap.open(path).info.count == 40
        ended = extend(peer, False)
        assert ended.success
        grown = RouteMap.open(path)
        added = grown.info.count - 40
        assert ended.message == f"{added} places were added to map street."
        assert 38 <= added <= 50
        assert [one.name for one in tmp_path.iterdir()] == ["street.routemap"]
        assert node.report()["map"] == f"street, {40 + added} places"
        robot.poses.clear()
        second = drive(robot, None, range(10, 65))
        on_new = [said["state"] for said in second[LEAVES - 10 + 1 :]]
        assert on_new.count("localized") >= 35
        errors = []
        for message in robot.poses:
            step = 10 + message.header.stamp.sec - robot.stamp // S + 54
            position = message.pose.pose.position
            errors.append(np.hypot(*np.subtract((position.x, position.y), true_position(step))))
        assert len(errors) >= 45
        assert np.median(errors) < 0.5
        assert max(errors) < 2.5
        assert extend(peer, False).message == "No place was added."  # none was asked for
        assert node.counters["failed"] == 0


def test_nothing_waits_for_a_map_that_is_extended(
    tmp_path: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def held(*arguments: Any) -> RouteMap:
        begun.set()
        assert go_on.wait(60)
        return merge_maps(*arguments)

    monkeypatch.setattr(extension, "merge_maps", held)
    path = street(tmp_path, "street", 0).path
    reports = peer.hear(DiagnosticArray, "/diagnostics")
    with localizer(path) as node, ThreadPoolExecutor(1) as caller:
        robot, wheels = Robot(node, peer), Wheels(peer)
        until(lambda: node.count_publishers("/odometry"), "the odometry's publisher")
        assert extend(peer, True).success
        drive(robot, wheels, range(10, 50))
        try:
            answer = caller.submit(extend, peer, False)
            assert begun.wait(60)
            state = peer.ask(GetState, "/localizer/get_state", GetState.Request())
            assert state.current_state.label == "active"
            matched = len(robot.matches)
            drive(robot, None, range(10, 20))
            assert len(robot.matches) == matched + 10
            reports.clear()
            until(lambda: reports, "a report")
            assert not answer.done()
            assert node.report()["map"] == "street, 40 places"
        finally:
            go_on.set()
        assert answer.result(60).success
    assert RouteMap.open(path).info.count > 40


def test_what_was_gathered_survives_a_node_that_ends(tmp_path: Path, peer: Peer) -> None:
    path = street(tmp_path, "street", 0).path
    with localizer(path) as node:
        robot = Robot(node, peer)
        wheels = Wheels(peer)
        until(lambda: node.count_publishers("/odometry"), "the odometry's publisher")
        assert extend(peer, True).success
        drive(robot, wheels, range(10, 50))
        gathered = len(node._extending._extension)
        assert gathered > 15
    assert RouteMap.open(path).info.count == 40
    with localizer(path) as node:
        robot = Robot(node, peer)
        until(lambda: node.count_publishers("/odometry"), "the odometry's publisher")
        assert extend(peer, True).success
        robot.show(smooth_scene(1))
        until(lambda: node._extending._extension is not None, "the extension")
        assert extend(peer, False).message == f"{gathered} places were added to map street."
    assert RouteMap.open(path).info.count == 40 + gathered
