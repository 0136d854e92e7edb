"""The pose that a belief over neighbouring places amounts to, and how far it may be off."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from saane_ros.types import Pose

POSITION_FLOOR = 0.5
ANGLE_FLOOR = np.radians(5.0)
"""Standard deviations that remain where all belief lies on one place: a vehicle is never quite
where the map's vehicle was."""


def estimate_pose(
    positions: NDArray[np.float64],
    orientations: NDArray[np.float64],
    weights: NDArray[np.float64],
    spacing: float,
) -> tuple[Pose, tuple[float, ...]] | None:
    """Mean pose and row-major 6x6 covariance (x, y, z, roll, pitch, yaw) of weighted places.

    positions, orientations: of the places around the best one, (n, 3) and quaternions (n, 4), NaN
    where one has no pose.  weights: the belief in them (n,).
    spacing: metres between neighbouring places; a vehicle lies anywhere between two of them,
    which adds spacing^2 / 12 to the variance of the position. The mean rotation is that of
    Markley et al. 2007 (largest eigenvector of sum w q q^T); its covariance is in map axes.
    None where no place has a pose.
    """
    posed = ~np.isnan(positions[:, 0])
    share, points, quaternions = weights[posed], positions[posed], orientations[posed]
    if not len(share):
        return None
    total = float(share.sum())
    share = share / total if total > 0 else np.full(len(share), 1 / len(share))
    quaternions = quaternions / _lengths(quaternions)
    centre = share @ points
    rotation = _mean_rotation(quaternions, share)
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = _spread(points - centre, share)
    covariance[:3, :3] += (POSITION_FLOOR**2 + spacing**2 / 12) * np.eye(3)
    covariance[3:, 3:] = _spread(_rotation_vectors(quaternions, rotation), share)
    covariance[3:, 3:] += ANGLE_FLOOR**2 * np.eye(3)
    x, y, z = centre.tolist()
    qx, qy, qz, qw = rotation.tolist()
    return Pose((x, y, z), (qx, qy, qz, qw)), tuple(covariance.ravel().tolist())


def horizontal_deviation(covariance: tuple[float, ...]) -> float:
    """The largest standard deviation in the plane, metres, of a row-major 6x6 covariance."""
    xx, xy, yy = covariance[0], covariance[1], covariance[7]
    return math.sqrt(0.5 * (xx + yy) + math.hypot(0.5 * (xx - yy), xy))


def _lengths(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each vector (n, d), as (n, 1)."""
    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]


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
    sine = _lengths(product[:, :3])
    angle = 2 * np.arctan2(sine, product[:, 3:])
    return product[:, :3] * np.divide(angle, sine, out=np.full_like(sine, 2.0), where=sine > 1e-12)
