"""Laying one picture over another."""

from __future__ import annotations

import cv2
import numpy as np

from saane_ros.errors import SaaneError
from saane_ros.types import Rgb


def blend(image: Rgb, colours: Rgb, opacity: float) -> Rgb:
    """`(1 - opacity) image + opacity colours`, rounded; both uint8 (H, W, 3), opacity in [0, 1]."""
    if not 0.0 <= opacity <= 1.0:
        raise SaaneError(f"Overlay opacity is {opacity}: give a value from 0 to 1.")
    return np.asarray(cv2.addWeighted(image, 1.0 - opacity, colours, opacity, 0.0), np.uint8)
