"""Poses of one map in the frame of another, by where both zeros lie on the Earth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from saane_ros.data.poses.files import quaternion_of, rotation_of
from saane_ros.data.poses.transforms import compose, inverse
from saane_ros.errors import SaaneError
from saane_ros.geodesy import PLANE, enu_axes, from_enu, to_enu, to_utm
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Pose


def into_frame(source: RouteMap, target: RouteMap) -> Callable[[Pose], Pose]:
    """Turns poses of `source` into the frame of `target`, and into those of its body.

    Maps without origins must name the same frame, and are taken as they are; so are the bodies of
    maps that do not tell where their camera sat. Raises SaaneError where the frames cannot be
    related.
    """
    move, ours, theirs = _between_frames(source, target), target.info.camera, source.info.camera
    if ours is None or theirs is None or ours == theirs:
        return move
    offset = compose(theirs, inverse(ours))
    return lambda pose: compose(move(pose), offset)


def _between_frames(source: RouteMap, target: RouteMap) -> Callable[[Pose], Pose]:
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
    own = rotation_of(pose.orientation)
    return Pose(_triple(position), quaternion_of(turn @ own))


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
