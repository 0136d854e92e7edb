"""Attention maps over the image that they were computed from."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.types import Rgb
from saane_ros.visualization.blending import blend


def overlay_attention(
    image: Rgb, attention: NDArray[np.float32], opacity: float, stretch: bool = False
) -> Rgb:
    """Lay an attention map (h, w) in [0, 1] over an image (H, W, 3); same size out.

    The map is enlarged bilinearly and coloured by inferno, a perceptually uniform map: black is 0,
    pale yellow 1.  `stretch` scales it to its own smallest and largest value, which shows the
    structure of a map that is nearly flat, and makes two pictures incomparable.
    """
    height, width = image.shape[:2]
    values = np.nan_to_num(np.asarray(attention, np.float32))
    if stretch:
        low, high = float(values.min()), float(values.max())
        values = (values - low) / max(high - low, 1e-12)
    enlarged = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    levels = np.rint(np.clip(enlarged, 0, 1) * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return blend(image, np.asarray(colours, np.uint8), opacity)
