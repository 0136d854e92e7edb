"""The localizer's place in the tree of frames: its camera's mount, and map -> odom on request."""

from __future__ import annotations

import time
from collections.abc import Callable

from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from std_msgs.msg import Header

from saane_ros.data.poses.transforms import StaticTransforms, frame_name
from saane_ros.errors import SaaneError
from saane_ros.localization.body import Base
from saane_ros.localization.localizer import Localizer
from saane_ros.localization.map_choice import MapChoice
from saane_ros.ros.localizer.odometry_transform import OdometryTransform, frames_fault
from saane_ros.ros.shared.clock import nanoseconds, steady_timer, to_stamp
from saane_ros.ros.shared.interface import INPUTS, OUTPUTS
from saane_ros.ros.shared.qos import overridable
from saane_ros.ros.shared.tf_messages import NOT_SPOKEN, SPOKEN, TFMessage
from saane_ros.settings import Settings
from saane_ros.types import Match, MatchState, Pose

_PERIOD_S = 0.05
_PATIENCE_S = 5.0
"""Latched transforms come within seconds; who is told earlier is told for nothing."""


class Frames:
    """Learns where the camera sits, and publishes what corrects the odometry.

    localized: what `~/localized` says; the transform is published only while it is True.
    """

    def __init__(self, node: Node, localized: Callable[[], bool]) -> None:
        self._node, self._localized = node, localized
        self._choice: MapChoice | None = None
        self._camera_frame = ""
        self._subscription: Subscription | None = None
        self._publisher: Publisher | None = None
        self._timer: Timer | None = None
        self._odometry_frames: tuple[str, str] | None = None
        self._map: Localizer | None = None
        self._forget()

    def configure(self, choice: MapChoice) -> None:
        """Serve these maps from now on; SaaneError where `publish_tf` cannot be had."""
        settings = choice.settings
        if settings.publish_tf and not SPOKEN:
            raise SaaneError(
                f"The transform of publish_tf cannot be spoken, as {NOT_SPOKEN}: install it from "
                "your ROS 2, or set publish_tf to false."
            )
        if settings.publish_tf and not settings.base_frame:
            raise SaaneError(
                "publish_tf needs base_frame, the robot's frame that the odometry moves: set it."
            )
        self._choice, self._map = choice, None
        self._correction.withdraw()
        for one in choice.localizers:
            if one.base.assumed:
                self._node.get_logger().info(one.base.assumed)

    def start(self) -> None:
        """Listen to /tf_static, and publish on /tf where that is wanted."""
        settings = self._settings
        if SPOKEN and settings.base_frame:
            topic = INPUTS["tf_static"]
            self._subscription = self._node.create_subscription(
                topic.type,
                topic.name,
                self._static.take,
                **overridable(self._node, topic.name, topic.qos, "subscription"),
            )
        if settings.publish_tf:
            topic = OUTPUTS["tf"]
            self._publisher = self._node.create_publisher(
                topic.type,
                topic.name,
                **overridable(self._node, topic.name, topic.qos, "publisher"),
            )
        self._timer = steady_timer(self._node, _PERIOD_S, self._tick)

    def stop(self) -> None:
        """Undo `start`, and forget what was heard."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._timer = self._publisher = self._subscription = None
        self._forget()

    def see(self, camera_frame: str) -> None:
        """An image of this frame is about to be localized."""
        if not self._camera_frame:
            self._seen_at = time.monotonic()
        self._camera_frame = frame_name(camera_frame) or "no frame"
        assert self._choice is not None
        for one in self._choice.localizers:
            base = one.base
            if base.given is None and base.frame:
                # A transform may come late, or anew.
                base.camera = self._static.camera(camera_frame, base.frame) or base.camera

    def take(self, match: Match) -> None:
        """What became of the image."""
        if self._map is not self._localizer:  # a correction is of one map's frame
            self._map = self._localizer
            self._correction.withdraw()
        if match.state is MatchState.LOCALIZED and self._localized():
            self._correction.take(match.stamp_ns, match.pose)

    def odometry(self, message: Odometry) -> None:
        """Keep where the odometry was, for the images of that time."""
        if self._publisher is not None:
            names = frame_name(message.header.frame_id), frame_name(message.child_frame_id)
            self._odometry_frames = names
            self._correction.add(nanoseconds(message.header.stamp), message)

    def report(self) -> dict[str, object]:
        """What `/diagnostics` tells of it."""
        if self._choice is None:
            return {"pose_of": None, "map_to_odom": None}
        told = "off"
        if self._publisher is not None:
            found = "published" if self._published else "waits for a localized frame"
            told = self._fault or found
        return {"pose_of": self._base.body, "map_to_odom": told}

    @property
    def _settings(self) -> Settings:
        assert self._choice is not None
        return self._choice.settings

    @property
    def _localizer(self) -> Localizer:
        """That of the map that the robot is on; the first one while all are searched."""
        assert self._choice is not None
        return self._choice.current or self._choice.localizers[0]

    @property
    def _base(self) -> Base:
        return self._localizer.base

    @property
    def _map_frame(self) -> str:
        return frame_name(self._localizer.route_map.info.frame_id)

    def _forget(self) -> None:
        self._static = StaticTransforms()
        self._correction = OdometryTransform()
        self._odometry_frames = None
        self._seen_at = self._started_at = time.monotonic()
        self._camera_frame = ""
        self._fault = self._told_mount = self._told_fault = ""
        self._published = False
        self._last_stamp_ns = 0

    def _tick(self) -> None:
        self._tell_mount()
        if self._publisher is None:
            return
        self._fault = self._transform_fault()
        self._tell_fault()
        self._published = False
        if self._fault or not self._localized():
            self._correction.withdraw()
            return
        found = self._correction.odom_in_map()
        if found is not None:
            self._publish(found)

    def _publish(self, odom_in_map: Pose) -> None:
        assert self._publisher is not None
        assert self._odometry_frames is not None
        self._published = True
        ahead = round(1e9 * self._settings.transform_tolerance)
        stamp_ns = self._node.get_clock().now().nanoseconds + ahead
        if stamp_ns == self._last_stamp_ns:  # simulated time stands, and listeners know this one
            return
        self._last_stamp_ns = stamp_ns
        (x, y, z), (qx, qy, qz, qw) = odom_in_map.position, odom_in_map.orientation
        stamped = TransformStamped(
            header=Header(stamp=to_stamp(stamp_ns), frame_id=self._map_frame),
            child_frame_id=self._odometry_frames[0],
            transform=Transform(
                translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=qx, y=qy, z=qz, w=qw)
            ),
        )
        self._publisher.publish(TFMessage(transforms=[stamped]))

    def _transform_fault(self) -> str:
        """Why map -> odom cannot be told, in words; empty where it can."""
        base, frames = self._base, self._odometry_frames
        topic = self._node.resolve_topic_name(INPUTS["odometry"].name)
        if base.wanting:
            return f"nothing tells where the camera sits on {base.frame}"
        if frames is None:
            return f"no odometry came on {topic}"
        odom, child = frames
        fault = frames_fault(odom, child, self._map_frame, topic)
        if fault:
            return fault
        base_in_child = self._static.find(base.frame, child)
        if base_in_child is None:
            return f"no static transforms connect {base.frame} with {child}, which {topic} is of"
        self._correction.base_in_child = base_in_child
        return self._localizer.odometry_fault

    def _tell_mount(self) -> None:
        """Say once that the mount did not come."""
        base = self._base
        waited = self._camera_frame and time.monotonic() - self._seen_at > _PATIENCE_S
        if not base.wanting or not waited or self._told_mount == self._camera_frame:
            return
        self._told_mount = self._camera_frame
        why = "no chain of transforms on /tf_static connects them" if SPOKEN else NOT_SPOKEN
        self._node.get_logger().warning(
            f"Nothing tells where {self._camera_frame}, the frame of the images, sits on "
            f"{base.frame}, as {why}: poses stay those of {base.body}, as in the map. Publish that "
            "transform, or set camera_pose."
        )

    def _tell_fault(self) -> None:
        """Say once why the transform is not published, or that it can be again."""
        if time.monotonic() - self._started_at < _PATIENCE_S or self._fault == self._told_fault:
            return
        self._told_fault = self._fault
        if self._fault:
            self._node.get_logger().warning(
                f"The transform from {self._map_frame} to the odometry's frame is not published, "
                f"as {self._fault}."
            )
