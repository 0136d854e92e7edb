"""Where the cameras of RobotCar sit on its body, from the SDK's `extrinsics/` and `models/`.

Files hold x y z roll pitch yaw. `ins.txt` takes points of the inertial unit to the vehicle, a
camera's file takes points of the vehicle to the camera (the stereo camera is the vehicle's frame),
both with axes x forward, y right, z down.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.files import quaternion_of, rotation_of
from saane_ros.data.poses.transforms import read_mount
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
        found = read_mount(path.read_text(encoding="utf-8"))
        if found is None:
            raise ValueError
    except (OSError, ValueError, SaaneError) as error:
        raise SaaneError(
            f"The extrinsics {path} are missing or are not six numbers: take `extrinsics/` of the "
            "RobotCar SDK."
        ) from error
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_of(found.orientation)
    matrix[:3, 3] = found.position
    return matrix
