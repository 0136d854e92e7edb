"""Drives written as Oxford RobotCar traversals, in the official layout.

Images are gbrg Bayer PNGs named by microseconds, poses `rtk.csv`, `gps/ins.csv` and `gps/gps.csv`
in north-east-down, the camera model `models/stereo_narrow_left.txt` with its distortion table.
The town's map frame is laid along the UTM grid at `ZERO`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.geodesy import from_utm
from saane_ros.types import Pose, Rgb

ZERO = (619_500.0, 5_734_900.0, 108.0)
"""Easting, northing (zone 30U) and altitude of the map frame's zero: in Oxford."""
ZONE = 30
_RTK = "timestamp,latitude,longitude,altitude,northing,easting,down,utm_zone"
_VELOCITY = "velocity_north,velocity_east,velocity_down,roll,pitch,yaw"
_GPS = (
    "timestamp,num_satellites,latitude,longitude,altitude,latitude_sigma,longitude_sigma,"
    "altitude_sigma,northing,easting,down,utm_zone"
)
_CAMERA_FROM_OPTICAL = ((0, 0, 1, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 1))


def mosaic(image: Rgb) -> NDArray[np.uint8]:
    """What a gbrg sensor sees of an RGB image: one value a pixel, uint8 (H, W)."""
    raw = image[..., 1].copy()
    raw[0::2, 1::2] = image[0::2, 1::2, 2]
    raw[1::2, 0::2] = image[1::2, 0::2, 0]
    return raw


def write_image(traversal: Path, stamp_ns: int, image: Rgb, camera: str = "stereo/centre") -> Path:
    """One raw image; the stamp must be whole microseconds."""
    path = traversal / camera / f"{stamp_ns // 1000}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", mosaic(image))[1].tobytes())
    return path


def write_timestamps(traversal: Path, stamps_ns: Sequence[int], camera: str = "stereo") -> None:
    """`stereo.timestamps`: a line `microseconds chunk` an image, 6,000 images a chunk."""
    lines = [f"{stamp // 1000} {1 + row // 6000}\n" for row, stamp in enumerate(stamps_ns)]
    traversal.mkdir(parents=True, exist_ok=True)
    (traversal / f"{camera}.timestamps").write_text("".join(lines), encoding="utf-8")


def write_ins(traversal: Path, stamps_ns: Sequence[int], poses: Sequence[Pose]) -> None:
    """`gps/ins.csv` with good solutions."""
    rows = [
        f"{stamp // 1000},INS_SOLUTION_GOOD,{_geographic(p)},{_grid(p)},0,0,0,{_attitude(p)}"
        for stamp, p in zip(stamps_ns, poses, strict=True)
    ]
    head = _RTK.replace("timestamp,", "timestamp,ins_status,")
    _write(traversal / "gps" / "ins.csv", [f"{head},{_VELOCITY}", *rows])


def write_rtk(traversal: Path, stamps_ns: Sequence[int], poses: Sequence[Pose]) -> None:
    """`rtk.csv`."""
    rows = [
        f"{stamp // 1000},{_geographic(p)},{_grid(p)},0,0,0,{_attitude(p)}"
        for stamp, p in zip(stamps_ns, poses, strict=True)
    ]
    _write(traversal / "rtk.csv", [f"{_RTK},{_VELOCITY}", *rows])


def write_gps(traversal: Path, stamps_ns: Sequence[int], poses: Sequence[Pose]) -> None:
    """`gps/gps.csv`."""
    rows = [
        f"{stamp // 1000},12,{_geographic(p)},0.5,0.5,1.0,{_grid(p)}"
        for stamp, p in zip(stamps_ns, poses, strict=True)
    ]
    _write(traversal / "gps" / "gps.csv", [_GPS, *rows])


def write_camera_model(
    folder: Path,
    pinhole: tuple[float, float, float, float],
    size: tuple[int, int],
    distort: Callable[
        [NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]
    ],
    name: str = "stereo_narrow_left",
) -> None:
    """`<name>.txt` and its table; size: height and width.

    distort: from columns and rows of the undistorted image to those of the raw one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    matrix = [" ".join(map(str, row)) for row in _CAMERA_FROM_OPTICAL]
    lines = [" ".join(map(repr, pinhole)), *matrix]
    (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float64)
    u, v = distort(columns, rows)
    table = np.concatenate([u.ravel(), v.ravel()]).astype("<f8")
    table.tofile(folder / f"{name}_distortion_lut.bin")


def _grid(pose: Pose) -> str:
    x, y, z = pose.position
    return f"{ZERO[1] + y:.7f},{ZERO[0] + x:.7f},{-(ZERO[2] + z):.7f},{ZONE}U"


def _geographic(pose: Pose) -> str:
    x, y, z = pose.position
    latitude, longitude = from_utm(ZERO[0] + x, ZERO[1] + y, ZONE)
    return f"{latitude:.10f},{longitude:.10f},{ZERO[2] + z:.7f}"


def _attitude(pose: Pose) -> str:
    """Roll, pitch, yaw in north-east-down of a body turned in east-north-up."""
    x, y, z, w = pose.orientation
    roll = np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = np.arcsin(np.clip(2 * (w * y - z * x), -1, 1))
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return f"{roll:.12f},{-pitch:.12f},{np.pi / 2 - yaw:.12f}"


def _write(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
