"""The pinhole camera and where it sits on the body."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOUNT_HEIGHT_M = 1.5
"""The optical centre lies this far above the body's origin, which touches the ground."""

OPTICAL_FROM_BODY: Array = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
"""Turns body axes (x forward, y left, z up) into optical ones (x right, y down, z forward)."""


@dataclass(frozen=True)
class Camera:
    """A distortion-free camera; pixel centres lie at whole numbers. `fov_deg` is horizontal."""

    width: int = 320
    height: int = 240
    fov_deg: float = 75.0

    @property
    def focal(self) -> float:
        """Focal length in pixels, the same in x and y."""
        return self.width / 2 / float(np.tan(np.radians(self.fov_deg) / 2))

    @cached_property
    def matrix(self) -> Array:
        """K, 3 x 3: optical metres to homogeneous pixels."""
        f = self.focal
        return np.array(
            [[f, 0.0, (self.width - 1) / 2], [0.0, f, (self.height - 1) / 2], [0.0, 0.0, 1.0]]
        )

    @cached_property
    def rays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """x/z and y/z of every pixel in row-major order, each (H * W,)."""
        k = self.matrix
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        x = (u.ravel() - k[0, 2]) / k[0, 0]
        y = (v.ravel() - k[1, 2]) / k[1, 1]
        return x.astype(np.float32), y.astype(np.float32)


@dataclass(frozen=True)
class Viewpoint:
    """Where the camera looks from: p_optical = rotation @ (p_map - centre)."""

    rotation: Array
    centre: Array

    @staticmethod
    def on_body(position: Array, map_from_body: Array) -> Viewpoint:
        """The camera rigidly mounted on a body at `position` with axes `map_from_body` (3 x 3)."""
        return Viewpoint(
            rotation=OPTICAL_FROM_BODY @ map_from_body.T,
            centre=position + map_from_body @ np.array([0.0, 0.0, MOUNT_HEIGHT_M]),
        )


def rotation_from_angles(yaw: float, pitch: float, roll: float) -> Array:
    """map_from_body for intrinsic z-y-x angles in radians; positive pitch looks down."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1.0]])
    about_y = np.array([[cp, 0, sp], [0, 1.0, 0], [-sp, 0, cp]])
    about_x = np.array([[1.0, 0, 0], [0, cr, -sr], [0, sr, cr]])
    rotation: Array = about_z @ about_y @ about_x
    return rotation


def quaternion_from_angles(
    yaw: float, pitch: float, roll: float
) -> tuple[float, float, float, float]:
    """The unit quaternion (x, y, z, w) of `rotation_from_angles`."""
    cy, sy, cp, sp = np.cos(yaw / 2), np.sin(yaw / 2), np.cos(pitch / 2), np.sin(pitch / 2)
    cr, sr = np.cos(roll / 2), np.sin(roll / 2)
    return (
        float(sr * cp * cy - cr * sp * sy),
        float(cr * sp * cy + sr * cp * sy),
        float(cr * cp * sy - sr * sp * cy),
        float(cr * cp * cy + sr * sp * sy),
    )
