"""Other looks of one place: light, night, a small change of viewpoint, things in the way.

Every function takes an RGB image and a random generator and returns an image of the same size. A
style (light, blur, noise) can be drawn from a generator of its own, so that all places of a batch
can be given the same weather: what differs between them is then the place alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from saane_ros.training.movables import Cutout, with_movables
from saane_ros.types import Rgb


@dataclass(frozen=True)
class Augmentation:
    """What is done to a copy of an image; probabilities from 0 to 1.

    photometric: strength of gain, gamma, contrast, colour cast and saturation, 0: none.
    night: probability of a synthetic night.  grey: of losing colour.  blur: of low resolution.
    shift: largest displacement of the image's corners, as a share of its sides.
    slide: largest displacement of a view's window to either side, as a share of its width.
    occluders: largest number of things in the way: vehicles and people where the configuration has
        `movables`, patches of the image itself where not.
    """

    photometric: float = 1.0
    night: float = 0.25
    grey: float = 0.15
    blur: float = 0.3
    shift: float = 0.08
    slide: float = 0.0
    occluders: int = 2


def augmented(
    image: Rgb,
    options: Augmentation,
    style: np.random.Generator,
    own: np.random.Generator,
    movables: Sequence[Cutout] = (),
) -> Rgb:
    """Viewpoint and occluders from the image's `own` generator, the look from that of the style."""
    image = viewpoint_shift(image, own, options.shift)
    if movables:
        image = with_movables(image, movables, own, options.occluders)
    else:
        image = occluded(image, own, options.occluders)
    night, grey, blur = style.random(3)
    image = photometric(image, style, options.photometric)
    if night < options.night:
        image = synthetic_night(image, style, own)
    if grey < options.grey:
        image = _grey(image)
    return low_resolution(image, style) if blur < options.blur else image


def photometric(image: Rgb, random: np.random.Generator, strength: float = 1.0) -> Rgb:
    """Another exposure, contrast, white balance and saturation."""
    gain, gamma, contrast = np.exp(strength * random.uniform(-0.35, 0.35, 3))
    cast = np.exp(strength * random.uniform(-0.15, 0.15, 3))
    saturation = np.exp(strength * random.uniform(-0.9, 0.4))
    values = (image.astype(np.float32) / 255) ** gamma * gain
    values = (values - values.mean()) * contrast + values.mean()
    grey = values.mean(axis=2, keepdims=True)
    return _as_image((grey + (values - grey) * saturation) * cast.astype(np.float32))


def synthetic_night(image: Rgb, style: np.random.Generator, own: np.random.Generator) -> Rgb:
    """Dark and blue with noise, the sky black, a few lamps that the day does not show.

    How dark and how noisy is the style's; where lamps stand is the place's own.
    """
    height, width = image.shape[:2]
    dark = (image.astype(np.float32) / 255) ** style.uniform(1.2, 2.0) * style.uniform(0.15, 0.45)
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    dark *= 0.35 + 0.65 * np.clip(rows / style.uniform(0.3, 0.6), 0, 1)  # the upper part: sky
    dark *= np.array([0.8, 0.9, 1.15], np.float32) if style.random() < 0.5 else 1.0
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for _ in range(int(own.integers(0, 5))):
        centre_y, centre_x = own.uniform(0.1, 0.7) * height, own.uniform(0, 1) * width
        radius = own.uniform(0.01, 0.06) * width
        glow = np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / (2 * radius**2))
        dark += own.uniform(0.4, 1.0) * glow[..., None] * np.array([1.0, 0.85, 0.6], np.float32)
    noise = style.uniform(0.005, 0.04) * own.standard_normal(image.shape).astype(np.float32)
    return _as_image(dark + noise)


def viewpoint_shift(image: Rgb, random: np.random.Generator, share: float) -> Rgb:
    """A homography that moves every corner inwards by up to `share`, so that no border shows."""
    if share <= 0:
        return image
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    inwards = np.where(corners == 0, 1.0, -1.0) * random.uniform(0, share, (4, 2))
    scale = np.array([width - 1, height - 1], np.float32)
    source = ((corners + inwards) * scale).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(source, corners * scale)
    warped = cv2.warpPerspective(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return warped.astype(np.uint8)


def occluded(image: Rgb, random: np.random.Generator, most: int) -> Rgb:
    """Up to `most` elliptic patches of the image itself, pasted elsewhere in its lower part."""
    height, width = image.shape[:2]
    result = image.copy()
    for _ in range(int(random.integers(0, most + 1))):
        tall, wide = (int(side * random.uniform(0.1, 0.3)) for side in (height, width))
        top, left = int(random.integers(height - tall + 1)), int(random.integers(width - wide + 1))
        patch = np.flip(image[top : top + tall, left : left + wide], 1)
        y = int(random.integers((height - tall) // 3, height - tall + 1))
        x = int(random.integers(width - wide + 1))
        mask = np.zeros((tall, wide), np.uint8)
        cv2.ellipse(mask, (wide // 2, tall // 2), (wide // 2, tall // 2), 0, 0, 360, 1, -1)
        window = result[y : y + tall, x : x + wide]
        window[mask > 0] = patch[mask > 0]
    return result


def low_resolution(image: Rgb, random: np.random.Generator) -> Rgb:
    """What a small or badly focused camera would leave of the image."""
    height, width = image.shape[:2]
    small_width = int(random.integers(48, 128))
    small = (small_width, max(8, round(small_width * height / width)))
    shrunken = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunken, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _grey(image: Rgb) -> Rgb:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB).astype(np.uint8)


def _as_image(values: np.ndarray) -> Rgb:
    return (np.clip(values, 0, 1) * 255).astype(np.uint8)
