"""From radiance to the 8-bit picture: lens, exposure, noise, display curve."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation.conditions import Light
from saane_ros.types import Rgb

Pixels = NDArray[np.float32]


def expose(image: Pixels, ids: NDArray[np.int32], light: Light, rng: np.random.Generator) -> Rgb:
    """The camera's picture of linear radiance (H, W, 3); `ids` tells where edges are."""
    sharp = _smooth_edges(image, ids)
    if light.lamps > 0:
        sharp = sharp + _bloom(sharp, light.lamps)
    image = _blurred(sharp, light.blur * image.shape[1] / 320)
    gain = _automatic_gain(image, light.key)
    image = image * (gain * np.asarray(light.cast, np.float32))
    image *= _vignette(image.shape[0], image.shape[1], light.vignette)[..., None]
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    amount = np.sqrt(
        np.float32(light.noise**2) + np.float32(light.noise * 0.06) * np.maximum(image, 0)
    )
    image += noise * amount
    shown = np.sqrt(np.clip(image, 0, 1.6))
    shown = np.where(shown > 0.8, 0.8 + (shown - 0.8) * 0.43, shown)
    return np.clip(shown * 255 + 0.5, 0, 255).astype(np.uint8)


def _smooth_edges(image: Pixels, ids: NDArray[np.int32]) -> Pixels:
    """Soften the stairs along the borders of faces."""
    edge = np.zeros(ids.shape, dtype=bool)
    across, down = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    soft = cv2.GaussianBlur(np.minimum(image, 4.0), (3, 3), 0.7)
    return np.where(edge[..., None], soft, image)


def _blurred(image: Pixels, sigma: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.float32)


def _bloom(image: Pixels, strength: float) -> Pixels:
    bright = np.clip(image - 0.6, 0, 6.0)
    h, w = image.shape[:2]
    small = cv2.resize(bright, (w // 4, h // 4), interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(small, (0, 0), w / 4 * 0.022)
    halo = cv2.resize(wide, (w, h), interpolation=cv2.INTER_LINEAR)
    return np.asarray(halo * np.float32(0.5 * strength), dtype=np.float32)


def _automatic_gain(image: Pixels, key: float) -> np.float32:
    """Bring the mean of the compressed luminance, weighted to the lower half, to `key`."""
    small = cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA).mean(axis=2)
    weights = np.linspace(0.6, 1.4, 24, dtype=np.float32)[:, None]
    level = float((np.minimum(small, 1.5) * weights).mean())
    return np.float32(key / max(level, 1e-4))


def _vignette(height: int, width: int, amount: float) -> Pixels:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (1 - amount * (x * x + y * y)).astype(np.float32)
