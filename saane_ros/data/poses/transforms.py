"""Rigid transforms: how one frame lies in another, as a `Pose`, and chains of them.

A transform `a_in_b` is the pose of frame a in frame b; it takes points of a to b, as in tf2 where b
is the parent. Right-handed, quaternions xyzw (REP-103).
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from saane_ros.data.poses.files import rotation_of
from saane_ros.data.poses.track import slerp
from saane_ros.errors import SaaneError
from saane_ros.types import Pose

Quaternion = tuple[float, float, float, float]
Vector = tuple[float, float, float]

IDENTITY = Pose((0.0, 0.0, 0.0))
OPTICAL = Pose((0.0, 0.0, 0.0), (-0.5, 0.5, -0.5, 0.5))
"""An optical frame (x right, y down, z forward) in the camera's axes x forward, y left, z up."""

_UP = math.cos(math.radians(45.0))


def compose(b_in_c: Pose, a_in_b: Pose) -> Pose:
    """a_in_c: one transform after another."""
    return Pose(apply(b_in_c, a_in_b.position), _product(b_in_c.orientation, a_in_b.orientation))


def inverse(a_in_b: Pose) -> Pose:
    """b_in_a."""
    x, y, z, w = a_in_b.orientation
    back = Pose((0.0, 0.0, 0.0), (-x, -y, -z, w))
    px, py, pz = apply(back, a_in_b.position)
    return Pose((-px, -py, -pz), back.orientation)


def apply(a_in_b: Pose, point: Vector) -> Vector:
    """A point (metres) of a in b."""
    x, y, z = (rotation_of(a_in_b.orientation) @ point + a_in_b.position).tolist()
    return x, y, z


def between(first: Pose, second: Pose, share: float) -> Pose:
    """The pose a share of the way from first (0) to second (1): straight, and the shorter turn."""
    x, y, z = (
        (1 - share) * a + share * b for a, b in zip(first.position, second.position, strict=True)
    )
    turn = slerp(np.array(first.orientation), np.array(second.orientation), share).tolist()
    return Pose((x, y, z), (turn[0], turn[1], turn[2], turn[3]))


def turn_between(first: Pose, second: Pose) -> float:
    """Radians of the turn from one orientation to another, 0 to pi."""
    x, y, z, w = _product(inverse(first).orientation, second.orientation)
    return 2 * math.atan2(math.hypot(x, y, z), abs(w))


def valid_pose(position: Vector, orientation: Quaternion) -> Pose | None:
    """The pose of a message, its quaternion made a unit one; None where it is none."""
    size = math.hypot(*orientation)
    if not all(map(math.isfinite, position)) or not 1e-6 < size < math.inf:
        return None
    x, y, z, w = (value / size for value in orientation)
    return Pose(position, (x, y, z, w))


def read_mount(text: str) -> Pose | None:
    """`x y z roll pitch yaw` as the pose of a camera on a body; None where the text is empty.

    Metres and radians, turned about the body's fixed x, then y, then z (as URDF's rpy); all zero
    is a camera in the body's origin that looks along its x. Commas may stand between the numbers.
    Raises SaaneError.
    """
    words = text.replace(",", " ").split()
    if not words:
        return None
    try:
        x, y, z, roll, pitch, yaw = map(float, words)
        if not all(map(math.isfinite, (x, y, z, roll, pitch, yaw))):
            raise ValueError
    except ValueError:
        raise SaaneError(
            f"The pose of the camera is {text!r}: give six numbers, x y z in metres and roll pitch "
            "yaw in radians."
        ) from None
    turn = (0.0, 0.0, 0.0, 1.0)
    for axis, angle in enumerate((roll, pitch, yaw)):
        about = [0.0, 0.0, 0.0, math.cos(angle / 2)]
        about[axis] = math.sin(angle / 2)
        turn = _product((about[0], about[1], about[2], about[3]), turn)
    return Pose((x, y, z), turn)


class StaticTransforms:
    """Frames that do not move against each other; filled and asked from different threads.

    A later word on a frame replaces the earlier one, as in tf2. Names lose a leading slash.
    """

    def __init__(self) -> None:
        self._in_parent: dict[str, tuple[str, Pose]] = {}

    def __len__(self) -> int:
        return len(self._in_parent)

    def add(self, parent: str, child: str, child_in_parent: Pose) -> None:
        """Take a transform; one of a frame to itself or without a name tells nothing."""
        parent, child = frame_name(parent), frame_name(child)
        if parent and child and parent != child:
            self._in_parent[child] = (parent, child_in_parent)

    def take(self, message: Any) -> None:
        """Take a tf2_msgs/TFMessage, of a bag or of ROS; what is no transform is left out."""
        for stamped in message.transforms:
            p, q = stamped.transform.translation, stamped.transform.rotation
            pose = valid_pose((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
            if pose is not None:
                self.add(stamped.header.frame_id, stamped.child_frame_id, pose)

    def find(self, frame: str, base: str) -> Pose | None:
        """`frame` in `base`, through any chain of transforms; None where none connects them."""
        frame, base = frame_name(frame), frame_name(base)
        if not frame or not base:
            return None
        steps: dict[str, list[tuple[str, Pose]]] = {}
        for child, (parent, child_in_parent) in list(self._in_parent.items()):
            steps.setdefault(parent, []).append((child, child_in_parent))
            steps.setdefault(child, []).append((parent, inverse(child_in_parent)))
        known = {base: IDENTITY}
        waiting = deque([base])
        while waiting and frame not in known:
            here = waiting.popleft()
            for there, there_in_here in steps.get(here, []):
                if there not in known:
                    known[there] = compose(known[here], there_in_here)
                    waiting.append(there)
        return known.get(frame)

    def camera(self, frame: str, base: str) -> Pose | None:
        """A camera's pose on a body, axes x forward, y left, z up, by the frame of its images.

        That frame is optical (x right, y down, z forward) as sensor_msgs/Image defines it. Drivers
        that name the camera's housing instead are known by its z, which points up: no camera that
        sees a road looks there.
        """
        found = self.find(frame, base)
        if found is None or rotation_of(found.orientation)[2, 2] > _UP:
            return found
        return compose(found, inverse(OPTICAL))


def frame_name(name: str) -> str:
    """A frame's name as tf2 has it, without the slash that tf put before it."""
    return name.strip().lstrip("/")


def _product(first: Quaternion, second: Quaternion) -> Quaternion:
    """Hamilton product of unit quaternions, made a unit one again."""
    x, y, z, w = first
    a, b, c, d = second
    product = (
        w * a + x * d + y * c - z * b,
        w * b - x * c + y * d + z * a,
        w * c + x * b - y * a + z * d,
        w * d - x * a - y * b - z * c,
    )
    size = math.hypot(*product)
    qx, qy, qz, qw = (value / size for value in product)
    return qx, qy, qz, qw
