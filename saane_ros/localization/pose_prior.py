"""A pose that somebody tells, as a belief over the spots of a map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.localization.pose_estimate import ANGLE_FLOOR
from saane_ros.route_map.place_graph import PlaceGraph
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Pose

SLACK_M = 3.0
"""Metres of standard deviation that a pose has beside its covariance: nobody clicks better, and a
vehicle never drives quite where the map's drove."""
FARTHEST_SIGMA = 5.0
"""Standard deviations from the nearest place beyond which a pose is not on the map."""
_LEAST_LOG = -20.0
"""Log of a spot's likelihood against the best one's, below which it is left out."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PosePrior:
    """covariance: row-major 6x6 (x, y, z, roll, pitch, yaw), as of a match.

    frame_id: of the pose.  map_name: of the one map that it is of, empty where it may be any.
    """

    pose: Pose
    covariance: tuple[float, ...]
    frame_id: str
    map_name: str = ""


def spots_at(route_map: RouteMap, graph: PlaceGraph, prior: PosePrior) -> tuple[Ints, Floats]:
    """Spots (n,) ascending and their shares (n,), sum 1, by the Gaussian of a prior.

    Its yaw counts where the map has headings. Raises SaaneError where the prior is no pose, is of
    another frame or far from the map, or where the map has no poses.
    """
    plane, yaw_variance = _checked(prior)
    info = route_map.info
    if not route_map.metric:
        raise SaaneError(
            f"Map {info.name} has no poses, so an initial pose says nothing on it: build the map "
            "with poses."
        )
    if prior.frame_id.strip("/") != info.frame_id.strip("/"):
        raise SaaneError(
            f"The initial pose is in frame {prior.frame_id or '(none)'} and map {info.name} in "
            f"frame {info.frame_id}: give it in {info.frame_id} (the fixed frame of RViz)."
        )
    apart = route_map.places.positions[:, :2] - prior.pose.position[:2]
    plane = plane + (SLACK_M**2 + graph.step**2 / 12) * np.eye(2)
    squares = np.einsum("ni,ij,nj->n", apart, np.linalg.inv(plane), apart)
    nearest = int(squares.argmin())
    sigma = float(np.sqrt(squares[nearest]))
    if sigma > FARTHEST_SIGMA:
        metres = float(np.linalg.norm(apart, axis=1).min())
        raise SaaneError(
            f"The initial pose is {metres:.0f} m ({sigma:.0f} standard deviations) from the "
            f"nearest place of map {info.name}: give one on the route, or a wider covariance."
        )
    turns = route_map.places.orientations
    if (turns != turns[0]).any():  # else all are as good as unknown
        off = _yaws(turns) - _yaws(np.array([prior.pose.orientation]))
        off = (off + np.pi) % (2 * np.pi) - np.pi
        squares = squares + off**2 / (yaw_variance + ANGLE_FLOOR**2)
    logs = np.full(graph.count, -np.inf)
    np.maximum.at(logs, graph.spot, -0.5 * squares)
    spots = np.flatnonzero(logs > logs.max() + _LEAST_LOG)
    shares = np.exp(logs[spots] - logs.max())
    return spots, shares / shares.sum()


def _checked(prior: PosePrior) -> tuple[Floats, float]:
    """Covariance in the plane (2, 2) and variance of yaw; SaaneError where there is none."""
    covariance = np.array(prior.covariance, np.float64).reshape(6, 6)
    numbers = np.concatenate((covariance.ravel(), prior.pose.position, prior.pose.orientation))
    length = float(np.linalg.norm(prior.pose.orientation))
    plane = 0.5 * (covariance + covariance.T)[:2, :2]
    if (
        not np.isfinite(numbers).all()
        or abs(length - 1) > 0.1
        or np.linalg.eigvalsh(plane)[0] < -1e-6
        or covariance[5, 5] < 0
    ):
        raise SaaneError(
            "The initial pose is no finite position with a unit quaternion and a covariance: "
            "check who publishes it."
        )
    return plane, float(covariance[5, 5])


def _yaws(turns: Floats) -> Floats:
    """Yaws (n,) of quaternions (n, 4)."""
    x, y, z, w = turns.T
    return np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
