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
    quaternions = quaternions / np.sqrt((quaternions * quaternions).sum(axis=1))[:, None]
    centre = share @ points
    rotation = _mean_rotation(quaternions, share)
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = _spread(points - centre, share)
    covariance[3:, 3:] = _spread(_rotation_vectors(quaternions, rotation), share)
    floor = POSITION_FLOOR**2 + spacing**2 / 12
    covariance.flat[::7] += (floor, floor, floor, *[ANGLE_FLOOR**2] * 3)
    x, y, z = centre.tolist()
    qx, qy, qz, qw = rotation.tolist()
    return Pose((x, y, z), (qx, qy, qz, qw)), tuple(covariance.ravel().tolist())


def horizontal_deviation(covariance: tuple[float, ...]) -> float:
    """The largest standard deviation in the plane, metres, of a row-major 6x6 covariance."""
    xx, xy, yy = covariance[0], covariance[1], covariance[7]
    return math.sqrt(0.5 * (xx + yy) + math.hypot(0.5 * (xx - yy), xy))


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
    x, y, z, w = mean.tolist()
    product = quaternions @ np.array(((w, z, -y, x), (-z, w, x, y), (y, -x, w, z), (-x, -y, -z, w)))
    axis, cosine = product[:, :3], product[:, 3]
    sine = np.sqrt((axis * axis).sum(axis=1))
    length = 2 * np.arctan2(sine, np.abs(cosine)) / np.maximum(sine, 1e-12)
    length = np.where(sine > 1e-12, length, 2.0)
    return axis * np.where(cosine < 0, -length, length)[:, None]
