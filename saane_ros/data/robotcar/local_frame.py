"""The map frame of RobotCar: UTM metres from one fixed point, so that all traversals share it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from saane_ros.data.robotcar.poses import PoseRecord
from saane_ros.geodesy import LatLonAlt, from_utm
from saane_ros.types import Pose

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
    """The data set's own frame; for a drive elsewhere the kilometre corner of its first pose."""
    first = record.track.positions[0]
    near = math.dist(first[:2], OXFORD[:2]) <= FAR_M
    if near and record.zone == OXFORD_ZONE and not record.southern:
        return LocalFrame(OXFORD, OXFORD_ZONE)
    east, north = (1000.0 * math.floor(value / 1000.0) for value in first[:2])
    return LocalFrame((east, north, float(round(first[2]))), record.zone, record.southern)
