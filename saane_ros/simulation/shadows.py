"""Shadows on the ground: of buildings by the sun, of vehicles under any sky."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation.camera import Camera, Viewpoint
from saane_ros.simulation.rasterizer import NEAR_M, clip_near, fixed_point
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
    down = -np.array(sun[:2]) / sun[2]
    height = np.minimum(near[:, 4], LONGEST_M / max(float(np.linalg.norm(down)), 1e-6))
    away = height[:, None] * down
    foot, end = near[:, :2], near[:, 2:4]
    _fill(mask, np.stack([foot, end, end + away, foot + away], axis=1), 255, view, camera)
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
    near = near[slope * near[:, 2] < LONGEST_M]
    stretch = np.outer(np.cos(angle), along) * np.hypot(1.0, slope)
    width = np.outer(np.sin(angle), (-along[1], along[0]))
    centres = near[:, :2] + near[:, 2:3] * down
    _fill(mask, centres[:, None] + near[:, 3, None, None] * (stretch + width), 255, view, camera)


def contact_shadows(
    mask: NDArray[np.uint8], present: list[Present], view: Viewpoint, camera: Camera
) -> None:
    """Darken the ground below vehicles and people, in place."""
    if present:
        _fill(mask, np.stack([agent.corners for agent in present]), 235, view, camera)


def _fill(
    mask: NDArray[np.uint8], outlines: Array, value: int, view: Viewpoint, camera: Camera
) -> None:
    """Paint ground polygons, (n, k, 2) in map metres."""
    ground = np.concatenate([outlines, np.zeros((*outlines.shape[:2], 1))], axis=2)
    corners = (ground - view.centre) @ view.rotation.T
    whole = (corners[:, :, 2] >= NEAR_M).all(axis=1)
    for polygon in fixed_point(corners[whole], camera):
        cv2.fillConvexPoly(mask, polygon, value, 8, 3)
    crossing = ~whole & (corners[:, :, 2] >= NEAR_M).any(axis=1)
    for corner in corners[crossing]:
        cv2.fillConvexPoly(mask, fixed_point(clip_near(corner), camera), value, 8, 3)
