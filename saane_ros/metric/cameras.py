"""A camera's intrinsics: pixels to rays and back, by the distortion models of CameraInfo.

Axes are optical (x right, y down, z forward), and pixel centres lie at whole numbers, as in OpenCV
and sensor_msgs/CameraInfo.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.reading import YAML_FAULTS, read_text
from saane_ros.types import Intrinsics

Array = NDArray[np.float64]

PLUMB_BOB, RATIONAL, EQUIDISTANT = "plumb_bob", "rational_polynomial", "equidistant"
COEFFICIENTS = {PLUMB_BOB: (0, 4, 5), RATIONAL: (8,), EQUIDISTANT: (4,)}
"""Numbers of distortion coefficients that a model may come with; none at all is none."""
ALIKE = 1e-3
"""Share of the focal length by which two messages of one camera may differ."""
CLOSED_PX = 0.1
"""A ray belongs to a pixel where its projection comes back this near."""
MOST_STEPS = 30


@dataclass(frozen=True)
class Camera(Intrinsics):
    """Intrinsics with their geometry; make one by `camera_of` or its kin."""

    @cached_property
    def matrix(self) -> Array:
        """K, 3 x 3."""
        return np.array(self.k, dtype=np.float64).reshape(3, 3)

    @property
    def focal(self) -> float:
        """Mean focal length in pixels."""
        return (self.k[0] + self.k[4]) / 2

    def rays(self, pixels: NDArray[np.floating]) -> Array:
        """x/z and y/z (n, 2) of pixels (n, 2); NaN where no ray of the model leads to a pixel."""
        points = np.asarray(pixels, np.float64).reshape(-1, 1, 2)
        if not len(points):
            return np.empty((0, 2))
        if self.model == EQUIDISTANT and self.d:
            rays = cv2.fisheye.undistortPoints(points, self.matrix, np.array(self.d))
        else:
            rays = cv2.undistortPoints(points, self.matrix, np.array(self.d) if self.d else None)
        rays = np.asarray(rays, np.float64).reshape(-1, 2)
        # Releases of OpenCV differ in how far they iterate: go on until the pixels come back.
        pixels, focal = points[:, 0], np.array([self.k[0], self.k[4]])
        for _ in range(MOST_STEPS):
            apart = pixels - self.project(np.column_stack([rays, np.ones(len(rays))]))
            if not self.d or not np.abs(apart).max() > CLOSED_PX / 100:
                break
            rays = rays + apart / focal
        rays[~(np.linalg.norm(apart, axis=1) < CLOSED_PX)] = np.nan
        return rays

    def project(self, points: NDArray[np.floating]) -> Array:
        """Pixels (n, 2) of points (n, 3) in optical metres; NaN of those not before the camera."""
        points = np.asarray(points, np.float64).reshape(-1, 3)
        seen = points[:, 2] > 1e-9
        pixels = np.full((len(points), 2), np.nan)
        if not seen.any():
            return pixels
        still, d = np.zeros(3), np.array(self.d if self.d else [0.0] * 4)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.model == EQUIDISTANT and self.d:
                found = cv2.fisheye.projectPoints(
                    points[seen].reshape(-1, 1, 3), still, still, self.matrix, d
                )[0]
            else:
                found = cv2.projectPoints(points[seen], still, still, self.matrix, d)[0]
        pixels[seen] = np.asarray(found).reshape(-1, 2)
        return pixels

    def rescaled(self, width: int, height: int) -> Camera:
        """The same camera with its images resized."""
        x, y = width / self.width, height / self.height
        fx, skew, cx, _, fy, cy = self.k[:6]
        moved = (fx * x, skew * x, (cx + 0.5) * x - 0.5, 0.0, fy * y, (cy + 0.5) * y - 0.5)
        return Camera(width, height, self.model, (*moved, 0.0, 0.0, 1.0), self.d)

    def fitting(self, shape: Sequence[int]) -> Camera:
        """The camera of an image (H, W, ...): itself, or rescaled to a resized image.

        Raises SaaneError where the image was cropped or is of another camera.
        """
        height, width = int(shape[0]), int(shape[1])
        if (width, height) == (self.width, self.height):
            return self
        # A resized side is rounded to whole pixels.
        if abs(width / self.width * self.height - height) > 1.0:
            raise SaaneError(
                f"The intrinsics are those of a camera of {self.width} x {self.height} pixels and "
                f"the image has {width} x {height}, another shape: give those of this image."
            )
        return self.rescaled(width, height)

    def like(self, other: Camera) -> bool:
        """Whether two descriptions are of one camera whose zoom and calibration stood still."""
        if (self.width, self.height, self.model) != (other.width, other.height, other.model):
            return False
        apart = np.abs(np.subtract(self.k, other.k)).max()
        return bool(apart <= ALIKE * self.focal) and np.allclose(
            np.resize((*self.d, *[0.0] * 8), 8), np.resize((*other.d, *[0.0] * 8), 8), atol=ALIKE
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for YAML, which `camera_from` takes back."""
        return {
            "width": self.width,
            "height": self.height,
            "model": self.model,
            "k": list(self.k),
            "d": list(self.d),
        }


def camera_of(
    width: int, height: int, model: str, k: Sequence[float], d: Sequence[float], where: str
) -> Camera:
    """A checked camera; SaaneError names `where` the values stood and what is wrong with them."""
    k, d = tuple(map(float, k)), tuple(map(float, d))
    if len(k) != 9 or not any(k):
        raise SaaneError(
            f"{where} has no intrinsics, its K is all zero: calibrate the camera, or give a file "
            "of its intrinsics."
        )
    if width < 1 or height < 1:
        raise SaaneError(
            f"{where} has a size of {width} x {height} pixels: correct its intrinsics."
        )
    upright = k[0] > 0 and k[4] > 0 and (k[3], k[6], k[7], k[8]) == (0.0, 0.0, 0.0, 1.0)
    if not all(map(math.isfinite, (*k, *d))) or not upright:
        raise SaaneError(f"{where} has a K that no camera has, {k}: correct its intrinsics.")
    model = model.strip().lower() or PLUMB_BOB
    model = {"fisheye": EQUIDISTANT, "radtan": PLUMB_BOB}.get(model, model)
    if not any(d):
        d = ()
    if model not in COEFFICIENTS or len(d) not in (0, *COEFFICIENTS[model]):
        raise SaaneError(
            f"{where} has distortion model {model!r} with {len(d)} values: known are plumb_bob "
            "(4 or 5), rational_polynomial (8) and equidistant (4)."
        )
    return Camera(int(width), int(height), model, k, d)


def camera_with(intrinsics: Intrinsics) -> Camera:
    """The camera of intrinsics that were checked before."""
    if isinstance(intrinsics, Camera):
        return intrinsics
    return Camera(intrinsics.width, intrinsics.height, intrinsics.model, intrinsics.k, intrinsics.d)


def camera_of_message(info: Any, topic: str) -> Camera:
    """The camera of a sensor_msgs/CameraInfo, in the pixels of the images beside it.

    K is of the full sensor; a region of interest is cut out of it, and binning comes after.
    """
    # ROS 1 writes K and D, ROS 2 k and d.
    matrix, coefficients = (getattr(info, n, getattr(info, n.upper(), ())) for n in ("k", "d"))
    where = f"CameraInfo of {topic}"
    camera = camera_of(info.width, info.height, info.distortion_model, matrix, coefficients, where)
    roi, k = info.roi, list(camera.k)
    width, height = roi.width or camera.width, roi.height or camera.height
    k[2] -= roi.x_offset
    k[5] -= roi.y_offset
    cut = Camera(width, height, camera.model, tuple(k), camera.d)
    across, down = max(1, info.binning_x), max(1, info.binning_y)
    return cut if across == down == 1 else cut.rescaled(width // across, height // down)


def camera_from(values: Any, where: str) -> Camera:
    """The camera of `Camera.as_dict`'s values; SaaneError where they are damaged."""
    try:
        return camera_of(
            values["width"], values["height"], values["model"], values["k"], values["d"], where
        )
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        raise SaaneError(f"{where} does not tell its camera: build the map again.") from None


def read_camera(path: Path, shape: Sequence[int]) -> Camera:
    """Intrinsics from a file, for images of a shape (H, W, ...).

    As camera_calibration writes them (YAML: image_width, image_height, distortion_model,
    camera_matrix and distortion_coefficients with their `data`), or KITTI's calib.txt, whose first
    row of 12 numbers is the projection of rectified images. Raises SaaneError.
    """
    text = read_text(path, "The file of intrinsics")
    rows = [line.rpartition(":")[2].split() for line in text.splitlines() if line.strip()]
    if rows and len(rows[0]) == 12:
        try:
            p = list(map(float, rows[0]))
        except ValueError:
            raise _no_camera(path) from None
        k = (*p[0:3], *p[4:7], *p[8:11])
        return camera_of(shape[1], shape[0], PLUMB_BOB, k, (), str(path))
    try:
        values = yaml.safe_load(text)
        matrix, distortion = values["camera_matrix"], values["distortion_coefficients"]
        return camera_of(
            int(values["image_width"]),
            int(values["image_height"]),
            str(values.get("distortion_model", "")),
            matrix["data"],
            distortion["data"],
            str(path),
        ).fitting(shape)
    except (*YAML_FAULTS, TypeError, KeyError, ValueError, AttributeError, OverflowError):
        raise _no_camera(path) from None


def _no_camera(path: Path) -> SaaneError:
    return SaaneError(
        f"{path} holds no intrinsics: give the YAML that camera_calibration writes, or a calib.txt "
        "of KITTI."
    )


def steady(cameras: Iterable[Camera]) -> Camera | None:
    """The one camera that all are; None of none. SaaneError where it changed while driving."""
    first: Camera | None = None
    for camera in cameras:
        first = first or camera
        if not first.like(camera):
            raise SaaneError(
                f"The intrinsics changed while driving, from a focal length of {first.focal:.1f} "
                f"to {camera.focal:.1f} pixels: fix zoom and focus, or build a map of each."
            )
    return first
