"""Images that say nothing of a place."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import smooth_scene

from saane_ros.data.frame_check import image_fault


@pytest.mark.parametrize(
    ("height", "width", "told"),
    [(16, 16, None), (240, 16, None), (15, 640, "15 x 640 pixels"), (8, 9, "8 x 9 pixels")],
)
def test_an_image_smaller_than_a_patch_is_told(height: int, width: int, told: str | None) -> None:
    fault = image_fault(smooth_scene(1, height, width))
    assert fault is None if told is None else told in fault


def test_what_else_is_no_image() -> None:
    assert image_fault(np.zeros((0, 4, 3), np.uint8)) == "the image is empty or unreadable"
    assert "uint16 (20, 20, 3)" in image_fault(np.zeros((20, 20, 3), np.uint16))
    assert image_fault(np.zeros((20, 20, 3), np.uint8)) == "the image is black"
    assert image_fault(np.full((20, 20, 3), 99, np.uint8)) == "the image has no contrast"
