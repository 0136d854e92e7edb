"""The localizer in the tree of frames, over DDS: /tf_static in, ~/pose of its base and /tf out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from lifecycle_msgs.srv import GetState
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rigid import matrix
from ros_world import MS, Peer, image_message, spinning, transforms, until
from rosgraph_msgs.msg import Clock
from scenes import ColourGridEmbedder, smooth_scene
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from saane_ros.data.poses.files import yaw_quaternion
from saane_ros.data.poses.transforms import IDENTITY, OPTICAL, compose
from saane_ros.ros.intake.travelled import pose_values
from saane_ros.ros.localizer import frames
from saane_ros.ros.localizer.node import LocalizerNode
from saane_ros.ros.shared.clock import nanoseconds, to_stamp
from saane_ros.ros.shared.tf_messages import TFMessage
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame, Pose

pytestmark = pytest.mark.usefixtures("tf")

PLACES = 30
ON_ROOF = Pose((1.5, 0.0, 1.8))
AT_REAR = Pose((-0.4, 0.1, 0.8), yaw_quaternion(math.pi))
# As tf2_ros has them: its listeners, its broadcaster of static transforms.
LISTENER = QoSProfile(depth=100)
BROADCASTER = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def route_map(tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    """A street to the east that a camera on a roof drove, a place every two metres."""
    drive = [
        Frame(smooth_scene(n), n * 1000 * MS, f"{n}", Pose((2.0 * n, 0.0, 0.0)))
        for n in range(PLACES)
    ]
    path = tmp_path_factory.mktemp("map") / "street.routemap"
    return build_map(drive, ColourGridEmbedder(), path, body="base_link", camera=ON_ROOF)


def localizer(route_map: RouteMap, **parameters: Any) -> Any:
    given = {"map": str(route_map.path), **parameters}
    return spinning(
        lambda context: LocalizerNode(
            lambda settings: ColourGridEmbedder(),
            context=context,
            parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
        )
    )


def odometry(stamp_ns: int, pose: Pose, child: str = "base_link") -> Odometry:
    message = Odometry(
        header=Header(stamp=to_stamp(stamp_ns), frame_id="odom"), child_frame_id=child
    )
    message.pose.pose.position.x, message.pose.pose.position.y = pose.position[:2]
    (
        message.pose.pose.orientation.x,
        message.pose.pose.orientation.y,
        message.pose.pose.orientation.z,
        message.pose.pose.orientation.w,
    ) = pose.orientation
    return message


def driven(seconds: float) -> Pose:
    """Where the odometry is: north at the speed of a place a second, from a start of its own."""
    return Pose((7.0, 2.0 * seconds - 3.0, 0.0), yaw_quaternion(math.pi / 2))


class Robot:
    """Camera and wheels of a robot that drives along the street."""

    def __init__(self, node: LocalizerNode, peer: Peer, child: str = "base_link") -> None:
        self.node, self.peer, self.child = node, peer, child
        self.poses = peer.hear(PoseWithCovarianceStamped, "/localizer/pose")
        until(lambda: peer.count_publishers("/localizer/pose"), "the poses")
        until(node.output._publishers["pose"].get_subscription_count, "the peer")
        self.camera = peer.talk(Image, "image")
        self.wheels = peer.talk(Odometry, "odometry")
        self.second = 3

    def drive(self, images: int, moving: bool = True) -> None:
        """A second of odometry and an image, so many times."""
        for _ in range(images):
            for tenth in range(11):
                at = self.second - 1 + tenth / 10
                where = driven(at if moving else 3.0)
                self.wheels.publish(odometry(round(at * 1000) * MS, where, self.child))
            until(self._heard, "the odometry")
            done = self.node.counters["processed"]
            self.camera.publish(image_message(smooth_scene(self.second), self.second * 1000 * MS))
            until(lambda done=done: self.node.counters["processed"] == done + 1, "a match")
            self.second += 1

    def _heard(self) -> bool:
        stamps = self.node._travelled._stamps
        return bool(stamps) and stamps[-1] == self.second * 1000 * MS


def told(node: LocalizerNode) -> str:
    return str(node.report()["map_to_odom"])


def test_the_pose_is_of_the_own_base_by_latched_transforms(route_map: RouteMap, peer: Peer) -> None:
    """Two broadcasters that spoke before the localizer came, as a robot's description does."""
    on_mast = compose(Pose((0.0, 0.0, -0.5)), compose(AT_REAR, OPTICAL))
    first = peer.create_publisher(TFMessage, "/tf_static", BROADCASTER)
    second = peer.create_publisher(TFMessage, "/tf_static", BROADCASTER)
    first.publish(transforms(("base_link", "mast", Pose((0.0, 0.0, 0.5)))))
    second.publish(transforms(("/mast", "camera", on_mast)))
    with localizer(route_map) as node:
        robot = Robot(node, peer)
        until(lambda: len(node._frames._static) == 2, "the transforms")
        robot.drive(10)
        assert node.report()["pose_of"] == "base_link"
        assert told(node) == "off"
        until(lambda: len(robot.poses) > 4, "poses")
        assert not peer.get_publishers_info_by_topic("/tf")
    for message in robot.poses:
        place = nanoseconds(message.header.stamp) / 1e9
        position, orientation = pose_values(message.pose.pose)
        assert message.header.frame_id == "map"
        camera = matrix(Pose(position, orientation)) @ matrix(AT_REAR)
        expected = matrix(Pose((2.0 * place, 0.0, 0.0))) @ matrix(ON_ROOF)
        np.testing.assert_allclose(camera, expected, atol=2.5)
        # The place is one of several; how the cameras sit is exact.
        np.testing.assert_allclose(camera[1:, :], expected[1:, :], atol=1e-6)


def test_a_given_mount_wins_over_transforms(route_map: RouteMap, peer: Peer) -> None:
    wrong = peer.create_publisher(TFMessage, "/tf_static", BROADCASTER)
    wrong.publish(transforms(("base_link", "camera", Pose((50.0, 0.0, 0.0)))))
    with localizer(route_map, camera_pose="1.5 0 1.8 0 0 0") as node:
        robot = Robot(node, peer)
        until(lambda: len(node._frames._static), "the transform")
        robot.drive(8)
        until(lambda: robot.poses, "a pose")
    for message in robot.poses:
        place = nanoseconds(message.header.stamp) / 1e9
        assert message.pose.pose.position.x == pytest.approx(2.0 * place, abs=2.5)


def test_an_unknown_mount_is_told_once_and_poses_stay_the_maps(
    route_map: RouteMap,
    peer: Peer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(frames, "_PATIENCE_S", 0.0)
    with localizer(route_map, publish_tf=True) as node:
        robot = Robot(node, peer)
        robot.drive(8)
        until(lambda: node._frames._told_mount, "the warning")
        robot.drive(2)
        until(lambda: robot.poses, "a pose")
        assert told(node) == "nothing tells where the camera sits on base_link"
    err = capfd.readouterr().err
    sentence = (
        "Nothing tells where camera, the frame of the images, sits on base_link, as no chain of "
        "transforms on /tf_static connects them: poses stay those of base_link, as in the map. "
        "Publish that transform, or set camera_pose."
    )
    assert err.count(sentence) == 1
    for message in robot.poses:
        place = nanoseconds(message.header.stamp) / 1e9
        assert message.pose.pose.position.x == pytest.approx(2.0 * place, abs=2.5)


def test_map_to_odom_is_map_base_times_the_inverse_of_odom_base(
    route_map: RouteMap, peer: Peer
) -> None:
    """By simulated time: a stamp is the clock and the tolerance, and no stamp comes twice."""
    heard = peer.hear(TFMessage, "/tf", LISTENER)
    given = {"publish_tf": True, "camera_pose": "1.5 0 1.8 0 0 0", "use_sim_time": True}
    with localizer(route_map, transform_tolerance=0.25, **given) as node:
        robot = Robot(node, peer)
        clock = peer.talk(Clock, "/clock")
        until(lambda: node._frames._publisher.get_subscription_count(), "the listener")
        clock.publish(Clock(clock=to_stamp(100_000 * MS)))
        until(lambda: node.get_clock().now().nanoseconds == 100_000 * MS, "the time")
        until(lambda: told(node) == "no odometry came on /odometry", "the fault")
        while not robot.poses and robot.second < 20:
            robot.drive(1)
        until(lambda: heard, "a transform")
        first = heard[0]
        (publisher,) = peer.get_publishers_info_by_topic("/tf")
        assert publisher.topic_type == "tf2_msgs/msg/TFMessage"
        assert publisher.qos_profile.reliability is ReliabilityPolicy.RELIABLE
        assert publisher.qos_profile.durability is DurabilityPolicy.VOLATILE
        clock.publish(Clock(clock=to_stamp(100_500 * MS)))
        until(lambda: len(heard) == 2, "a transform of the new time")
        assert told(node) == "published"
    assert [nanoseconds(m.transforms[0].header.stamp) for m in heard] == [
        100_250 * MS,
        100_750 * MS,
    ]
    (stamped,) = first.transforms
    assert (stamped.header.frame_id, stamped.child_frame_id) == ("map", "odom")
    assert _is_of_one(stamped, robot.poses, IDENTITY)


def _is_of_one(stamped: TransformStamped, poses: list[Any], axle: Pose) -> bool:
    """Whether a first transform, not smoothed yet, is that of one of the poses by matrices."""
    p, q = stamped.transform.translation, stamped.transform.rotation
    found = matrix(Pose((p.x, p.y, p.z), (q.x, q.y, q.z, q.w)))
    expected = [
        matrix(Pose(*pose_values(message.pose.pose)))
        @ np.linalg.inv(matrix(driven(nanoseconds(message.header.stamp) / 1e9)) @ matrix(axle))
        for message in poses
    ]
    return min(float(np.abs(found - one).max()) for one in expected) < 1e-6


def test_it_ends_with_a_reset_and_goes_on_when_found_again(
    route_map: RouteMap, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = peer.hear(TFMessage, "/tf", LISTENER)
    ticks: list[int] = []
    late: list[Pose] = []
    with localizer(route_map, publish_tf=True, camera_pose="1.5 0 1.8 0 0 0") as node:
        robot = Robot(node, peer)
        robot.drive(8)
        until(lambda: len(heard) > 3, "transforms at a steady rate")
        assert peer.ask(Trigger, "/localizer/reset", Trigger.Request()).success
        until(lambda: told(node) == "waits for a localized frame", "the end")
        with monkeypatch.context() as patch:
            patch.setattr(node._frames, "_publish", late.append)
            patch.setattr(node._frames, "_tell_mount", lambda: ticks.append(1))
            until(lambda: len(ticks) > 10, "ten chances")
            assert late == []
        robot.drive(8)
        until(lambda: told(node) == "published", "the next")


def test_it_ends_while_odometry_and_belief_disagree(route_map: RouteMap, peer: Peer) -> None:
    heard = peer.hear(TFMessage, "/tf", LISTENER)
    with localizer(route_map, publish_tf=True, camera_pose="1.5 0 1.8 0 0 0") as node:
        robot = Robot(node, peer)
        robot.drive(6)
        until(lambda: heard, "a transform")
        robot.drive(14, moving=False)
        assert node.loaded.localizer.odometry_fault.startswith("odometry stands while")
        until(lambda: told(node).startswith("odometry stands while"), "the end")


def test_odometry_of_another_frame_needs_a_static_transform(
    route_map: RouteMap, peer: Peer
) -> None:
    heard = peer.hear(TFMessage, "/tf", LISTENER)
    with localizer(route_map, publish_tf=True, camera_pose="1.5 0 1.8 0 0 0") as node:
        robot = Robot(node, peer, "wheels")
        robot.drive(8)
        until(
            lambda: (
                told(node)
                == "no static transforms connect base_link with wheels, which /odometry is of"
            ),
            "the refusal",
        )
        assert heard == []
        axle = Pose((0.0, 0.0, 0.3), yaw_quaternion(0.2))
        static = peer.talk(TFMessage, "/tf_static", BROADCASTER)
        static.publish(transforms(("wheels", "base_link", axle)))
        robot.drive(1)
        until(lambda: heard and len(robot.poses) > 3, "a transform")
        until(
            lambda: nanoseconds(robot.poses[-1].header.stamp) == (robot.second - 1) * 1000 * MS, ""
        )
    assert _is_of_one(heard[0].transforms[0], robot.poses, axle)


def test_what_cannot_publish_does_not_start(
    route_map: RouteMap, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with localizer(route_map, publish_tf=True, base_frame="") as node:
        until(lambda: node.problem, "the failure")
        assert node.problem.startswith("publish_tf needs base_frame")
        state = peer.ask(GetState, "/localizer/get_state", GetState.Request())
        assert state.current_state.label == "unconfigured"
    monkeypatch.setattr(frames, "SPOKEN", False)
    with localizer(route_map, publish_tf=True) as node:
        until(lambda: node.problem, "the failure")
        assert node.problem == (
            "The transform of publish_tf cannot be spoken, as tf2_msgs is not installed: install "
            "it from your ROS 2, or set publish_tf to false."
        )


def test_older_maps_are_taken_for_the_base_and_that_is_told_once(
    tmp_path: Path, peer: Peer, capfd: pytest.CaptureFixture[str]
) -> None:
    drive = [
        Frame(smooth_scene(n), n * 1000 * MS, f"{n}", Pose((2.0 * n, 0.0, 0.0)))
        for n in range(PLACES)
    ]
    older = build_map(drive, ColourGridEmbedder(), tmp_path / "old.routemap")
    heard = peer.hear(TFMessage, "/tf", LISTENER)
    with localizer(older, publish_tf=True) as node:
        robot = Robot(node, peer)
        robot.drive(8)
        until(lambda: heard, "a transform")
        assert node._frames._correction.base_in_child == IDENTITY
        assert node.report()["pose_of"] == "base_link"
    sentence = "Map old does not tell where its camera sat on its vehicle, so its poses are taken"
    out = capfd.readouterr()
    assert (out.err + out.out).count(sentence) == 1
