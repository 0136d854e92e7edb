"""The files of an Oxford RobotCar traversal: timestamps, Bayer images, lens tables and poses.

Stamps of files are Unix microseconds; this module speaks nanoseconds. Positions are UTM metres,
poses those of the inertial unit's body turned into x forward, y left, z up in an
east-north-up frame (the files are north-east-down).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.data.pose_track import PoseTrack, course_orientations
from saane_ros.errors import SaaneError
from saane_ros.types import Rgb

BAYER = {"stereo": cv2.COLOR_BayerGR2RGB, "mono": cv2.COLOR_BayerBG2RGB}
"""OpenCV names a pattern by its second row and column: gbrg is GR, rggb is BG."""

POSE_COLUMNS = ("timestamp", "northing", "easting", "down", "roll", "pitch", "yaw")
INS_GOOD = "INS_SOLUTION_GOOD"
LENS_MODELS = {
    "stereo/left": "stereo_wide_left",
    "stereo/right": "stereo_wide_right",
    "stereo/centre": "stereo_narrow_left",
    "mono_left": "mono_left",
    "mono_right": "mono_right",
    "mono_rear": "mono_rear",
}


def read_timestamps(traversal: Path, camera: str = "stereo/centre") -> list[int]:
    """Stamps (ns), rising, of the images that are on disk.

    `<camera>.timestamps` may list frames of chunks that were never downloaded.
    """
    listed = traversal / f"{camera.split('/')[0]}.timestamps"
    folder = traversal / camera
    if listed.is_file():
        lines = listed.read_text(encoding="utf-8").splitlines()
        stamps = [_microseconds(listed, line.split()[0]) for line in lines if line.strip()]
    else:
        stamps = [_microseconds(path, path.stem) for path in folder.glob("*.png")]
    present = {path.stem for path in folder.glob("*.png")} if folder.is_dir() else set()
    return sorted(stamp * 1000 for stamp in stamps if str(stamp) in present)


def image_path(traversal: Path, stamp_ns: int, camera: str = "stereo/centre") -> Path:
    return traversal / camera / f"{stamp_ns // 1000}.png"


def read_bayer(path: Path, pattern: int = BAYER["stereo"]) -> Rgb:
    """One raw image (8 bits, one channel) with its colours interpolated bilinearly."""
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.ndim != 2 or raw.dtype != np.uint8:
        raise SaaneError(
            f"{path} is no raw 8-bit Bayer image of RobotCar: extract the original archive again."
        )
    return np.asarray(cv2.cvtColor(raw, pattern), dtype=np.uint8)


@dataclass(frozen=True)
class LensModel:
    """Pinhole values (fx, fy, cx, cy) and where each output pixel lies in the raw image.

    columns, rows: float32 (H, W), source coordinates counted from 0.
    """

    pinhole: tuple[float, float, float, float]
    columns: NDArray[np.float32]
    rows: NDArray[np.float32]

    def undistort(self, image: Rgb) -> Rgb:
        """The image without lens distortion, bilinear; black where the lens saw nothing."""
        return np.asarray(
            cv2.remap(image, self.columns, self.rows, cv2.INTER_LINEAR), dtype=np.uint8
        )


def read_lens_model(
    folder: Path, camera: str = "stereo/centre", size: tuple[int, int] = (960, 1280)
) -> LensModel:
    """The model of a camera from the SDK's `models/` folder; size: height and width of its images.

    `<name>.txt` begins with fx fy cx cy; `<name>_distortion_lut.bin` holds little-endian float64,
    all source columns and then all source rows.
    """
    name = LENS_MODELS[camera]
    text, table = folder / f"{name}.txt", folder / f"{name}_distortion_lut.bin"
    try:
        fx, fy, cx, cy = map(float, text.read_text(encoding="utf-8").splitlines()[0].split())
        values = np.fromfile(table, "<f8")
        columns, rows = values.reshape(2, *size).astype(np.float32)
    except (OSError, ValueError, IndexError) as error:
        raise SaaneError(
            f"The lens model {name} in {folder} is missing or not of {size[1]}x{size[0]} images: "
            "take `models/` of the RobotCar SDK."
        ) from error
    return LensModel((fx, fy, cx, cy), columns, rows)


def read_pose_track(path: Path) -> PoseTrack:
    """Poses of `ins.csv`, `rtk.csv` or `gps.csv`, told by their header.

    Of INS only good solutions are taken. GPS has no orientation: it looks along the motion.
    """
    rows = list(_rows(path))
    good = [row for row in rows if row.get("ins_status", INS_GOOD) == INS_GOOD]
    has_attitude = bool(good) and "yaw" in good[0]
    wanted = POSE_COLUMNS if has_attitude else POSE_COLUMNS[:4]
    try:
        values = np.array([[float(row[name]) for name in wanted[1:]] for row in good])
        stamps = np.array([int(row["timestamp"]) * 1000 for row in good], np.int64)
    except (KeyError, ValueError, TypeError) as error:
        raise SaaneError(
            f"{path} lacks one of the columns {', '.join(wanted)} or a number in them: extract "
            "the original file again."
        ) from error
    if not len(values):
        raise SaaneError(f"{path} holds no usable pose: extract the original file again.")
    positions = np.column_stack([values[:, 1], values[:, 0], -values[:, 2]])
    order = np.argsort(stamps, kind="stable")
    if not has_attitude:
        return _looking_along(stamps[order], positions[order])
    return PoseTrack(stamps, positions, np.array([body_orientation(*row[3:]) for row in values]))


def body_orientation(roll: float, pitch: float, yaw: float) -> NDArray[np.float64]:
    """Quaternion (x, y, z, w) in east-north-up of roll, pitch, yaw in north-east-down, radians.

    Turning both the world's and the body's axes over keeps roll, and turns pitch, yaw around.
    """
    halves = np.array([roll, -pitch, np.pi / 2 - yaw]) / 2
    (cr, cp, cy), (sr, sp, sy) = np.cos(halves), np.sin(halves)
    return np.array(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ]
    )


def _looking_along(stamps: NDArray[np.int64], positions: NDArray[np.float64]) -> PoseTrack:
    return PoseTrack(stamps, positions, course_orientations(positions))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream))
    except OSError as error:
        raise SaaneError(
            f"The pose file {path} cannot be read: extract the traversal's gps archive there."
        ) from error


def _microseconds(path: Path, text: str) -> int:
    if not text.isdigit():
        raise SaaneError(f"{path} holds {text!r} where a time in microseconds belongs: correct it.")
    return int(text)
