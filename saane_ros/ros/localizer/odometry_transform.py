"""Where the odometry's frame lies in the map's, by localized frames (REP-105). Knows no ROS."""

from __future__ import annotations

import math
import threading
from typing import Any

from saane_ros.data.bags.poses import ODOMETRY_TYPE
from saane_ros.data.poses.plausibility import SECOND_NS
from saane_ros.data.poses.transforms import IDENTITY, between, compose, inverse, turn_between
from saane_ros.ros.map_builder.live_poses import LivePoses
from saane_ros.types import Pose

SMOOTHING_S = 2.0
"""Time constant: successive poses of a belief share their errors, and odometry is good for that
long."""
JUMP_M, JUMP_RAD = 5.0, math.radians(30.0)
"""A pose farther from the expected one is no noise: the belief moved, and is followed at once."""
APART_NS = 20_000_000
"""Odometry that comes more often says no more: braking with all force moves it 1 mm meanwhile."""
LASTS_S = 5.0
"""Frames whose odometry does not come are done without for so long."""


class OdometryTransform:
    """The odometry's frame in the map's, smoothed at the robot: frames come late and in steps.

    What is smoothed is the pose of the base that the transform leads to, not the transform itself:
    a degree about an origin a kilometre away is 17 m here. Filled and asked from different threads.
    base_in_child: the base in the child frame of the odometry.
    """

    def __init__(self) -> None:
        self._odometry = LivePoses(ODOMETRY_TYPE)
        self._kept_ns = 0
        self._lock = threading.Lock()
        self._breaks = 0
        self.base_in_child = IDENTITY
        self._odom_in_map: Pose | None = None
        self._waiting: tuple[int, Pose] | None = None
        self._newest_ns = self._taken_ns = 0

    def add(self, stamp_ns: int, message: Any) -> None:
        """Take a nav_msgs/Odometry."""
        if 0 < stamp_ns - self._kept_ns < APART_NS:
            return
        self._kept_ns = stamp_ns
        self._odometry.add(stamp_ns, message)

    def take(self, stamp_ns: int, base_in_map: Pose | None) -> None:
        """A localized frame, its pose None where it is not sure enough of where."""
        with self._lock:
            self._newest_ns = stamp_ns
            if base_in_map is not None:
                self._waiting = (stamp_ns, base_in_map)

    def withdraw(self) -> None:
        """Forget all; the next frame is believed at once."""
        with self._lock:
            self._forget()

    def odom_in_map(self) -> Pose | None:
        """The transform by all frames so far whose odometry has come; None without one."""
        with self._lock:
            counts = self._odometry.faults.counts
            breaks = counts["jumps"] + counts["restarts"]
            if breaks > self._breaks:  # the frame was set anew, and lies elsewhere in the map
                self._breaks, self._odom_in_map = breaks, None
            self._settle()
            if self._newest_ns - self._taken_ns > LASTS_S * SECOND_NS:
                self._odom_in_map = None
            return self._odom_in_map

    def _forget(self) -> None:
        self._odom_in_map = self._waiting = None
        self._newest_ns = self._taken_ns = 0

    def _settle(self) -> None:
        if self._waiting is None:
            return
        stamp_ns, measured = self._waiting
        found = self._odometry.at(stamp_ns, 0.0)
        if found is None:  # odometry may come later than the image's answer
            return
        self._waiting = None
        base_in_odom = compose(found[0], self.base_in_child)
        if self._odom_in_map is not None:
            expected = compose(self._odom_in_map, base_in_odom)
            measured = _smoothed(expected, measured, (stamp_ns - self._taken_ns) / SECOND_NS)
        self._odom_in_map = compose(measured, inverse(base_in_odom))
        self._taken_ns = stamp_ns


def _smoothed(expected: Pose, measured: Pose, seconds: float) -> Pose:
    """The first order low pass of what was measured so many seconds after the last."""
    far = math.dist(expected.position, measured.position) > JUMP_M
    if far or turn_between(expected, measured) > JUMP_RAD:
        return measured
    return between(expected, measured, 1 - math.exp(-max(seconds, 0.0) / SMOOTHING_S))


def frames_fault(odom: str, child: str, map_frame: str, topic: str) -> str:
    """Why odometry of these frames gives no transform, in words; empty where it can."""
    if not odom or not child:
        missing = "header.frame_id" if not odom else "child_frame_id"
        return f"the odometry on {topic} has no {missing}"
    if odom == map_frame:
        return f"the odometry on {topic} is in the map's own frame {odom}"
    return ""
