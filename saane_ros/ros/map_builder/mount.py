"""Where the camera of a live drive sits on what its poses are of, for the map to tell."""

from __future__ import annotations

from typing import Any

from saane_ros.data.bags.mounts import frame_of_poses
from saane_ros.data.poses.transforms import StaticTransforms, frame_name, read_mount
from saane_ros.ros.map_builder.settings import MapBuilderSettings
from saane_ros.types import Pose


class LiveMount:
    """Collects frames' names and static transforms. SaaneError where `camera_pose` is unreadable.

    body: frame that the poses are of; `base_frame` until a message tells another.
    """

    def __init__(self, settings: MapBuilderSettings) -> None:
        self.transforms = StaticTransforms()
        self.body = frame_name(settings.base_frame)
        self._given = read_mount(settings.camera_pose)
        self._camera_frame = ""

    def take_pose(self, message: Any) -> None:
        """A message of the pose source."""
        self.body = frame_of_poses(message) or self.body

    def take_image(self, message: Any) -> None:
        """An image of the drive."""
        self._camera_frame = message.header.frame_id

    @property
    def camera(self) -> Pose | None:
        """The camera on the body, axes x forward, y left, z up; None where nothing tells it."""
        return self._given or self.transforms.camera(self._camera_frame, self.body)
