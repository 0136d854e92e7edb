"""What a map that is built live tells of its body and its camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rigid import matrix
from ros_world import MS, Peer, image_message, spinning, transforms, until
from scenes import ColourGridEmbedder, smooth_scene
from sensor_msgs.msg import Image, NavSatFix
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from saane_ros.data.poses.transforms import OPTICAL, compose
from saane_ros.errors import SaaneError
from saane_ros.ros.map_builder.mount import LiveMount
from saane_ros.ros.map_builder.node import MapBuilderNode
from saane_ros.ros.map_builder.settings import MapBuilderSettings
from saane_ros.ros.shared.clock import to_stamp
from saane_ros.ros.shared.tf_messages import TFMessage
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Pose

ON_ROOF = Pose((1.5, 0.2, 1.8))
BROADCASTER = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def odometry(stamp_ns: int, child: str) -> Odometry:
    message = Odometry(header=Header(stamp=to_stamp(stamp_ns), frame_id="odom"))
    message.child_frame_id = child
    message.pose.pose.position.x = stamp_ns / 1e9
    message.pose.pose.orientation.w = 1.0
    return message


def built(peer: Peer, path: Path, child: str, **given: Any) -> RouteMap:
    """A map of two images of a drive whose odometry names this child."""
    given = {"map": str(path), "unit": "seconds", "every": 0.05, **given}
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    with spinning(
        lambda context: MapBuilderNode(
            lambda settings: ColourGridEmbedder(), context=context, parameter_overrides=overrides
        )
    ) as node:
        camera, wheels = peer.talk(Image, "image"), peer.talk(Odometry, "odometry")
        # The second of one stamp is left out: by then both ends know each other.
        until(lambda: wheels.publish(odometry(0, child)) or node._poses.ignored, "the wheels")
        for tenth in range(1, 8):
            wheels.publish(odometry(100 * tenth * MS, child))
        until(lambda: node._poses.newest_ns == 700 * MS, "the odometry")
        if peer.count_publishers("/tf_static"):
            until(lambda: len(node._mount.transforms), "the transforms")
        for number in (2, 4):
            camera.publish(image_message(smooth_scene(number), 100 * number * MS))
            until(lambda n=number: node.counters["processed"] == n // 2, "a place")
        assert peer.ask(Trigger, "/map_builder/save", Trigger.Request()).success
    return RouteMap.open(path)


@pytest.mark.usefixtures("tf")
def test_the_map_tells_the_odometrys_body_and_the_camera_on_it(peer: Peer, tmp_path: Path) -> None:
    static = peer.create_publisher(TFMessage, "/tf_static", BROADCASTER)
    static.publish(transforms(("axle", "camera", compose(ON_ROOF, OPTICAL))))
    info = built(peer, tmp_path / "a.routemap", "axle").info
    assert info.body == "axle"
    assert info.camera is not None
    np.testing.assert_allclose(matrix(info.camera), matrix(ON_ROOF), atol=1e-9)


def test_a_given_camera_is_told_and_none_is_unknown(peer: Peer, tmp_path: Path) -> None:
    given = built(peer, tmp_path / "a.routemap", "base_link", camera_pose="1.5 0.2 1.8 0 0 0").info
    assert (given.body, given.camera) == ("base_link", ON_ROOF)
    unknown = built(peer, tmp_path / "b.routemap", "base_link").info
    assert (unknown.body, unknown.camera) == ("base_link", None)


def test_messages_that_name_no_body_are_of_the_base_frame() -> None:
    mount = LiveMount(MapBuilderSettings(base_frame="/cart"))
    mount.take_pose(PoseStamped(header=Header(frame_id="map")))
    assert mount.body == "cart"
    mount.take_pose(Odometry(header=Header(frame_id="odom")))
    assert mount.body == "cart"
    mount.take_pose(NavSatFix(header=Header(frame_id="antenna")))
    assert mount.body == "antenna"
    assert mount.camera is None
    with pytest.raises(SaaneError, match="give six numbers"):
        LiveMount(MapBuilderSettings(camera_pose="1.5"))
