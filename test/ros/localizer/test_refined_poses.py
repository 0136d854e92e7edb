"""Poses by points of the map over DDS: CameraInfo comes, late or wrong, changes, or never comes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from feature_files import write_card
from localizer_world import Robot, S, localizer
from metric_town import MetricTown
from ros_world import Peer, image_message, until, values
from sensor_msgs.msg import CameraInfo, Image

from saane_ros.messages.image import image_to_rgb
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame

pytest.importorskip("pycolmap", reason="the extra metric is absent")

NO_HURRY = {"refine_budget_ms": 10_000.0}


@pytest.fixture(scope="module")
def town() -> MetricTown:
    return MetricTown()


@pytest.fixture(scope="module")
def town_map(town: MetricTown, tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    return town.build(tmp_path_factory.mktemp("town"))


def camera_info(town: MetricTown, zoom: float = 1.0, height: int = 0) -> CameraInfo:
    camera = town.camera
    k = np.array(camera.k) * [zoom, 1, 1, 1, zoom, 1, 1, 1, 1]
    return CameraInfo(
        width=camera.width,
        height=height or camera.height,
        distortion_model="plumb_bob",
        k=k.tolist(),
        d=[0.0] * 5,
    )


def tell(node: Any, publisher: Any, message: CameraInfo) -> None:
    """CameraInfo is best effort: said until it was heard."""
    before = node._intrinsics._last

    def heard() -> bool:
        publisher.publish(message)
        return node._intrinsics._last != before

    until(heard, "CameraInfo")


def test_poses_are_refined_once_camera_info_came(
    town: MetricTown, town_map: RouteMap, peer: Peer
) -> None:
    reports = peer.hear(DiagnosticArray, "/diagnostics")
    pictures = peer.hear(Image, "/localizer/overview")
    with localizer(town_map.path, **NO_HURRY) as node:
        robot = Robot(node, peer)
        until(lambda: node.output.wanted("overview"), "a listener to the overview")
        first = robot.show(town.frame(1).image)
        assert (first["state"], first["pose_source"]) == ("localized", "place")
        assert (first["inliers"], first["reprojection_px"], first["points_ms"]) == ("", "", "")
        assert node.problem == (
            "Poses are not refined by the map's points. No CameraInfo came on /camera_info: "
            "publish it, or set camera_info_topic."
        )
        tell(node, peer.talk(CameraInfo, "/camera_info"), camera_info(town))
        shown = [town.frame(index) for index in (5, 7, 11)]
        told = [robot.show(frame.image) for frame in shown]
        until(lambda: len(robot.poses) == 4, "four poses")
        until(lambda: len(pictures) == 4, "four pictures")
        for said, pose, frame in zip(told, robot.poses[1:], shown, strict=True):
            at = pose.pose.pose.position
            assert frame.pose is not None
            assert math.dist((at.x, at.y, at.z), frame.pose.position) < 0.15
            assert pose.pose.covariance[0] < 0.1**2
            assert said["pose_source"] == "refined"
            assert int(said["inliers"]) >= 10
            assert 0 < float(said["reprojection_px"]) < 3
            assert float(said["points_ms"]) > 0
        assert node.problem == ""
        until(
            lambda: any("points, " in values(r.status[0]).get("points", "") for r in reports),
            "a report of points",
        )
    greens = [(np.abs(image_to_rgb(p).astype(int) - (80, 230, 120)).sum(axis=2) < 60).sum()
              for p in pictures]  # fmt: skip
    assert min(greens[1:]) > greens[0] + 100


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"height": 120}, "another shape: give those of this image"),
        ({"zoom": 0.0}, "has no intrinsics, its K is all zero"),
        ({"zoom": 0.9}, "is too short: check the camera's intrinsics"),
    ],
    ids=["cropped", "uncalibrated", "wrong"],
)
def test_wrong_camera_info_is_told_and_the_places_pose_goes_on(
    town: MetricTown, town_map: RouteMap, peer: Peer, given: dict[str, Any], says: str
) -> None:
    with localizer(town_map.path, **NO_HURRY) as node:
        robot = Robot(node, peer)
        message = camera_info(town, **given)
        if given.get("zoom") == 0.0:
            message.k = [0.0] * 9
        tell(node, peer.talk(CameraInfo, "/camera_info"), message)
        told = [robot.show(town.frame(index).image) for index in range(1, 20, 2)]
        until(lambda: len(robot.poses) == len(told), "poses")
        assert told[-1]["state"] == "localized"
        assert told[-1]["pose_source"] == "place"
        assert node.problem.startswith("Poses are not refined by the map's points. ")
        assert says in node.problem


def test_another_topic_is_heard_and_a_changed_zoom_is_told(
    town: MetricTown, town_map: RouteMap, peer: Peer
) -> None:
    with localizer(town_map.path, camera_info_topic="/left/info", **NO_HURRY) as node:
        robot = Robot(node, peer)
        publisher = peer.talk(CameraInfo, "/left/info")
        tell(node, publisher, camera_info(town, zoom=0.99))
        assert robot.show(town.frame(5).image)["state"] == "localized"
        tell(node, publisher, camera_info(town))
        assert robot.show(town.frame(7).image)["pose_source"] == "refined"
        assert node.problem.startswith("The intrinsics on /left/info changed from a focal length")


def test_a_node_that_is_late_refines_nothing(
    town: MetricTown, town_map: RouteMap, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with localizer(town_map.path, refine_budget_ms=0.001) as node:
        robot = Robot(node, peer)
        tell(node, peer.talk(CameraInfo, "/camera_info"), camera_info(town))
        said = robot.show(town.frame(5).image)
        assert (said["pose_source"], said["inliers"]) == ("place", "")
        points = node.loaded.localizer.points
        assert points.told == "left out, as it takes longer than refine_budget_ms"
        embed = node.loaded.embedder.embed
        waiting = town.frame(9).image

        def slow(*arguments: Any, **more: Any) -> Any:
            """A newer image comes while the network works on this one."""
            monkeypatch.undo()
            robot.stamp += 10**9
            robot.camera.publish(image_message(waiting, robot.stamp))
            until(node.behind, "the next image")
            return embed(*arguments, **more)

        monkeypatch.setattr(node.loaded.embedder, "embed", slow)
        look = type(points).look
        why = []

        def noted(*arguments: Any) -> Any:
            found = look(*arguments)
            why.append(points.told if found is None else "looked")
            return found

        monkeypatch.setattr(type(points), "look", noted)
        before = len(robot.matches)
        robot.stamp += 10**9
        robot.camera.publish(image_message(town.frame(7).image, robot.stamp))
        until(lambda: len(robot.matches) == before + 2, "both matches")
        assert values(robot.matches[-2].status[0])["inliers"] == ""
    assert node.counters["dropped"] == 0


@pytest.mark.parametrize("features", ["rootsift", "disk"])
def test_a_live_map_gets_points(
    features: str, town: MetricTown, tmp_path: Path, peer: Peer
) -> None:
    from map_builder_world import deliver, feed, map_builder, save
    from nav_msgs.msg import Odometry
    from std_msgs.msg import Header

    from saane_ros.ros.localizer.match_messages import to_pose
    from saane_ros.ros.shared.clock import to_stamp

    path = tmp_path / "live.routemap"
    given = {"map": str(path), "metric": True, "every": 1.0, "camera_pose": "0 0 1.5 0 0 0"}
    given["features"] = features
    if features != "rootsift":
        given["features"] = str(write_card(tmp_path / "cards", features))
    frames = [town.frame(index) for index in range(0, 24, 3)]
    with map_builder(**given) as node:
        camera = peer.talk(Image, "image")
        poses = peer.talk(Odometry, "odometry")
        tell(node, peer.talk(CameraInfo, "/camera_info"), camera_info(town))

        def publish(number: int, frame: Frame = frames[0]) -> None:
            header = Header(stamp=to_stamp(number * S), frame_id="odom")
            message = Odometry(header=header, child_frame_id="base_link")
            assert frame.pose is not None
            message.pose.pose = to_pose(frame.pose)
            poses.publish(message)

        first = feed(node, publish, 1) + 1
        for number, frame in enumerate(frames, first):
            deliver(node, lambda number, frame=frame: publish(number, frame), number)
            done = node.counters["processed"]
            camera.publish(image_message(frame.image, number * S))
            until(lambda done=done: node.counters["processed"] > done, f"image {number}")
        answer = save(peer)
    assert answer.success, answer.message
    points = RouteMap.open(path).points
    assert points is not None, answer.message
    assert points.features.startswith(given["features"])
    assert points.camera.like(town.camera)
    assert points.points > 100
