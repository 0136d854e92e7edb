"""Poses as matrices: the second way to compute with them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from saane_ros.types import Pose

Matrix = NDArray[np.float64]


def matrix(pose: Pose) -> Matrix:
    """The 4 x 4 matrix of a pose."""
    found = np.eye(4)
    found[:3, :3] = Rotation.from_quat(pose.orientation).as_matrix()
    found[:3, 3] = pose.position
    return found


def same(pose: Pose, expected: Matrix, tolerance: float = 1e-6) -> None:
    """Assert that a pose is that of a matrix."""
    np.testing.assert_allclose(matrix(pose), expected, rtol=0, atol=tolerance)


def poses(farthest: float = 1000.0) -> st.SearchStrategy[Pose]:
    """Poses with any orientation."""
    metres = st.floats(-farthest, farthest)
    numbers = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)
    return st.builds(Pose, st.tuples(metres, metres, metres), numbers.map(_unit))


def _unit(numbers: tuple[float, ...]) -> tuple[float, float, float, float]:
    x, y, z, w = (np.array(numbers) / np.linalg.norm(numbers)).tolist()
    return x, y, z, w
