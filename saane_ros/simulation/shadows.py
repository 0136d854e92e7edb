"""Shadows on the ground: of buildings by the sun, of vehicles under any sky."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation.camera import Camera, Viewpoint
from saane_ros.simulation.rasterizer import clip_near, fixed_point
from saane_ros.simulation.traffic import Present

Array = NDArray[np.float64]

REACH_M = 90.0
LONGEST_M = 60.0


def sun_shadows(
    walls: Array, sun: tuple[float, float, float], view: Viewpoint, camera: Camera
) -> NDArray[np.uint8]:
    """255 where a wall of `walls` (n, 5) keeps the sun off the ground, (H, W)."""
    mask = np.zeros((camera.height, camera.width), dtype=np.uint8)
    middle = (walls[:, :2] + walls[:, 2:4]) / 2
    near = walls[np.linalg.norm(middle - view.centre[:2], axis=1) < REACH_M]
    for x0, y0, x1, y1, height in near:
        away = -np.array(sun[:2]) / sun[2] * height
        size = float(np.linalg.norm(away))
        away *= min(1.0, LONGEST_M / max(size, 1e-6))
        outline = [(x0, y0), (x1, y1), (x1 + away[0], y1 + away[1]), (x0 + away[0], y0 + away[1])]
        _fill(mask, np.array(outline), 255, view, camera)
    return mask


def tree_shadows(
    mask: NDArray[np.uint8],
    crowns: Array,
    sun: tuple[float, float, float],
    view: Viewpoint,
    camera: Camera,
) -> None:
    """Add the shadows of tree crowns (n, 4), in place."""
    near = crowns[np.linalg.norm(crowns[:, :2] - view.centre[:2], axis=1) < REACH_M]
    down = -np.array(sun[:2]) / sun[2]
    slope = float(np.linalg.norm(down))
    along = down / max(slope, 1e-6)
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    for x, y, z, radius in near:
        if slope * z > LONGEST_M:
            continue
        stretch = np.outer(np.cos(angle), along) * radius * np.hypot(1.0, slope)
        width = np.outer(np.sin(angle), (-along[1], along[0])) * radius
        _fill(mask, np.array([x, y]) + down * z + stretch + width, 255, view, camera)


def contact_shadows(
    mask: NDArray[np.uint8], present: list[Present], view: Viewpoint, camera: Camera
) -> None:
    """Darken the ground below vehicles and people, in place."""
    for agent in present:
        _fill(mask, agent.corners, 235, view, camera)


def _fill(
    mask: NDArray[np.uint8], outline: Array, value: int, view: Viewpoint, camera: Camera
) -> None:
    points = np.column_stack([outline, np.zeros(len(outline))])
    seen = clip_near((points - view.centre) @ view.rotation.T)
    if len(seen) >= 3:
        cv2.fillConvexPoly(mask, fixed_point(seen, camera), value, 8, 3)
