"""The Fast DDS profile: when it is set, what size fits, and that images pass under it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from saane_ros.ros.shared import fast_dds
from saane_ros.ros.shared.fast_dds import profile_environment

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "config" / "fast_dds.xml"
NAME, OLD_NAME = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"
MEGABYTE = 1 << 20


def segment_bytes(profile: str) -> int:
    tree = ElementTree.parse(profile)
    return int(tree.find(".//{http://www.eprosima.com}segment_size").text)


def test_the_shipped_profile_has_a_segment_of_64_mb():
    assert segment_bytes(str(SHIPPED)) == 64 * MEGABYTE


@pytest.mark.parametrize("name", [NAME, OLD_NAME])
def test_a_profile_of_the_users_own_is_left(name):
    assert profile_environment({name: "mine.xml"}) == {}


@pytest.mark.parametrize(
    ("free_mb", "segment_mb"),
    [(24_000, 64), (256, 64), (255, 32), (64, 16), (63, 8), (31, None), (0, None)],
)
def test_the_segment_fits_four_times_into_shared_memory(free_mb, segment_mb, monkeypatch, tmp_path):
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path))
    monkeypatch.setattr(fast_dds, "_free_bytes", lambda folder: free_mb * MEGABYTE)
    found = profile_environment({})
    if segment_mb is None:
        assert found == {}
        return
    assert list(found) == [NAME]
    profile = found[NAME]
    assert segment_bytes(profile) == segment_mb * MEGABYTE
    assert (profile == str(SHIPPED)) == (segment_mb == 64)


@pytest.mark.parametrize(
    ("distribution", "name"),
    [("humble", OLD_NAME), ("jazzy", OLD_NAME), ("kilted", NAME), ("rolling", NAME)],
)
def test_the_variable_is_the_one_that_the_distribution_reads(distribution, name, monkeypatch):
    monkeypatch.setattr(fast_dds, "_free_bytes", lambda folder: 1024 * MEGABYTE)
    assert profile_environment({"ROS_DISTRO": distribution}) == {name: str(SHIPPED)}


def test_without_shared_memory_there_is_no_profile(monkeypatch, tmp_path):
    monkeypatch.setattr(fast_dds, "_SHARED_MEMORY", tmp_path / "none")
    assert profile_environment({}) == {}


CAMERA = """
import sys, time, rclpy
from saane_ros.messages.encode import rgb_to_image_fields
from saane_ros.ros.shared.qos import BEST_EFFORT, keep_last
from sensor_msgs.msg import Image
import numpy as np
rclpy.init()
node = rclpy.create_node("camera")
publisher = node.create_publisher(Image, "image", keep_last(5, BEST_EFFORT))
while not publisher.get_subscription_count():
    time.sleep(0.01)
time.sleep(0.5)
for number in range(45):
    image = np.full((960, 1280, 3), number, np.uint8)
    publisher.publish(Image(**rgb_to_image_fields(image)))
    time.sleep(1 / 30)
time.sleep(1)
rclpy.shutdown()
"""
VIEWER = """
import time, rclpy
from saane_ros.ros.shared.qos import BEST_EFFORT, keep_last
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("viewer")
seen = []
node.create_subscription(
    Image, "image", lambda m: seen.append((m.data[0], m.data[-1], len(m.data))),
    keep_last(50, BEST_EFFORT),
)
until = time.monotonic() + 150
while time.monotonic() < until and not (seen and seen[-1][0] == 44):
    rclpy.spin_once(node, timeout_sec=0.1)
    if seen and not node.get_publishers_info_by_topic("image"):
        break
assert all(first == last and size == 960 * 1280 * 3 for first, last, size in seen)
print(len(seen))
rclpy.shutdown()
"""


def test_best_effort_camera_images_arrive_whole_under_the_profile():
    profile = profile_environment({"ROS_DISTRO": os.environ.get("ROS_DISTRO", "")})
    if not profile:
        pytest.skip("/dev/shm has no room for shared-memory segments")
    environment = {
        **os.environ,
        **profile,
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_DOMAIN_ID": str(100 + os.getpid() % 60),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    viewer = subprocess.Popen(
        [sys.executable, "-c", VIEWER], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        subprocess.run([sys.executable, "-c", CAMERA], env=environment, check=True, timeout=120)
        output, _ = viewer.communicate(timeout=60)
    finally:
        viewer.terminate()
    # By the defaults 0 to 8 % arrive; a reader that is short of processor time may miss a few.
    assert int(output) >= 40
