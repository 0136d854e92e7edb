"""The pose that a belief over neighbouring places amounts to, and how far it may be off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saane_ros.types import Place, Pose

POSITION_FLOOR = 0.5
ANGLE_FLOOR = np.radians(5.0)
"""Standard deviations that remain where all belief lies on one place: a vehicle is never quite
where the map's vehicle was."""


def estimate_pose(
    places: Sequence[Place], weights: NDArray[np.float64], spacing: float
) -> tuple[Pose, tuple[float, ...]] | None:
    """Mean pose and row-major 6x6 covariance (x, y, z, roll, pitch, yaw) of weighted places.

    places, weights: the places around the best one and the belief in them (n,).
    spacing: metres between neighbouring places; a vehicle lies anywhere between two of them,
    which adds spacing^2 / 12 to the variance of the position. The mean rotation is that of
    Markley et al. 2007 (largest eigenvector of sum w q q^T); its covariance is in map axes.
    None where no place has a pose.
    """
    posed = [(p.pose, w) for p, w in zip(places, weights, strict=True) if p.pose is not None]
    if not posed:
        return None
    share = np.array([weight for _, weight in posed])
    share = share / share.sum() if share.sum() > 0 else np.full(len(posed), 1 / len(posed))
    points = np.array([pose.position for pose, _ in posed], dtype=np.float64)
    quaternions = np.array([pose.orientation for pose, _ in posed], dtype=np.float64)
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)

    centre = share @ points
    rotation = _mean_rotation(quaternions, share)
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = _spread(points - centre, share)
    covariance[:3, :3] += (POSITION_FLOOR**2 + spacing**2 / 12) * np.eye(3)
    covariance[3:, 3:] = _spread(_rotation_vectors(quaternions, rotation), share)
    covariance[3:, 3:] += ANGLE_FLOOR**2 * np.eye(3)
    x, y, z = (float(value) for value in centre)
    qx, qy, qz, qw = (float(value) for value in rotation)
    return Pose((x, y, z), (qx, qy, qz, qw)), tuple(float(v) for v in covariance.ravel())


def horizontal_deviation(covariance: tuple[float, ...]) -> float:
    """The largest standard deviation in the plane, metres, of a row-major 6x6 covariance."""
    plane = np.array(covariance).reshape(6, 6)[:2, :2]
    return float(np.sqrt(np.linalg.eigvalsh(plane)[-1]))


def _spread(offsets: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    return (offsets * share[:, None]).T @ offsets


def _mean_rotation(
    quaternions: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    mean = np.linalg.eigh(_spread(quaternions, share))[1][:, -1]
    return mean if mean[3] >= 0 else -mean


def _rotation_vectors(
    quaternions: NDArray[np.float64], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rotation vectors (n, 3) of q_i mean^-1, the turn in map axes from the mean to each."""
    x, y, z, w = quaternions.T
    mx, my, mz, mw = -mean[0], -mean[1], -mean[2], mean[3]
    product = np.stack(
        (
            w * mx + x * mw + y * mz - z * my,
            w * my - x * mz + y * mw + z * mx,
            w * mz + x * my - y * mx + z * mw,
            w * mw - x * mx - y * my - z * mz,
        ),
        axis=1,
    )
    product *= np.where(product[:, 3:] < 0, -1.0, 1.0)
    sine = np.linalg.norm(product[:, :3], axis=1, keepdims=True)
    angle = 2 * np.arctan2(sine, product[:, 3:])
    return product[:, :3] * np.divide(angle, sine, out=np.full_like(sine, 2.0), where=sine > 1e-12)
