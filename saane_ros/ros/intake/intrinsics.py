"""The camera's intrinsics from the CameraInfo beside its images; what is wrong with them in words.

A frame does not wait for them: it has those that came last, or none.
"""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from saane_ros.data.bags.mounts import camera_info_topic
from saane_ros.errors import SaaneError
from saane_ros.metric.cameras import Camera, camera_of_message
from saane_ros.ros.shared.interface import INPUTS
from saane_ros.ros.shared.qos import overridable


class LiveIntrinsics:
    """Hears CameraInfo.

    topic: theirs, resolved.  camera: by the last message that tells one, None before the first.
    changed: a sentence where the camera became another one since the first message; else empty.
    """

    def __init__(self, node: Node, images: str, topic: str) -> None:
        """images: topic of the images, resolved.  topic: of CameraInfo; empty: beside them."""
        self._node = node
        self.topic = str(node.resolve_topic_name(topic or camera_info_topic(images)))
        self.camera: Camera | None = None
        self.changed = ""
        self._fault = ""
        self._last: tuple[Any, ...] = ()
        self._first: Camera | None = None
        qos = INPUTS["camera_info"].qos
        self._subscription = node.create_subscription(
            CameraInfo,
            self.topic,
            self._take,
            **overridable(node, self.topic, qos, "subscription"),
        )

    def close(self) -> None:
        """Hear no more; what was heard stays."""
        self._node.destroy_subscription(self._subscription)

    @property
    def problem(self) -> str:
        """Why there are no intrinsics, or not the same all the time; empty where all is well."""
        if self._fault or self.camera is not None:
            return self._fault or self.changed
        return f"No CameraInfo came on {self.topic}: publish it, or set camera_info_topic."

    def _take(self, message: CameraInfo) -> None:
        roi = message.roi
        # All that the camera is made of: most messages are the same again.
        told = (
            *(message.width, message.height, message.distortion_model),
            *(tuple(message.k), tuple(message.d), message.binning_x, message.binning_y),
            *(roi.x_offset, roi.y_offset, roi.width, roi.height),
        )
        if told == self._last:
            return
        self._last = told
        try:
            self.camera, self._fault = camera_of_message(message, self.topic), ""
        except SaaneError as error:
            self.camera, self._fault = None, str(error)
            return
        self._first = self._first or self.camera
        if not self._first.like(self.camera):
            self.changed = (
                f"The intrinsics on {self.topic} changed from a focal length of "
                f"{self._first.focal:.1f} to {self.camera.focal:.1f} pixels: fix zoom and focus."
            )
