from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from sensor_msgs.msg import NavSatFix, NavSatStatus

from saane_ros.ros.map_builder.live_poses import LivePoses

S = 1_000_000_000


def odometry(x: float, yaw: float = 0.0) -> Odometry:
    message = Odometry()
    message.pose.pose.position.x = x
    message.pose.pose.orientation.z = math.sin(yaw / 2)
    message.pose.pose.orientation.w = math.cos(yaw / 2)
    return message


def fix(latitude: float, longitude: float, status: int = NavSatStatus.STATUS_FIX) -> NavSatFix:
    message = NavSatFix(latitude=latitude, longitude=longitude, altitude=0.0)
    message.status.status = status
    return message


def test_poses_are_interpolated_and_the_way_is_summed() -> None:
    poses = LivePoses("nav_msgs/msg/Odometry")
    poses.add(0, odometry(0.0))
    poses.add(S, odometry(4.0, yaw=1.0))
    poses.add(2 * S, odometry(0.0))
    found = poses.at(S // 4, 0)
    assert found is not None
    pose, travelled = found
    assert pose.position == pytest.approx((1.0, 0, 0))
    assert 2 * math.atan2(pose.orientation[2], pose.orientation[3]) == pytest.approx(0.25)
    assert travelled == pytest.approx(1.0)
    back = poses.at(2 * S, 0)
    assert back is not None
    assert back[1] == pytest.approx(8.0)


def test_the_pose_after_the_image_is_waited_for_but_not_forever() -> None:
    poses = LivePoses("nav_msgs/msg/Odometry")
    poses.add(0, odometry(0.0))
    assert poses.at(S // 2, patience_s=0.05) is None
    later = threading.Timer(0.1, lambda: poses.add(S, odometry(2.0)))
    later.start()
    began = time.monotonic()
    found = poses.at(S // 2, patience_s=20)
    assert found is not None
    assert found[0].position[0] == pytest.approx(1.0)
    assert time.monotonic() - began < 15


def test_fixes_are_metres_of_the_first_and_head_along_the_course() -> None:
    poses = LivePoses("sensor_msgs/msg/NavSatFix")
    poses.add(0, fix(48.0, 11.0, NavSatStatus.STATUS_NO_FIX))
    poses.add(S, fix(math.nan, 11.0))
    assert poses.ignored == 2
    assert poses.origin is None
    for index in range(5):
        poses.add((2 + index) * S, fix(48.0 + index * 1e-4, 11.0))
    assert poses.origin == (48.0, 11.0, 0.0)
    found = poses.at(4 * S, 0)
    assert found is not None
    pose, travelled = found
    # One degree of latitude at 48 N is 111.2 km (a quarter of the meridian is 10,001.97 km).
    assert pose.position[:2] == pytest.approx((0.0, 22.24), abs=0.02)
    assert travelled == pytest.approx(22.24, abs=0.02)
    np.testing.assert_allclose(pose.orientation, (0, 0, math.sqrt(0.5), math.sqrt(0.5)), atol=1e-6)


def test_a_zero_quaternion_is_ignored() -> None:
    poses = LivePoses("nav_msgs/msg/Odometry")
    message = Odometry()
    message.pose.pose.orientation.w = 0.0
    poses.add(0, message)
    assert poses.ignored == 1
    assert poses.at(0, 0) is None


def test_one_wrong_pose_is_left_out_and_a_jump_of_the_frame_is_no_way() -> None:
    poses = LivePoses("nav_msgs/msg/Odometry")
    for row in range(100):
        x = 0.5 * row + (300 if row >= 60 else 0)
        poses.add(row * S // 10, odometry({0: 1e200, 30: 5e4, 40: math.nan}.get(row, x)))
    found = poses.at(99 * S // 10, 0)
    assert found is not None
    assert found[0].position[0] == pytest.approx(349.5)
    assert found[1] == pytest.approx(0.5 * 97)
    assert poses.at(3 * S, 0)[0].position[0] == pytest.approx(15.0)  # type: ignore[index]
    assert poses.at(595 * S // 100, 0) is None  # between the frames
    assert dict(poses.faults.counts) == {"absurd": 1, "outliers": 1, "not finite": 1, "jumps": 1}
    assert poses.ignored == 3


def test_fixes_without_a_fix_yet_neither_are_the_origin_nor_a_way() -> None:
    poses = LivePoses("sensor_msgs/msg/NavSatFix")
    for second in range(20):
        if second < 5:
            poses.add(second * S, fix(0.0, 0.0))
        else:
            poses.add(second * S, fix(48.0 + 2e-5 * second, 11.0 + (second == 5) * 0.5))
    assert poses.origin == pytest.approx((48.00012, 11.0, 0.0))
    assert poses.ignored == 6
    found = poses.at(19 * S, 0)
    assert found is not None
    assert found[1] == pytest.approx(13 * 2.224, abs=0.02)


def test_standing_in_noise_is_no_way_and_keeps_the_heading() -> None:
    random, poses = np.random.default_rng(4), LivePoses("sensor_msgs/msg/NavSatFix")
    metre = math.degrees(1 / 6_378_137.0)
    for row in range(600):
        driven = 0.5 * min(row, 100)  # 50 m north, then 50 s standing
        north, east = metre * (driven + random.normal(0, 0.7)), metre * random.normal(0, 0.7)
        poses.add(row * S // 10, fix(north, east))
    found = poses.at(599 * S // 10, 0)
    assert found is not None
    assert found[1] == pytest.approx(50, abs=7)
    assert 2 * math.atan2(*found[0].orientation[2:]) == pytest.approx(math.pi / 2, abs=0.5)


def test_a_clock_set_back_is_followed_and_other_clocks_are_told() -> None:
    poses = LivePoses("nav_msgs/msg/Odometry")
    start = 1_700_000_000 * S
    for row in range(40):
        back = 3600 * S if row >= 20 else 0
        poses.add(start + row * S // 10 - back, odometry(row / 10))
    found = poses.at(start - 3600 * S + 39 * S // 10, 0)
    assert found is not None
    assert found[0].position[0] == pytest.approx(3.9)
    assert found[1] == pytest.approx(3.7, abs=0.11)
    assert poses.faults.counts["restarts"] == 1
    assert poses.period_s() == pytest.approx(0.1)
    assert "1970-01-01 00:00:12 and the newest pose of 2023-11-14" in poses.other_clock(12 * S)
    assert poses.other_clock(start - 3590 * S) == ""
