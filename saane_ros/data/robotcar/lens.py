"""The lens models of RobotCar: pinhole values, and a table that undoes the distortion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.types import Rgb

LENS_MODELS = {
    "stereo/left": "stereo_wide_left",
    "stereo/right": "stereo_wide_right",
    "stereo/centre": "stereo_narrow_left",
    "mono_left": "mono_left",
    "mono_right": "mono_right",
    "mono_rear": "mono_rear",
}


@dataclass(frozen=True)
class Pinhole:
    """fx, fy, cx, cy in pixels, and camera_from_optical: float64 (4, 4), from the optical frame
    (x right, y down, z forward) to the camera's (x forward, y right, z down)."""

    values: tuple[float, float, float, float]
    camera_from_optical: NDArray[np.float64]

    @property
    def matrix(self) -> list[list[float]]:
        """K, 3 x 3."""
        fx, fy, cx, cy = self.values
        return [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]


@dataclass(frozen=True)
class LensTable:
    """Where each output pixel lies in the raw image.

    columns, rows: float32 (H, W), source coordinates counted from 0.
    """

    columns: NDArray[np.float32]
    rows: NDArray[np.float32]

    def undistort(self, image: Rgb) -> Rgb:
        """The image without lens distortion, bilinear; black where the lens saw nothing."""
        return np.asarray(
            cv2.remap(image, self.columns, self.rows, cv2.INTER_LINEAR), dtype=np.uint8
        )


def read_pinhole(folder: Path, camera: str = "stereo/centre") -> Pinhole:
    """`<model>.txt` of the SDK's `models/`: fx fy cx cy, then a 4 x 4 matrix."""
    path = folder / f"{LENS_MODELS[camera]}.txt"
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line]
        fx, fy, cx, cy = map(float, lines[0])
        matrix = np.array([[float(value) for value in line] for line in lines[1:5]])
        if matrix.shape != (4, 4) or not np.isfinite([*matrix.ravel(), fx, fy, cx, cy]).all():
            raise ValueError
    except (OSError, ValueError, IndexError) as error:
        raise SaaneError(
            f"The camera model {path} is missing or is not four numbers and a 4x4 matrix: take "
            "`models/` of the RobotCar SDK."
        ) from error
    return Pinhole((fx, fy, cx, cy), matrix)


def read_lens_table(
    folder: Path, camera: str = "stereo/centre", size: tuple[int, int] = (960, 1280)
) -> LensTable:
    """`<model>_distortion_lut.bin`; size: height and width of the camera's images.

    Little-endian float64, all source columns and then all source rows, both row-major.
    """
    path = folder / f"{LENS_MODELS[camera]}_distortion_lut.bin"
    try:
        found = path.stat().st_size
    except OSError as error:
        raise SaaneError(
            f"The lens table {path} is missing: take `models/` of the RobotCar SDK."
        ) from error
    expected = 2 * size[0] * size[1] * 8
    if found != expected:
        raise SaaneError(
            f"The lens table {path} has {found} bytes, but {size[1]}x{size[0]} images need "
            f"{expected}: take `models/` of the RobotCar SDK for this camera."
        )
    columns, rows = np.fromfile(path, "<f8").reshape(2, *size).astype(np.float32)
    if not (np.isfinite(columns).all() and np.isfinite(rows).all()):
        raise SaaneError(
            f"The lens table {path} holds values that are not finite: take `models/` of the "
            "RobotCar SDK again."
        )
    return LensTable(columns, rows)
