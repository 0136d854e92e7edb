"""A pose track from the messages of a bag: NavSatFix, Odometry, PoseStamped and its relatives."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.plausibility import FIXES, ODOMETRY, Faults
from saane_ros.data.poses.track import PoseTrack
from saane_ros.geodesy import LatLonAlt, to_enu

FIX = "sensor_msgs/msg/NavSatFix"
ODOMETRY_TYPE = "nav_msgs/msg/Odometry"
POSE_TYPES = (
    FIX,
    ODOMETRY_TYPE,
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
)
_NO_FIX = 0
"""NavSatStatus below this says that the receiver had no fix."""
_COVARIANCE_UNKNOWN = 0
_LARGEST_SIGMA_M = 100.0
"""A receiver that is less sure than this knows its town, not its street."""

Values = tuple[float, ...]


def pose_values(message: Any) -> Values | str:
    """x, y, z and quaternion x, y, z, w of a message of poses; or why it is none."""
    pose = message.pose.pose if hasattr(message.pose, "pose") else message.pose
    p, q = pose.position, pose.orientation
    values = (p.x, p.y, p.z, q.x, q.y, q.z, q.w)
    if not all(map(math.isfinite, values)):
        return "not finite"
    if math.hypot(*values[3:]) < 1e-6:
        return "without an orientation"
    return values


def fix_values(message: Any) -> Values | str:
    """Latitude, longitude, altitude (NaN where there is none) of a fix; or why it is none.

    Receivers that have none yet send 0, 0 with any status; that point is in the Gulf of Guinea.
    """
    latitude, longitude = message.latitude, message.longitude
    if message.status.status < _NO_FIX:
        return "without a fix"
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):  # NaN is not less either
        return "not finite"
    if latitude == 0 and longitude == 0:
        return "at latitude 0, longitude 0"
    if message.position_covariance_type != _COVARIANCE_UNKNOWN:
        variance = max(message.position_covariance[0], message.position_covariance[4])
        if variance > _LARGEST_SIGMA_M**2:
            return f"uncertain by over {_LARGEST_SIGMA_M:g} m"
    return latitude, longitude, message.altitude


def zero_of(fix: Values) -> LatLonAlt:
    """A fix as the zero of metres, on the ellipsoid where it has no altitude."""
    latitude, longitude, altitude = fix
    return latitude, longitude, altitude if math.isfinite(altitude) else 0.0


def fixes_to_metres(fixes: NDArray[np.float64], origin: LatLonAlt) -> NDArray[np.float64]:
    """East, north, up (n, 3) of fixes (n, 3); those without an altitude have the origin's."""
    known = np.where(np.isfinite(fixes), fixes, np.array(origin))
    return to_enu(known, origin)


class UsablePoses:
    """Collects messages of one pose type into a track.

    Positions of NavSatFix are metres east, north and up of `origin`, the first believed fix where
    none is given.  unusable: messages that hold no pose, by reason.  What the track does not
    believe is in `track.faults`.
    """

    def __init__(
        self, type_: str, messages: Iterable[tuple[int, Any]], origin: LatLonAlt | None = None
    ) -> None:
        self.unusable = Faults()
        self.origin = origin
        read = fix_values if type_ == FIX else pose_values
        stamps, rows = [], []
        for stamp_ns, message in messages:
            values = read(message)
            if isinstance(values, str):
                self.unusable.note(values, f"A message of poses is {values}.")
                continue
            stamps.append(stamp_ns)
            rows.append(values)
        times = np.array(stamps, np.int64)
        table = np.array(rows, np.float64).reshape(len(rows), 3 if type_ == FIX else 7)
        if type_ == FIX:
            self.track = self._of_fixes(times, table)
        else:
            self.track = PoseTrack(times, table[:, :3], table[:, 3:], limits=ODOMETRY)

    def _of_fixes(self, times: NDArray[np.int64], fixes: NDArray[np.float64]) -> PoseTrack:
        if not len(fixes):
            return PoseTrack(times, fixes, limits=FIXES)
        origin = self.origin or zero_of(tuple(fixes[0].tolist()))
        track = PoseTrack(times, fixes_to_metres(fixes, origin), limits=FIXES)
        if self.origin is None and len(track.rows):
            self.origin = zero_of(tuple(fixes[track.rows[0]].tolist()))
            if self.origin != origin:
                track = PoseTrack(times, fixes_to_metres(fixes, self.origin), limits=FIXES)
        return track
