"""Where the cameras of RobotCar sit on its body, from the SDK's `extrinsics/` and `models/`.

Files hold x y z roll pitch yaw. `ins.txt` takes points of the inertial unit to the vehicle, a
camera's file takes points of the vehicle to the camera (the stereo camera is the vehicle's frame),
both with axes x forward, y right, z down.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.files import quaternion_of
from saane_ros.data.robotcar.lens import Pinhole
from saane_ros.errors import SaaneError
from saane_ros.types import Pose

Matrix = NDArray[np.float64]
BODY_FROM_INS: Matrix = np.diag([1.0, -1.0, -1.0, 1.0])
"""The inertial unit's axes turned to x forward, y left, z up."""


def camera_on_body(folder: Path, camera: str, pinhole: Pinhole) -> Pose:
    """Pose of a camera's optical frame (x right, y down, z forward) on the body of the poses."""
    vehicle_from_ins = read_extrinsics(folder / "ins.txt")
    camera_from_vehicle = read_extrinsics(folder / f"{camera.split('/')[0]}.txt")
    camera_from_ins = camera_from_vehicle @ vehicle_from_ins
    found = BODY_FROM_INS @ np.linalg.solve(camera_from_ins, pinhole.camera_from_optical)
    x, y, z = (float(value) for value in found[:3, 3])
    return Pose((x, y, z), quaternion_of(found[:3, :3]))


def read_extrinsics(path: Path) -> Matrix:
    """The 4 x 4 transform of a file: a turn by yaw, pitch, roll about z, y, x, and a shift."""
    try:
        values = [float(word) for word in path.read_text(encoding="utf-8").split()]
        if len(values) != 6 or not all(map(math.isfinite, values)):
            raise ValueError
    except (OSError, ValueError) as error:
        raise SaaneError(
            f"The extrinsics {path} are missing or are not six numbers: take `extrinsics/` of the "
            "RobotCar SDK."
        ) from error
    (cr, cp, cy), (sr, sp, sy) = np.cos(values[3:]), np.sin(values[3:])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    matrix[:3, 3] = values[:3]
    return matrix
