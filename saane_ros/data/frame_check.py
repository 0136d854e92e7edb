"""What makes a camera image or a pose useless, said in a few words."""

from __future__ import annotations

import math

import cv2
import numpy as np

from saane_ros.types import Pose, Rgb

LEAST_SIDE = 16
"""Pixels: one patch or cell of the networks. Less says nothing of where a thing lies."""
BLACK_MEAN = 4.0
BLACK_SPREAD = 2.0
"""Grey levels. A lit street at night lies far above both; a covered or unpowered camera below, and
a lens in glare or behind paper shows one colour."""


def image_fault(image: Rgb) -> str | None:
    """Why an image cannot be embedded, or None where it can."""
    if image.size == 0:
        return "the image is empty or unreadable"
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        return f"the image is {image.dtype} {image.shape}, not uint8 height x width x 3"
    sample = image[:: 1 + image.shape[0] // 240, :: 1 + image.shape[1] // 320]
    # NumPy's mean over an axis of three takes a millisecond.
    red, green, blue = (sample[..., channel].astype(np.uint16) for channel in range(3))
    mean, spread = cv2.meanStdDev(red + green + blue)
    if spread.item() / 3 < BLACK_SPREAD:
        black = mean.item() / 3 < BLACK_MEAN
        return "the image is black" if black else "the image has no contrast"
    height, width = image.shape[:2]
    if min(height, width) < LEAST_SIDE:
        patch = f"{LEAST_SIDE} x {LEAST_SIDE}"
        return f"the image has {height} x {width} pixels, fewer than a network's patch of {patch}"
    return None


def pose_fault(pose: Pose | None) -> str | None:
    """Why a pose cannot stand in a map, or None where it can; no pose at all is fine."""
    if pose is None:
        return None
    if not all(math.isfinite(value) for value in (*pose.position, *pose.orientation)):
        return "its pose is not finite"
    if math.hypot(*pose.orientation) < 1e-6:
        return "the quaternion of its pose is zero"
    return None
