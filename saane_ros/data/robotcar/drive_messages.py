"""The poses of a traversal as messages of a bag, in a map frame that all traversals share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from saane_ros.data.bags.writer import BagWriter
from saane_ros.data.robotcar.poses import PoseRecord
from saane_ros.geodesy import LatLonAlt, from_utm
from saane_ros.types import Pose

TRUTH, FIX, ORIGIN = "/ground_truth/odometry", "/gps/fix", "/ground_truth/origin"
MAP_FRAME, BODY_FRAME = "map", "base_link"
_VELOCITY_STEP_NS = 100_000_000
OXFORD = (620_000.0, 5_735_000.0, 110.0)
"""Easting, northing and altitude of a point in the middle of the data set, in zone 30 north."""
OXFORD_ZONE = 30
FAR_M = 50_000.0


@dataclass(frozen=True)
class LocalFrame:
    """zero: easting, northing, altitude of the frame's origin in a UTM zone."""

    zero: tuple[float, float, float]
    zone: int
    southern: bool = False

    @property
    def origin(self) -> LatLonAlt:
        """Latitude, longitude, altitude of the zero."""
        latitude, longitude = from_utm(self.zero[0], self.zero[1], self.zone, self.southern)
        return latitude, longitude, self.zero[2]

    @property
    def grid(self) -> str:
        """How the frame lies on the Earth: "utm_30N" is along that zone's grid."""
        return f"utm_{self.zone}{'S' if self.southern else 'N'}"

    def local(self, pose: Pose) -> Pose:
        """A pose in UTM metres as one in this frame."""
        x, y, z = (value - zero for value, zero in zip(pose.position, self.zero, strict=True))
        return Pose((x, y, z), pose.orientation)


def local_frame(record: PoseRecord) -> LocalFrame:
    """UTM metres from a point that is the same for all drives of the data set.

    For a drive elsewhere it is the kilometre corner of the first pose.
    """
    first = record.track.positions[0]
    near = math.dist(first[:2], OXFORD[:2]) <= FAR_M
    if near and record.zone == OXFORD_ZONE and not record.southern:
        return LocalFrame(OXFORD, OXFORD_ZONE)
    east, north = (1000.0 * math.floor(value / 1000.0) for value in first[:2])
    return LocalFrame((east, north, float(round(first[2]))), record.zone, record.southern)


class DriveMessages:
    """Writes the poses of a traversal into a bag."""

    def __init__(self, record: PoseRecord) -> None:
        self._record = record
        self._frame = local_frame(record)

    def write_origin(self, writer: BagWriter, stamp_ns: int) -> None:
        """Where the map frame's zero lies, as a NavSatFix whose frame_id names the grid."""
        writer.write_fix(ORIGIN, stamp_ns, *self._frame.origin, self._frame.grid)

    def write(self, writer: BagWriter, stamp_ns: int) -> bool:
        """Odometry and NavSatFix at a stamp; False where there is no pose."""
        found = self._record.track.at(stamp_ns)
        if found is None:
            return False
        velocity = self._velocity(stamp_ns, found[0].orientation)
        writer.write_odometry(
            TRUTH,
            stamp_ns,
            self._frame.local(found[0]),
            linear=velocity,
            frame_id=MAP_FRAME,
            child_frame_id=BODY_FRAME,
        )
        writer.write_fix(FIX, stamp_ns, *self._record.geographic_at(stamp_ns), BODY_FRAME)
        return True

    def _velocity(
        self, stamp_ns: int, orientation: tuple[float, float, float, float]
    ) -> tuple[float, float, float]:
        """m/s along the body's axes, over a tenth of a second on either side; 0 at the ends."""
        ends = [
            self._record.track.at(stamp_ns + step)
            for step in (-_VELOCITY_STEP_NS, _VELOCITY_STEP_NS)
        ]
        if ends[0] is None or ends[1] is None:
            return 0.0, 0.0, 0.0
        moved = np.subtract(ends[1][0].position, ends[0][0].position)
        x, y, z = moved / (2e-9 * _VELOCITY_STEP_NS) @ _rotation(orientation)
        return float(x), float(y), float(z)


def _rotation(q: tuple[float, float, float, float]) -> np.ndarray:
    x, y, z, w = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
