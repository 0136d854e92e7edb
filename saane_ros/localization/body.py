"""Whose pose is told: the robot's base, whatever body the map's poses are of.

A map's places have the poses of the body that drove when it was made, and a match says that the own
camera is where the map's camera was. With C the camera on the map's body and O the own camera on
the robot's base, the base is at (body in map) C O^-1: another vehicle, or a camera mounted
elsewhere, is told by its own mount.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.files import rotation_of
from saane_ros.data.poses.transforms import (
    IDENTITY,
    compose,
    frame_name,
    inverse,
    read_mount,
)
from saane_ros.localization.pose_prior import PosePrior
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Pose

Covariance = tuple[float, ...]
"""Row-major 6 x 6 over (x, y, z, roll, pitch, yaw), turns about the axes of the map."""


class Base:
    """Turns poses of the map's body into those of the robot's base.

    frame: `base_frame`; empty leaves all poses as they are.  camera: the own camera on the base, by
    `camera_pose` or by whoever learns it; None while unknown, when poses stay those of the map's
    body. Raises SaaneError where `camera_pose` cannot be read.
    """

    def __init__(self, route_map: RouteMap, settings: Settings) -> None:
        self.frame = frame_name(settings.base_frame)
        self.given = read_mount(settings.camera_pose)
        self.camera = self.given
        self._info, self._places = route_map.info, route_map.places

    @property
    def wanting(self) -> bool:
        """Whether the own camera's mount would move the poses, and is not known."""
        return bool(self.frame) and self._info.camera is not None and self.camera is None

    @property
    def assumed(self) -> str:
        """A sentence where it is taken on trust that the poses are the base's; else empty.

        Poses that the map calls so are, as long as nobody says that the camera was moved.
        """
        known = self._info.camera is not None
        known |= self._info.body == self.frame and self.given is None
        if not self.frame or known or np.isnan(self._places.positions[:, 0]).all():
            return ""
        return (
            f"Map {self._info.name} does not tell where its camera sat on its vehicle, so its "
            f"poses are taken for those of {self.frame}."
        )

    @property
    def body(self) -> str:
        """Whose poses come out, for a person."""
        of_map = self._info.body or "the map's vehicle"
        if not self.frame or self.wanting:
            return of_map
        return self.frame

    @property
    def base_in_body(self) -> Pose:
        """The robot's base on the map's body, if both cameras look from one point."""
        if not self.frame or self._info.camera is None or self.camera is None:
            return IDENTITY
        return compose(self._info.camera, inverse(self.camera))

    def told(self, prior: PosePrior) -> PosePrior:
        """A pose of the base in the map as that of the map's body; its covariance stays."""
        return replace(prior, pose=self.body_of(prior.pose))

    def body_of(self, pose: Pose) -> Pose:
        """The pose of the map's body where the base has this one, the opposite of `moved`."""
        offset = self.base_in_body
        return pose if offset == IDENTITY else compose(pose, inverse(offset))

    def moved(self, pose: Pose, covariance: Covariance) -> tuple[Pose, Covariance]:
        """The base's pose and covariance in the map, of those of the map's body."""
        offset = self.base_in_body
        if offset == IDENTITY:
            return pose, covariance
        base = compose(pose, offset)
        arm = rotation_of(pose.orientation) @ np.array(offset.position)
        lever = np.eye(6)
        # A small turn by t about the map's axes moves the arm's end by t x arm = -arm x t.
        lever[:3, 3:] = -_cross(arm)
        moved = lever @ np.array(covariance).reshape(6, 6) @ lever.T
        return base, tuple(float(value) for value in moved.ravel())


def _cross(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix M with M u = vector x u."""
    x, y, z = vector
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
