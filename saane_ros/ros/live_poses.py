"""Where the vehicle was at the moment of an image, from the poses that arrive meanwhile."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.bags.poses import FIX, UsablePoses
from saane_ros.data.poses.track import PoseTrack, course_orientations
from saane_ros.geodesy import LatLonAlt
from saane_ros.ros.travelled import TravelledDistance
from saane_ros.types import Pose

_KEPT = 500


class LivePoses:
    """The last poses of one topic; filled by the executor, read by the worker.

    type_name: "nav_msgs/msg/Odometry", "geometry_msgs/msg/PoseStamped" or NavSatFix's, whose
    positions are metres east, north and up of `origin` (the first fix where none is given),
    headed along the course.
    """

    def __init__(self, type_name: str, origin: LatLonAlt | None = None) -> None:
        self.origin = origin
        self.ignored = 0
        self._type = type_name
        self._travelled = TravelledDistance()
        self._arrived = threading.Condition()
        self._rows: deque[tuple[int, NDArray[np.float64], NDArray[np.float64]]] = deque(
            maxlen=_KEPT
        )

    def add(self, stamp_ns: int, message: Any) -> None:
        """Take a message; one without a fix or with values that are not finite is ignored."""
        usable = UsablePoses(self._type, [(stamp_ns, message)], self.origin)
        self.ignored += usable.ignored
        if usable.ignored:
            return
        self.origin = usable.origin
        position, orientation = usable.track.positions[0], usable.track.orientations[0]
        x, y, z = (float(value) for value in position)
        self._travelled.add(stamp_ns, (x, y, z), (0.0, 0.0, 0.0, 0.0))
        with self._arrived:
            self._rows.append((stamp_ns, position, orientation))
            self._arrived.notify_all()

    def at(self, stamp_ns: int, patience_s: float) -> tuple[Pose, float] | None:
        """Pose and metres travelled, between the poses before and after the stamp.

        Waits for the pose after it; None where it does not come or there is none before.
        """
        with self._arrived:
            self._arrived.wait_for(
                lambda: any(row[0] >= stamp_ns for row in self._rows), timeout=patience_s
            )
            rows = list(self._rows)
        travelled = self._travelled.at(stamp_ns)
        if not rows or travelled is None:
            return None
        stamps, positions, orientations = (np.array(part) for part in zip(*rows, strict=True))
        if self._type == FIX:
            orientations = course_orientations(positions)
        found = PoseTrack(stamps, positions, orientations).at(stamp_ns)
        return None if found is None else (found[0], travelled)
