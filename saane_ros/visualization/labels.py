"""Semantic labels over the image that they were computed from."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.types import Rgb
from saane_ros.visualization.blending import blend
from saane_ros.visualization.colours import class_colours


def overlay_labels(
    image: Rgb, labels: NDArray[np.uint8], class_names: Sequence[str], opacity: float
) -> Rgb:
    """Lay a label map (h, w) over an image (H, W, 3) in the colours of its classes; same size out.

    The map is enlarged by nearest neighbour; a label without a class name is black.
    """
    height, width = image.shape[:2]
    resized = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    palette = np.zeros((256, 3), np.uint8)
    colours = class_colours(class_names)[:256]
    palette[: len(colours)] = colours
    return blend(image, palette[resized], opacity)
