"""Poses of one map in the frame of another, by where both zeros lie on the Earth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from saane_ros.data.poses.files import quaternion_of
from saane_ros.errors import SaaneError
from saane_ros.geodesy import PLANE, enu_axes, from_enu, to_enu, to_utm
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Pose


def into_frame(source: RouteMap, target: RouteMap) -> Callable[[Pose], Pose]:
    """Turns poses of `source` into the frame of `target`.

    Maps without origins must name the same frame, and are taken as they are. Raises SaaneError
    where the frames cannot be related.
    """
    ours, theirs = target.info, source.info
    if (ours.origin is None) != (theirs.origin is None) or ours.grid != theirs.grid:
        raise SaaneError(
            f"{source.path} and {target.path} do not lie alike on the Earth (origin {theirs.origin}"
            f" on {theirs.grid}, {ours.origin} on {ours.grid}): build both from the same kind of "
            "poses."
        )
    if ours.origin is None or theirs.origin is None:
        if ours.frame_id != theirs.frame_id:
            raise SaaneError(
                f"{source.path} is in frame {theirs.frame_id} and {target.path} in "
                f"{ours.frame_id}: build both in one frame."
            )
        return lambda pose: pose
    if ours.origin == theirs.origin:
        return lambda pose: pose
    if ours.grid == PLANE:
        return lambda pose: _between_planes(pose, theirs.origin, ours.origin)  # type: ignore[arg-type]
    zone = int(ours.grid.removeprefix("utm_")[:-1])
    there, here = (np.array(to_utm(o[0], o[1], zone)[:2]) for o in (theirs.origin, ours.origin))
    shift = np.array([*(there - here), theirs.origin[2] - ours.origin[2]])
    return lambda pose: Pose(_triple(np.add(pose.position, shift)), pose.orientation)


def _between_planes(
    pose: Pose, source: tuple[float, float, float], target: tuple[float, float, float]
) -> Pose:
    position = to_enu(from_enu(np.array([pose.position]), source), target)[0]
    turn = enu_axes(target) @ enu_axes(source).T
    x, y, z, w = pose.orientation
    own = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return Pose(_triple(position), quaternion_of(turn @ own))


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
