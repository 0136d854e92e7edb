"""A pose track from the messages of a bag: NavSatFix, Odometry, PoseStamped and its relatives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from saane_ros.data.poses.track import PoseTrack, course_orientations
from saane_ros.geodesy import LatLonAlt, to_enu

FIX = "sensor_msgs/msg/NavSatFix"
ODOMETRY = "nav_msgs/msg/Odometry"
POSE_TYPES = (
    FIX,
    ODOMETRY,
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
)
_NO_FIX = 0
"""NavSatStatus below this says that the receiver had no fix."""


class UsablePoses:
    """Collects messages of one pose type into a track; `ignored` counts those of no use.

    Positions of NavSatFix are metres east, north and up of `origin`, the first fix where none is
    given.
    """

    def __init__(
        self, type_: str, messages: Iterable[tuple[int, Any]], origin: LatLonAlt | None = None
    ) -> None:
        self.ignored = 0
        self.origin = origin
        read = self._fixes if type_ == FIX else self._poses
        rows = [row for stamp_ns, message in messages for row in read(stamp_ns, message)]
        stamps = np.array([row[0] for row in rows], np.int64)
        columns = 3 if type_ == FIX else 7
        values = np.array([row[1:] for row in rows], np.float64).reshape(len(rows), columns)
        if type_ == FIX:
            order = np.argsort(stamps, kind="stable")
            fixes = values[order]
            positions = to_enu(fixes, self.origin) if self.origin else fixes
            self.track = PoseTrack(stamps[order], positions, course_orientations(positions))
        else:
            self.track = PoseTrack(stamps, values[:, :3], values[:, 3:])

    def _fixes(self, stamp_ns: int, message: Any) -> Iterator[tuple[float, ...]]:
        if message.status.status < _NO_FIX or not _is_on_earth(message):
            self.ignored += 1
            return
        altitude = message.altitude
        if self.origin is None:
            start = altitude if math.isfinite(altitude) else 0.0
            self.origin = (message.latitude, message.longitude, start)
        if not math.isfinite(altitude):  # receivers without one send NaN
            altitude = self.origin[2]
        yield stamp_ns, message.latitude, message.longitude, altitude

    def _poses(self, stamp_ns: int, message: Any) -> Iterator[tuple[float, ...]]:
        pose = message.pose.pose if hasattr(message.pose, "pose") else message.pose
        p, q = pose.position, pose.orientation
        values = (p.x, p.y, p.z, q.x, q.y, q.z, q.w)
        if not all(map(math.isfinite, values)) or math.hypot(*values[3:]) < 1e-6:
            self.ignored += 1
            return
        yield stamp_ns, *values


def _is_on_earth(message: Any) -> bool:
    # NaN fails both comparisons.
    return abs(message.latitude) <= 90 and abs(message.longitude) <= 180
