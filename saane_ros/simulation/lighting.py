"""Radiance of every pixel: sun and sky, shadows, street lamps, headlights, lit windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation.camera import Camera, Viewpoint
from saane_ros.simulation.conditions import Light
from saane_ros.simulation.labels import LANE_MARKING, ROAD, SIDEWALK, TERRAIN
from saane_ros.simulation.mesh import QUAD, Faces
from saane_ros.simulation.surfaces import View, scatter

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]

LAMP_REACH_M = 60.0
LAMP_POWER = np.array([9.0, 6.0, 2.7], dtype=np.float32)
BEAM_POWER = np.array([26.0, 25.0, 22.0], dtype=np.float32)
WINDOW_TINTS = np.array(
    [[1.0, 0.62, 0.26], [1.0, 0.72, 0.4], [0.9, 0.85, 0.7], [0.55, 0.7, 1.0]], dtype=np.float32
)


def ground_pixels(faces: Faces, view: View) -> NDArray[np.bool_]:
    """Which pixels lie on the ground, (p,)."""
    flat = np.isin(faces.label, (ROAD, SIDEWALK, LANE_MARKING, TERRAIN))
    return np.concatenate([[False], flat]).take(view.rows)


def irradiance(faces: Faces, light: Light) -> NDArray[np.float32]:
    """Light from sun and sky on every face, (n + 1, 3); row 0 is the sky and unlit."""
    upward = np.where(faces.kind == QUAD, faces.normal[:, 2], 0.35)
    sunlit = np.where(
        faces.kind == QUAD, np.clip(faces.normal @ np.array(light.sun_direction), 0, 1), 0.45
    )
    two_sided = faces.two_sided & (faces.kind == QUAD)
    both = np.abs(faces.normal @ np.array(light.sun_direction))
    sunlit = np.where(two_sided, both, sunlit)
    total = np.outer(0.66 + 0.34 * np.abs(upward), light.ambient) + np.outer(sunlit, light.sun)
    return np.concatenate([np.zeros((1, 3)), total]).astype(np.float32)


def shadow_factor(
    radiance: Pixels, mask: NDArray[np.uint8], ground: NDArray[np.bool_], light: Light
) -> None:
    """Take the sun, or part of the sky, off the shaded ground, in place."""
    shaded = np.flatnonzero((mask.ravel() > 0) & ground)
    full = np.array(light.ambient) + np.array(light.sun) * light.sun_direction[2]
    left = np.array(light.ambient) / full if sum(light.sun) > 0 else np.full(3, 0.45)
    under = (mask.ravel()[shaded] == 235).astype(np.float32)[:, None]
    factor = left * (1 - under) + left * 0.45 * under
    radiance[shaded] *= factor.astype(np.float32)


def lamp_light(
    view: View, camera: Camera, where: Viewpoint, lamps: Array, strength: float
) -> Pixels:
    """Irradiance by the street lamps, (p, 3): inverse square, mostly downwards."""
    total = np.zeros(len(view.rows), dtype=np.float32)
    offset = (lamps - where.centre) @ where.rotation.T
    near = (offset[:, 2] > -12) & (offset[:, 2] < LAMP_REACH_M)
    px, py = camera.rays
    z = 1 / view.inverse_depth
    x, y = px * z, py * z
    for lx, ly, lz in offset[near].astype(np.float32):
        below = y - ly
        square = (x - lx) ** 2 + below * below + (z - lz) ** 2 + np.float32(1.0)
        total += np.maximum(below + np.float32(1.5), 0) / (square * np.sqrt(square))
    return total[:, None] * (LAMP_POWER * np.float32(strength))


def beam_light(view: View, camera: Camera, strength: float) -> Pixels:
    """Irradiance by the ego vehicle's headlights, (p, 3): a flat cone below the horizon."""
    px, py = camera.rays
    cone = np.exp(-((px / 0.45) ** 2) - ((py - 0.1) / 0.13) ** 2)
    near = np.minimum(view.inverse_depth, 0.25) ** 1.6
    power = (cone * near * np.float32(strength))[:, None]
    return np.asarray(power * BEAM_POWER, dtype=np.float32)


def window_light(faces: Faces, view: View, light: Light, seed: int) -> Pixels:
    """Light from lit windows, (p, 3); most are lit in every traverse, some by its seed."""
    share = np.concatenate([[0.0], faces.windows]).astype(np.float32).take(view.rows)
    usual = scatter(view.cell, 1)
    tonight = scatter(view.cell, 101 + seed)
    lit = np.where(tonight < 0.78, usual, scatter(view.cell, 4001 + seed)) < share * 0.8
    tint = WINDOW_TINTS[(scatter(view.cell, 2) * 3.4).astype(np.int32)]
    power = view.glass * lit * (0.25 + 1.3 * scatter(view.cell, 3)) * np.float32(light.lamps)
    return np.asarray(power[:, None] * tint, dtype=np.float32)


def glow(faces: Faces, view: View, light: Light) -> Pixels:
    """Light from lamps, signs and other vehicles, (p, 3)."""
    table = np.concatenate([np.zeros((1, 3), np.float32), faces.glow])
    return table.take(view.rows, axis=0) * np.float32(min(1.0, light.lamps * 1.2))
