"""Other views of a labelled image: mirrored, scaled, cropped and differently exposed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.types import Rgb

Labels = NDArray[np.uint8]


def augment(
    image: Rgb, labels: Labels, random: np.random.Generator, scale: tuple[float, float] = (1, 1)
) -> tuple[Rgb, Labels]:
    """A mirror image now and then, another exposure and, within `scale`, another size.

    Image and labels keep their size: what grows is cropped, what shrinks is mirrored at its edges.
    """
    if random.random() < 0.5:
        image, labels = np.flip(image, 1), np.flip(labels, 1)
    image = exposed(image, random.uniform(0.7, 1.3), random.uniform(0.7, 1.4))
    if scale == (1, 1):
        return image, np.ascontiguousarray(labels)
    return rescaled(image, np.ascontiguousarray(labels), random.uniform(*scale), random)


def exposed(image: Rgb, gain: float, gamma: float) -> Rgb:
    """The image with every value v (of 1) at gain * v ** gamma."""
    table = 255 * np.clip(gain * (np.arange(256) / 255) ** gamma, 0, 1)
    return cv2.LUT(np.ascontiguousarray(image), table.astype(np.uint8)).astype(np.uint8)


def rescaled(
    image: Rgb, labels: Labels, factor: float, random: np.random.Generator
) -> tuple[Rgb, Labels]:
    """A random window of the enlarged image, or the shrunken image at a random position."""
    height, width = labels.shape
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(image, size, interpolation=method)
    scaled_labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    across, down = max(0, width - size[0]), max(0, height - size[1])
    left, top = (int(random.integers(space + 1)) for space in (across, down))
    border = (top, down - top, left, across - left)
    scaled = cv2.copyMakeBorder(scaled, *border, cv2.BORDER_REFLECT_101)
    scaled_labels = cv2.copyMakeBorder(scaled_labels, *border, cv2.BORDER_REFLECT_101)
    y = int(random.integers(scaled_labels.shape[0] - height + 1))
    x = int(random.integers(scaled_labels.shape[1] - width + 1))
    window = np.s_[y : y + height, x : x + width]
    return scaled[window].astype(np.uint8), scaled_labels[window].astype(np.uint8)
