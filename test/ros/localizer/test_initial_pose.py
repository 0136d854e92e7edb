"""`/initialpose`, `~/reset` and the pose of the last run, over DDS."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from localizer_world import Robot, localizer, street
from ros_world import Peer, drive, until
from scenes import ColourGridEmbedder, smooth_scene
from std_srvs.srv import Trigger

from saane_ros.localization.localizer import Localizer
from saane_ros.localization.pose_prior import PosePrior
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, Pose, Rgb


@pytest.fixture(scope="module")
def route_map(tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    return street(tmp_path_factory.mktemp("map"), "street", 0)


def click(x: float, y: float = 0.0, frame_id: str = "site") -> PoseWithCovarianceStamped:
    """What RViz publishes."""
    message = PoseWithCovarianceStamped()
    message.header.frame_id = frame_id
    message.pose.pose.position.x, message.pose.pose.position.y = x, y
    message.pose.pose.orientation.w = 1.0
    message.pose.covariance[0] = message.pose.covariance[7] = 0.25
    message.pose.covariance[35] = 0.0685
    return message


def rviz_prior(x: float, y: float) -> PosePrior:
    covariance = [0.0] * 36
    covariance[0] = covariance[7] = 0.25
    covariance[35] = 0.0685
    return PosePrior(Pose((x, y, 0.0)), tuple(covariance), "site")


def hazy(scene: int) -> Rgb:
    """A view that alone is no certain place."""
    return (0.4 * smooth_scene(scene) + 0.6 * smooth_scene(600 + scene)).astype(np.uint8)


def test_a_click_is_believed_by_its_covariance_and_images_decide(
    route_map: RouteMap, peer: Peer, capfd: pytest.CaptureFixture[str]
) -> None:
    with localizer(route_map.path) as node:
        robot = Robot(node, peer)
        pose = peer.talk(PoseWithCovarianceStamped, "/initialpose")
        robot.follow(3, 6)
        assert robot.told["state"] == "localized"
        # A lie: the robot goes on where it was, and is never said to be elsewhere.
        pose.publish(click(60.0))
        until(lambda: node._requests._request, "the click")
        until(lambda: not node._localized._value, "the doubt")
        again = robot.follow(9, 8)
        for number, said in enumerate(again):
            assert said["state"] != "localized" or int(said["place"]) == 9 + number
        assert again[-1]["state"] == "localized"
        # What the next image then says is what the same belief says without ROS.
        pose.publish(click(61.0, 1.0))
        until(lambda: node._requests._request, "the click")
        said = robot.show(hazy(30))
        expected, untold = (Localizer(ColourGridEmbedder(), route_map, Settings()) for _ in "ab")
        expected.assume(*expected.spots_at(rviz_prior(61.0, 1.0)))
        match = expected.localize(Frame(hazy(30), robot.stamp)).match
        assert float(said["confidence"]) == pytest.approx(match.confidence, rel=1e-5)
        assert float(said["off_route"]) == pytest.approx(match.off_route, rel=1e-5)
        unaided = untold.localize(Frame(hazy(30), robot.stamp)).match
        assert match.off_route < 0.7 * unaided.off_route
        # Neither of another frame nor far away.
        for message, reason in (
            (click(60.0, frame_id="odom"), "The initial pose is in frame odom and map street in"),
            (click(20.0, 500.0), "500 m (162 standard deviations) from the nearest place of map"),
        ):
            seen = ""
            deadline = time.monotonic() + 30
            while reason not in seen and time.monotonic() < deadline:
                pose.publish(message)  # again, as a person whose click DDS lost
                time.sleep(0.5)
                seen += capfd.readouterr().err
            assert reason in seen
        assert node._requests._request is None


def test_a_reset_after_a_click_forgets_it(route_map: RouteMap, peer: Peer) -> None:
    with localizer(route_map.path) as node:
        robot = Robot(node, peer)
        pose = peer.talk(PoseWithCovarianceStamped, "/initialpose")
        pose.publish(click(60.0))
        until(lambda: node._requests._request, "the click")
        assert peer.ask(Trigger, "/localizer/reset", Trigger.Request()).success
        said = robot.show(hazy(30))
    fresh = Localizer(ColourGridEmbedder(), route_map, Settings())
    match = fresh.localize(Frame(hazy(30), robot.stamp)).match
    assert float(said["confidence"]) == pytest.approx(match.confidence, rel=1e-5)
    assert float(said["off_route"]) == pytest.approx(match.off_route, rel=1e-5)


def test_a_map_without_poses_says_that_a_click_is_of_no_use(
    tmp_path: Path, peer: Peer, capfd: pytest.CaptureFixture[str]
) -> None:
    frames = [replace(f, pose=None) for f in drive([smooth_scene(i) for i in range(10)])]
    bare = build_map(frames, ColourGridEmbedder(), tmp_path / "bare.routemap")
    with localizer(bare.path):
        peer.talk(PoseWithCovarianceStamped, "/initialpose").publish(click(1.0, frame_id="map"))
        seen = ""
        deadline = time.monotonic() + 30
        while "Map bare has no poses" not in seen and time.monotonic() < deadline:
            seen += capfd.readouterr().err
            time.sleep(0.01)
        assert "Map bare has no poses" in seen


def test_the_last_pose_survives_a_restart(
    route_map: RouteMap, peer: Peer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "state" / "pose.json"
    graph = route_map.localizable().graph
    with localizer(route_map.path, keep_pose=str(path)) as node:
        robot = Robot(node, peer)
        assert not path.exists()
        robot.follow(10, 8)
        last = robot.poses[-1].pose.pose.position
        until(lambda: node.loaded, "the node")
    kept = json.loads(path.read_text())
    assert kept["map"] == "street"
    assert kept["position"] == pytest.approx([last.x, last.y, last.z])
    assert last.x == pytest.approx(2.0 * 17, abs=1.0)
    assert list(path.parent.iterdir()) == [path]
    with localizer(route_map.path, keep_pose=str(path)) as node:
        until(lambda: node.state == "active", "the node")
        spots, masses, _, _ = node.loaded.localizer.current.belief
        assert spots[masses.argmax()] == graph.spot[17]
        robot = Robot(node, peer)
        assert robot.follow(18, 2)[-1]["place"] == "19"
    # The pose of another map is warned of and not used.
    path.write_text(json.dumps({**kept, "map": "other"}))
    with localizer(route_map.path, keep_pose=str(path)) as node:
        until(lambda: node.state == "active", "the node")
        assert len(node.loaded.localizer.current.belief[0]) == 0
    path.write_text("{")
    with localizer(route_map.path, keep_pose=str(path)) as node:
        until(lambda: node.state == "active", "the node")
        assert len(node.loaded.localizer.current.belief[0]) == 0
    said = capfd.readouterr().err
    assert "The last pose is not used: The pose is of map other and the map here is street" in said
    assert f"The last pose is not used: {path} holds no pose of an earlier run: delete it." in said


def test_a_pose_that_cannot_be_kept_is_warned_of_and_the_drive_goes_on(
    route_map: RouteMap, peer: Peer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with localizer(route_map.path, keep_pose=str(tmp_path / "file" / "pose.json")) as node:
        robot = Robot(node, peer)
        assert robot.follow(10, 6)[-1]["state"] == "localized"
        assert node.counters["failed"] == 0
    assert "The pose cannot be kept in" in capfd.readouterr().err
    assert np.isfinite(robot.poses[-1].pose.pose.position.x)
