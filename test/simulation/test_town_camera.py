from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.simulation.camera import (
    Camera,
    Viewpoint,
    quaternion_from_angles,
    rotation_from_angles,
)

angles = st.floats(-1.5, 1.5)


def test_focal_length_follows_the_field_of_view() -> None:
    camera = Camera(320, 240, 75.0)
    assert camera.matrix[0, 0] == pytest.approx(160 / np.tan(np.radians(37.5)))
    assert camera.matrix[0, 0] == camera.matrix[1, 1]
    assert camera.matrix[0, 2] == 159.5
    assert camera.matrix[1, 2] == 119.5


def test_rays_are_the_inverse_of_the_matrix() -> None:
    camera = Camera(64, 48, 90.0)
    x, y = camera.rays
    pixel = camera.matrix @ np.array([x[10 * 64 + 7], y[10 * 64 + 7], 1.0])
    np.testing.assert_allclose(pixel, [7, 10, 1], atol=1e-5)


def test_a_level_camera_sees_what_lies_ahead_left_and_below() -> None:
    """Heading north at (10, 20): the camera is 1.5 m up; by hand, forward is +y and left is -x."""
    turn = rotation_from_angles(np.pi / 2, 0.0, 0.0)
    view = Viewpoint.on_body(np.array([10.0, 20.0, 0.0]), turn)
    np.testing.assert_allclose(view.centre, [10, 20, 1.5])
    seen = view.rotation @ (np.array([8.0, 25.0, 0.5]) - view.centre)
    np.testing.assert_allclose(seen, [-2.0, 1.0, 5.0], atol=1e-12)


def test_positive_pitch_looks_down() -> None:
    forward = rotation_from_angles(0.0, 0.1, 0.0) @ np.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(forward, [np.cos(0.1), 0.0, -np.sin(0.1)])


@given(angles, angles, angles)
def test_quaternion_and_matrix_are_the_same_rotation(yaw: float, pitch: float, roll: float) -> None:
    x, y, z, w = quaternion_from_angles(yaw, pitch, roll)
    assert x * x + y * y + z * z + w * w == pytest.approx(1.0)
    matrix = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    np.testing.assert_allclose(matrix, rotation_from_angles(yaw, pitch, roll), atol=1e-12)
