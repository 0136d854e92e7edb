"""Images of the synthetic town by any lens, mounted anywhere on the body, with true poses."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import cv2
import numpy as np

from saane_ros.data.poses.files import rotation_of
from saane_ros.data.poses.transforms import OPTICAL, compose
from saane_ros.metric.cameras import EQUIDISTANT, PLUMB_BOB, RATIONAL, Camera
from saane_ros.simulation import Camera as Pinhole
from saane_ros.simulation import Traverse
from saane_ros.simulation.camera import Viewpoint
from saane_ros.simulation.renderer import Renderer
from saane_ros.types import Frame, Pose, Rgb

WIDEST = np.tan(np.radians(82.0))
"""Rays further aside (x/z, y/z) are not drawn; a fisheye's image is black there."""


def lens(
    width: int,
    height: int,
    focal: float,
    model: str = PLUMB_BOB,
    d: tuple[float, ...] = (),
) -> Camera:
    """A camera whose principal point lies a little off the middle."""
    k = (focal, 0.0, width / 2 + 3.0, 0.0, focal * 1.01, height / 2 - 5.0, 0.0, 0.0, 1.0)
    return Camera(width, height, model, k, d)


NORMAL = lens(320, 240, 210.0)
LARGE = lens(512, 384, 480.0)
BENT = lens(400, 300, 260.0, PLUMB_BOB, (-0.28, 0.09, 0.001, -0.001, 0.0))
RATIONAL_LENS = lens(
    400, 300, 230.0, RATIONAL, (0.3, 0.02, 0.0008, -0.0005, 0.001, 0.6, 0.08, 0.004)
)
FISHEYE = lens(400, 300, 142.0, EQUIDISTANT, (0.01, -0.004, 0.001, -0.0005))


class Rig:
    """Draws what cameras on the body of a traverse see."""

    def __init__(self, traverse: Traverse) -> None:
        self.traverse = traverse
        self._views: dict[Camera, _View] = {}

    def frame(self, index: int, camera: Camera, mount: Pose) -> Frame:
        """The frame of a camera, with the pose of the body."""
        body = self.traverse.poses[index]
        optical = compose(compose(body, mount), OPTICAL)
        where = Viewpoint(rotation_of(optical.orientation).T, np.array(optical.position))
        view = self._views.setdefault(camera, _View(self.traverse, camera))
        stamp = self.traverse.stamps_ns[index]
        return Frame(view.image(where, index), stamp, f"{index}", body, camera=camera)


class _View:
    """A pinhole that is wide enough, and where in its image the pixels of a camera lie."""

    def __init__(self, traverse: Traverse, camera: Camera) -> None:
        self._traverse, self._camera = traverse, camera

    @cached_property
    def _renderer(self) -> Renderer:
        widest = min(float(np.nanmax(np.abs(self._rays))) * 1.02, WIDEST)
        width = 2 * round(self._camera.focal * widest)
        height = min(width, 2 * round(self._camera.focal * 1.7)) if widest > 2 else width
        pinhole = Pinhole(width, height, float(np.degrees(2 * np.arctan(widest))))
        # The sharpness of the lens is that of its own image, not of the wide one.
        light = self._traverse.light
        light = replace(light, blur=light.blur * 320 / width, vignette=0.0)
        return Renderer(self._traverse.town, light, self._traverse.seed, pinhole)

    @cached_property
    def _rays(self) -> np.ndarray:
        across, down = np.meshgrid(np.arange(self._camera.width), np.arange(self._camera.height))
        return self._camera.rays(np.column_stack([across.ravel(), down.ravel()]))

    @cached_property
    def _pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Where in the wide image each pixel lies; far outside where no ray leads to it."""
        k = self._renderer.camera.matrix
        shape = (self._camera.height, self._camera.width)
        at = np.nan_to_num(self._rays, nan=1e4) * k[0, 0] + k[:2, 2]
        x, y = at.T.astype(np.float32)
        return x.reshape(shape), y.reshape(shape)

    def image(self, where: Viewpoint, index: int) -> Rgb:
        shown = self._renderer.render(where, self._traverse.traffic.present(index), index).image
        return np.asarray(cv2.remap(shown, *self._pixels, cv2.INTER_CUBIC), np.uint8)
