"""The poses of a traversal as messages of a bag."""

from __future__ import annotations

import numpy as np

from saane_ros.data.bags.writer import BagWriter
from saane_ros.data.robotcar.local_frame import local_frame
from saane_ros.data.robotcar.poses import PoseRecord

TRUTH, FIX, ORIGIN = "/ground_truth/odometry", "/gps/fix", "/ground_truth/origin"
MAP_FRAME, BODY_FRAME = "map", "base_link"
_VELOCITY_STEP_NS = 100_000_000


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
