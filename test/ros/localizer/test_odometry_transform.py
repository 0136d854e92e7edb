"""map -> odom by numbers: the transform, its smoothing, and when there is none."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigid import matrix, poses, same

from saane_ros.data.poses.files import yaw_quaternion
from saane_ros.data.poses.transforms import IDENTITY, compose, inverse
from saane_ros.ros.localizer.odometry_transform import (
    JUMP_M,
    LASTS_S,
    SMOOTHING_S,
    OdometryTransform,
    frames_fault,
)
from saane_ros.types import Pose

S = 1_000_000_000
AHEAD = Pose((1.0, 0.0, 0.0))
ODOM_IN_MAP = Pose((250.0, -40.0, 1.0), yaw_quaternion(2.0))


def message(pose: Pose) -> Any:
    (x, y, z), (qx, qy, qz, qw) = pose.position, pose.orientation
    inner = SimpleNamespace(
        position=SimpleNamespace(x=x, y=y, z=z),
        orientation=SimpleNamespace(x=qx, y=qy, z=qz, w=qw),
    )
    return SimpleNamespace(pose=SimpleNamespace(pose=inner))


def driven(seconds: float) -> Pose:
    """A curve at 4 m/s, in the frame of the odometry."""
    yaw = 0.02 * seconds
    return Pose((200 * math.sin(yaw), 200 * (1 - math.cos(yaw)), 0.0), yaw_quaternion(yaw))


class Drive:
    """Odometry ten times a second, and frames that are localized."""

    def __init__(self, base_in_child: Pose = IDENTITY, last_s: float = 20.0) -> None:
        self.transform = OdometryTransform()
        self.transform.base_in_child = base_in_child
        self.base_in_child = base_in_child
        self.go(0.0, last_s)

    def go(self, first_s: float, last_s: float, moved: Pose = IDENTITY) -> None:
        for tenth in range(round(10 * first_s), round(10 * last_s) + 1):
            pose = compose(moved, driven(tenth / 10))
            self.transform.add(1000 * S + tenth * S // 10, message(pose))

    def frame(self, seconds: float, off: Pose = IDENTITY) -> Pose | None:
        """Localize a frame, which is wrong by `off` in the map, and the transform after it."""
        truth = compose(compose(ODOM_IN_MAP, driven(seconds)), self.base_in_child)
        self.transform.take(1000 * S + round(seconds * S), compose(off, truth))
        return self.transform.odom_in_map()


@settings(max_examples=30)
@given(odom_in_map=poses(), base_in_child=poses(3.0), seconds=st.integers(1, 19))
def test_the_first_frame_gives_map_base_times_the_inverse_of_odom_base(
    odom_in_map: Pose, base_in_child: Pose, seconds: int
) -> None:
    drive = Drive(base_in_child)
    base_in_odom = matrix(driven(seconds)) @ matrix(base_in_child)
    base_in_map = compose(compose(odom_in_map, driven(seconds)), base_in_child)
    drive.transform.take(1000 * S + seconds * S, base_in_map)
    found = drive.transform.odom_in_map()
    assert found is not None
    same(found, matrix(base_in_map) @ np.linalg.inv(base_in_odom), 1e-5)
    same(found, matrix(odom_in_map), 1e-5)


def test_between_two_odometry_messages_it_is_interpolated() -> None:
    """At 4 m/s a twentieth of a second is 20 cm, which would be missing."""
    found = Drive().frame(7.05)
    assert found is not None
    same(found, matrix(ODOM_IN_MAP), 1e-3)


def test_fast_odometry_is_thinned_and_reaches_back_as_far() -> None:
    """A thousand messages a second, and a frame of eight seconds ago from a slow board."""
    drive = Drive(last_s=0.0)
    for milli in range(1, 9001):
        drive.transform.add(1000 * S + milli * S // 1000, message(driven(milli / 1000)))
    found = drive.frame(1.013)
    assert found is not None
    same(found, matrix(ODOM_IN_MAP), 1e-3)


def test_noise_is_smoothed_at_the_robot() -> None:
    """After one frame the base moves 1 - exp(-dt / tau) of the error, however far the origin."""
    drive = Drive(AHEAD)
    first = drive.frame(10.0)
    off = Pose((0.0, 2.0, 0.0))
    after = drive.frame(10.5, off)
    assert first is not None
    assert after is not None
    before, now = (compose(compose(t, driven(10.5)), AHEAD) for t in (first, after))
    share = 1 - math.exp(-0.5 / SMOOTHING_S)
    moved = np.array(now.position) - before.position
    np.testing.assert_allclose(moved, (0.0, 2.0 * share, 0.0), atol=1e-6)


def test_many_noisy_frames_scatter_less_than_their_poses() -> None:
    rng = np.random.default_rng(3)
    drive, raw, smooth = Drive(AHEAD, 45.0), [], []
    for tenth in range(10, 440, 2):
        x, y, yaw = rng.normal(0, (1.0, 1.0, 0.02))
        base = compose(compose(ODOM_IN_MAP, driven(tenth / 10)), AHEAD)
        about = compose(base, compose(Pose((x, y, 0.0), yaw_quaternion(yaw)), inverse(base)))
        found = drive.frame(tenth / 10, about)
        assert found is not None
        told = compose(compose(found, driven(tenth / 10)), AHEAD)
        if tenth > 100:
            raw.append(math.hypot(x, y))
            smooth.append(math.dist(told.position, base.position))
    # A low pass of step 0.2 s and 2 s lets the variance through as a / (2 - a), a = 0.095: 0.22.
    assert np.mean(smooth) < 0.35 * np.mean(raw)


def test_a_drift_of_the_odometry_is_followed() -> None:
    drive = Drive()
    for half in range(1, 36):
        # The frame of the odometry slides away by 10 cm a frame.
        found = drive.frame(half / 2, Pose((0.1 * half, 0.0, 0.0)))
    assert found is not None
    lag = ODOM_IN_MAP.position[0] + 3.5 - found.position[0]
    a = 1 - math.exp(-0.5 / SMOOTHING_S)
    assert lag == pytest.approx(0.1 * (1 - a) / a, rel=0.05)  # of a first order low pass


@pytest.mark.parametrize(
    "off", [Pose((JUMP_M + 0.1, 0.0, 0.0)), Pose((0.0, 0.0, 0.0), yaw_quaternion(0.6))]
)
def test_a_jump_is_taken_at_once(off: Pose) -> None:
    drive = Drive()
    drive.frame(5.0)
    base = compose(ODOM_IN_MAP, driven(5.5))
    about = compose(compose(base, off), inverse(base))
    found = drive.frame(5.5, about)
    assert found is not None
    same(compose(found, driven(5.5)), matrix(base) @ matrix(off))


def test_withdrawn_it_is_gone_and_then_believed_at_once() -> None:
    drive = Drive()
    assert drive.frame(5.0) is not None
    drive.transform.withdraw()
    assert drive.transform.odom_in_map() is None
    found = drive.frame(5.5, Pose((2.0, 0.0, 0.0)))
    assert found is not None
    assert found.position[0] == pytest.approx(ODOM_IN_MAP.position[0] + 2.0)


def test_odometry_that_comes_later_is_waited_for() -> None:
    drive = Drive(last_s=5.0)
    assert drive.frame(5.5) is None
    drive.go(5.1, 6.0)
    found = drive.transform.odom_in_map()
    assert found is not None
    same(found, matrix(ODOM_IN_MAP), 1e-3)


def test_without_odometry_the_last_one_ends() -> None:
    drive = Drive(last_s=5.0)
    assert drive.frame(4.9) is not None
    assert drive.frame(4.9 + LASTS_S - 0.1) is not None
    assert drive.frame(4.9 + LASTS_S + 0.1) is None


def test_frames_without_a_pose_end_it_too() -> None:
    drive = Drive()
    assert drive.frame(5.0) is not None
    drive.transform.take(1000 * S + round((5.0 + LASTS_S) * S), None)
    assert drive.transform.odom_in_map() is not None
    drive.transform.take(1000 * S + round((5.1 + LASTS_S) * S), None)
    assert drive.transform.odom_in_map() is None


def test_odometry_set_anew_ends_it_until_the_next_frame() -> None:
    """A driver that restarts begins at zero; the old transform would be wrong by all that was."""
    drive = Drive(last_s=10.0)
    assert drive.frame(9.0) is not None
    moved = Pose((-500.0, 30.0, 0.0), yaw_quaternion(1.0))
    drive.go(10.1, 12.0, moved)
    assert drive.transform.odom_in_map() is None
    found = drive.frame(11.5)
    assert found is not None
    same(compose(found, moved), matrix(ODOM_IN_MAP), 1e-3)


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        (("odom", "base_link"), ""),
        (("", "base_link"), "the odometry on /odom has no header.frame_id"),
        (("odom", ""), "the odometry on /odom has no child_frame_id"),
        (("map", "base_link"), "the odometry on /odom is in the map's own frame map"),
    ],
)
def test_frames_that_give_no_transform_are_told(frames: tuple[str, str], told: str) -> None:
    assert frames_fault(*frames, "map", "/odom") == told
