"""Sky, haze, wet streets, snow cover, rain and snow in the air."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation.camera import Camera, Viewpoint
from saane_ros.simulation.conditions import Light
from saane_ros.simulation.labels import LANE_MARKING, ROAD
from saane_ros.simulation.mesh import Faces
from saane_ros.simulation.seeds import stream
from saane_ros.simulation.surfaces import View
from saane_ros.simulation.textures import noise

Pixels = NDArray[np.float32]

SNOW_WHITE = np.array([0.86, 0.9, 0.97], dtype=np.float32)
PANORAMA = (512, 128)


def cloud_panorama(seed: int) -> NDArray[np.float32]:
    """Clouds around the horizon, width by azimuth, height by elevation, about 0..1."""
    rng = stream(seed, "clouds")
    layers = sum(
        noise(rng, cells, 512) * weight for cells, weight in ((4, 1), (9, 0.6), (22, 0.35))
    )
    return np.clip(0.15 + 0.85 * np.asarray(layers)[: PANORAMA[1]], 0, 1).astype(np.float32)


def sky(camera: Camera, where: Viewpoint, light: Light, clouds: NDArray[np.float32]) -> Pixels:
    """Radiance of the sky behind every pixel, (p, 3)."""
    px, py = camera.rays
    east, north, up = (
        (where.rotation[0, k] * px + where.rotation[1, k] * py + where.rotation[2, k]).astype(
            np.float32
        )
        for k in range(3)
    )
    length = np.sqrt(east * east + north * north + up * up)
    height = np.clip(up / length, 0, 1)
    azimuth = (np.arctan2(north, east) / (2 * np.pi) + 0.5) * (PANORAMA[0] - 1)
    shape = (camera.height, camera.width)
    rows = (np.sqrt(height) * (PANORAMA[1] - 1)).astype(np.float32)
    cover = cv2.remap(clouds, azimuth.reshape(shape), rows.reshape(shape), cv2.INTER_LINEAR).ravel()
    cover = cover * np.float32(light.clouds)
    blend = (height**0.55)[:, None]
    colour = np.asarray(light.horizon, np.float32) * (1 - blend)
    colour += np.asarray(light.zenith, np.float32) * blend
    puff = np.asarray(light.horizon, np.float32) * np.float32(1.08)
    colour += (puff - colour) * cover[:, None]
    if sum(light.sun) > 0:
        facing = (
            east * light.sun_direction[0]
            + north * light.sun_direction[1]
            + up * light.sun_direction[2]
        ) / length
        halo = np.clip(facing, 0, 1) ** 24 * 0.6
        colour += halo[:, None] * np.asarray(light.sun, np.float32)
    return colour.astype(np.float32)


def snow_cover(albedo: Pixels, faces: Faces, view: View, amount: float) -> None:
    """Whiten what catches snow, in place; wheels keep two tracks of the road darker."""
    table = np.concatenate([[0.0], faces.snow]).astype(np.float32)
    cover = table.take(view.rows) * np.float32(amount)
    road = np.concatenate([[False], np.isin(faces.label, (ROAD, LANE_MARKING))]).take(view.rows)
    tracks = 0.5 + 0.5 * np.cos((view.across - 0.5) * np.float32(4 * np.pi * 1.9))
    cover = np.where(road, cover * (1 - 0.55 * tracks), cover)[:, None]
    shade = 0.8 + 0.2 * np.minimum(albedo.mean(axis=1, keepdims=True) * 4, 1)
    albedo += (SNOW_WHITE * shade - albedo) * cover


def wet_reflections(
    radiance: Pixels, ground: NDArray[np.bool_], camera: Camera, where: Viewpoint, amount: float
) -> None:
    """Mirror the scene in the ground about the horizon, stretched downwards, in place."""
    h, w = camera.height, camera.width
    image = radiance.reshape(h, w, 3)
    horizon = camera.matrix[1, 2] - camera.focal * where.rotation[2, 2] / where.rotation[1, 2]
    rows = np.clip(np.rint(2 * horizon - np.arange(h)), 0, h - 1).astype(int)
    mirror = cv2.blur(np.ascontiguousarray(image[rows]), (3, max(5, h // 12)))
    _, py = camera.rays
    steep = np.clip(py * 1.6, 0.02, 1)
    share = np.where(ground, amount * (0.25 + 0.75 * (1 - steep) ** 3), 0).astype(np.float32)
    share = share[:, None]
    radiance *= 1 - 0.6 * share
    radiance += 0.75 * share * mirror.reshape(-1, 3)


def add_haze(radiance: Pixels, view: View, light: Light) -> None:
    """Fade with distance towards the colour of the haze, in place."""
    clear = np.exp(-light.haze / view.inverse_depth)[:, None]
    clear[view.rows == 0] = np.float32(max(0.0, 1 - 24 * light.haze))
    radiance *= clear
    radiance += np.asarray(light.haze_colour, np.float32) * (1 - clear)


def add_streaks(image: Pixels, light: Light, rng: np.random.Generator) -> None:
    """Falling rain, in place; image (H, W, 3) is linear."""
    h, w = image.shape[:2]
    veil = np.zeros((h, w), dtype=np.uint8)
    slant = rng.normal(0, 0.06)
    for _ in range(int(w * h / 900 * light.streaks)):
        x, y = rng.uniform(0, w), rng.uniform(-20, h)
        size = rng.uniform(6, 26) * h / 240
        end = (int(x + slant * size), int(y + size))
        cv2.line(veil, (int(x), int(y)), end, int(rng.integers(20, 90)), 1)
    level = np.asarray(light.horizon, np.float32)
    share = (veil.astype(np.float32) / 255)[..., None] * 0.8
    image += (level - image) * share


def add_drops(image: Pixels, light: Light, rng: np.random.Generator) -> None:
    """Drops on the lens: each shows a small, blurred, upside-down picture, in place."""
    h, w = image.shape[:2]
    blurred = cv2.GaussianBlur(image, (0, 0), 5.0 * h / 240)[::-1]
    mask = np.zeros((h, w), dtype=np.float32)
    for _ in range(int(rng.integers(5, 16) * light.streaks)):
        centre = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
        radius = int(rng.uniform(2, 7) * h / 240) + 1
        cv2.circle(mask, centre, radius, float(rng.uniform(0.5, 0.9)), -1)
    soft = cv2.GaussianBlur(mask, (0, 0), 0.9)[..., None]
    image += (blurred * 1.1 - image) * soft


def add_flakes(image: Pixels, light: Light, rng: np.random.Generator) -> None:
    """Falling snow, in place."""
    h, w = image.shape[:2]
    veil = np.zeros((h, w), dtype=np.float32)
    for _ in range(int(w * h / 500 * light.flakes)):
        x, y = int(rng.uniform(0, w)), int(rng.uniform(0, h))
        near = float(rng.random()) ** 4
        radius = round(near * 3 * h / 240)
        cv2.circle(veil, (x, y), radius, float(rng.uniform(0.25, 0.8)), -1)
    soft = cv2.GaussianBlur(veil, (0, 0), 0.7)[..., None]
    image += (np.asarray(light.horizon, np.float32) * 1.15 - image) * soft
