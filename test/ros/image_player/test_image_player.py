"""The image player as a process of its own, heard over DDS."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import rclpy
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from scenes import smooth_scene
from sensor_msgs.msg import CompressedImage, Image, NavSatFix

from saane_ros.data.bags import BagReader, BagWriter
from saane_ros.messages.image import compressed_to_rgb, image_to_rgb
from saane_ros.ros.shared.clock import nanoseconds
from saane_ros.ros.shared.fast_dds import profile_environment
from saane_ros.ros.shared.qos import SENSOR, keep_last
from saane_ros.types import Pose

ROOT = Path(__file__).resolve().parents[3]
START = 1_600_000_000_000_000_000
STEP = 50_000_000
FRAMES = 12
# At import, before any node of this process: each test process has a domain of its own.
DOMAIN = 101 + os.getpid() % 100
WAIT_S = 120.0


class Listener:
    """A node in a context of its own, on the domain of the player."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context, domain_id=DOMAIN)
        self.node = Node("listener", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def collect(self, kind: type, topic: str, latched: bool = False) -> list:
        heard: list = []
        qos = keep_last(100, latched=latched)
        self.node.create_subscription(kind, topic, heard.append, qos)
        return heard

    def spin_while_running(self, process: subprocess.Popen) -> str:
        """Hear messages until the process has ended; what it wrote to standard error."""
        until = time.monotonic() + WAIT_S
        while process.poll() is None and time.monotonic() < until:
            self._executor.spin_once(timeout_sec=0.05)
        for _ in range(20):
            self._executor.spin_once(timeout_sec=0.01)
        assert process.poll() is not None, "the player did not end"
        return process.communicate()[1]

    def spin_until(self, condition) -> None:
        until = time.monotonic() + WAIT_S
        while not condition() and time.monotonic() < until:
            self._executor.spin_once(timeout_sec=0.05)
        assert condition()

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


@pytest.fixture
def listener(monkeypatch) -> Iterator[Listener]:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    listening = Listener()
    yield listening
    listening.close()


@pytest.fixture
def play() -> Iterator[object]:
    started: list[subprocess.Popen] = []

    def start(**parameters: object) -> subprocess.Popen:
        given = [f"-p {name}:={value}".split(" ", 1) for name, value in parameters.items()]
        process = subprocess.Popen(
            [sys.executable, "-m", "saane_ros.ros.image_player.node", "--ros-args"]
            + [part for pair in given for part in pair],
            cwd=ROOT,
            env={
                **os.environ,
                **profile_environment(),
                "ROS_DOMAIN_ID": str(DOMAIN),
                "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
                "OMP_NUM_THREADS": "1",
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(10)


@pytest.fixture
def bag(tmp_path) -> tuple[Path, list[np.ndarray]]:
    images = [smooth_scene(seed, 96, 128) for seed in range(FRAMES)]
    with BagWriter(tmp_path / "drive") as writer:
        for number, image in enumerate(images):
            stamp = START + number * STEP
            writer.write_image("/camera/image", image, stamp)
            writer.write_odometry("/odom", stamp + STEP // 2, Pose((float(number), 0.0, 0.0)))
    return tmp_path / "drive", images


@pytest.fixture
def folder(tmp_path) -> tuple[Path, list[np.ndarray]]:
    images = [smooth_scene(seed, 48, 64) for seed in range(FRAMES)]
    path = tmp_path / "photos"
    path.mkdir()
    for number, image in enumerate(images):
        cv2.imwrite(str(path / f"photo{number}.png"), image[..., ::-1])
    return path, images


def stamps(messages: list) -> list[int]:
    return [nanoseconds(message.header.stamp) for message in messages]


def test_a_bag_is_published_unchanged_and_in_order(listener, play, bag):
    path, images = bag
    heard = listener.collect(Image, "/camera/image")
    odometry = listener.collect(Odometry, "/odom")
    process = play(source=path, wait_for_subscribers=1)
    told = listener.spin_while_running(process)
    assert process.returncode == 0, told
    assert f"Played {2 * FRAMES} messages" in told
    assert stamps(heard) == [START + n * STEP for n in range(FRAMES)]
    for message, image in zip(heard, images, strict=True):
        assert (message.encoding, message.header.frame_id) == ("rgb8", "camera")
        np.testing.assert_array_equal(image_to_rgb(message), image)
    assert [message.pose.pose.position.x for message in odometry] == list(range(FRAMES))


def test_restamped_messages_keep_their_distances_and_come_at_their_times(listener, play, bag):
    path, _ = bag
    heard: list[tuple[int, int]] = []
    listener.node.create_subscription(
        Image,
        "/camera/image",
        lambda m: heard.append((nanoseconds(m.header.stamp), time.time_ns())),
        keep_last(100),
    )
    odometry = listener.collect(Odometry, "/odom")
    clock = listener.collect(Clock, "/clock")
    start = time.time_ns() + 6 * 10**9
    process = play(source=path, restamp="true", start_time_ns=start, clock="true")
    told = listener.spin_while_running(process)
    assert process.returncode == 0, told
    assert [stamp for stamp, _ in heard] == [start + n * STEP for n in range(FRAMES)]
    assert stamps(odometry) == [start + n * STEP + STEP // 2 for n in range(FRAMES)]
    assert all(arrived >= stamp for stamp, arrived in heard)
    told_times = [nanoseconds(message.clock) for message in clock]
    assert told_times == sorted(told_times)
    assert max(told_times) >= start + (FRAMES - 1) * STEP


def test_playing_may_wait_for_the_subscribers_of_chosen_topics(listener, play, bag):
    odometry = listener.collect(Odometry, "/odom")
    # Nobody subscribes to the images, which would be waited for otherwise.
    process = play(source=bag[0], wait_for_subscribers=1, wait_topics="[/odom]")
    listener.spin_while_running(process)
    assert process.returncode == 0
    assert stamps(odometry) == [START + number * STEP + STEP // 2 for number in range(FRAMES)]


def test_only_the_chosen_topics_are_played(listener, play, bag):
    images = listener.collect(Image, "/camera/image")
    odometry = listener.collect(Odometry, "/odom")
    process = play(source=bag[0], topics="[/odom]", rate=0.15)
    listener.spin_until(lambda: len(odometry) >= 2)
    listener.spin_while_running(process)
    assert process.returncode == 0
    assert images == []


def test_who_comes_late_hears_what_was_latched(listener, play, tmp_path):
    """Static transforms by two nodes, and an origin that its recorder had noted as latched.

    NavSatFix stands for tf2_msgs/TFMessage, a package that need not be here: the name decides.
    """
    with BagWriter(tmp_path / "drive") as writer:
        for number, latitude in enumerate((51.0, 52.0)):
            writer.write_fix("/tf_static", START + number, latitude, 0.0, 0.0)
        writer.write_fix("/ground_truth/origin", START + 2, 53.0, 0.0, 0.0)
        writer.write_fix("/said/once", START + 3, 54.0, 0.0, 0.0)
        for number in range(5 * FRAMES):
            writer.write_image("/camera/image", smooth_scene(number, 24, 32), START + number * STEP)
    with BagReader(tmp_path / "drive") as reader:
        latched = {name for name, info in reader.topics().items() if info.latched}
    assert latched == {"/tf_static", "/ground_truth/origin"}
    images: list = []
    listener.node.create_subscription(Image, "/camera/image", images.append, SENSOR)
    process = play(source=tmp_path / "drive", rate=0.2, reliability="best_effort")
    listener.spin_until(lambda: len(images) >= 3)
    transforms = listener.collect(NavSatFix, "/tf_static", latched=True)
    origin = listener.collect(NavSatFix, "/ground_truth/origin", latched=True)
    plain = listener.collect(NavSatFix, "/said/once")
    listener.spin_until(lambda: len(transforms) == 2 and len(origin) == 1)
    assert process.poll() is None
    assert sorted(message.latitude for message in transforms) == [51.0, 52.0]
    assert [message.latitude for message in origin] == [53.0]
    assert plain == []


def test_a_folder_is_published_in_natural_order(listener, play, folder):
    path, images = folder
    heard = listener.collect(Image, "/front/image")
    before = time.time_ns()
    process = play(source=path, frequency=20.0, image_topic="/front/image", wait_for_subscribers=1)
    told = listener.spin_while_running(process)
    assert process.returncode == 0, told
    found = stamps(heard)
    assert [stamp - found[0] for stamp in found] == [n * STEP for n in range(FRAMES)]
    assert before < found[0] < time.time_ns()
    for message, image in zip(heard, images, strict=True):
        np.testing.assert_array_equal(image_to_rgb(message), image)


def test_a_compressed_folder_publishes_the_files_bytes(listener, play, folder):
    path, images = folder
    (path / "photo3.png").write_bytes((path / "photo3.png").read_bytes()[:200])
    heard = listener.collect(CompressedImage, "image")
    process = play(source=path, frequency=50.0, compressed="true", wait_for_subscribers=1)
    told = listener.spin_while_running(process)
    assert process.returncode == 0, told
    assert "photo3.png is no whole image" in told
    kept = [number for number in range(FRAMES) if number != 3]
    for number, message in zip(kept, heard, strict=True):
        assert message.format == "png"
        assert bytes(message.data) == (path / f"photo{number}.png").read_bytes()
        np.testing.assert_array_equal(compressed_to_rgb(message), images[number])


def test_a_loop_goes_on_with_rising_stamps_until_it_is_ended(listener, play, folder):
    heard = listener.collect(Image, "image")
    process = play(source=folder[0], frequency=100.0, loop="true", wait_for_subscribers=1)
    listener.spin_until(lambda: len(heard) >= 3 * FRAMES)
    process.terminate()
    told = listener.spin_while_running(process)
    assert process.returncode == 0, told
    assert stamps(heard) == sorted(set(stamps(heard)))


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({}, "Parameter source is empty"),
        ({"source": "/no/such/bag"}, "There is no bag at /no/such/bag"),
        ({"source": "BAG", "topics": "[/lidar]"}, "Topic /lidar is not in .*: its topics are /cam"),
        ({"source": "BAG", "topics": "3"}, "is no list of topics"),
        ({"source": "BAG", "rate": "0.0"}, "rate is 0.0: give a value from 0.01 to 100"),
        ({"source": "BAG", "reliability": "some"}, "choose one of reliable, best_effort"),
        ({"source": "FOLDER", "topics": "[/a]"}, "folder of images, which has no topics"),
    ],
)
def test_wrong_parameters_end_it_with_one_sentence(play, bag, folder, parameters, told):
    paths = {"BAG": str(bag[0]), "FOLDER": str(folder[0])}
    if parameters.get("source") in paths:
        parameters = {**parameters, "source": paths[parameters["source"]]}
    process = play(**parameters)
    _, output = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    lines = [line for line in output.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("saane: ")
    assert re.search(told, lines[0])


def test_a_cut_bag_is_played_to_the_cut_and_named(listener, play, bag):
    path, _ = bag
    file = path / "drive.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size - 400])
    expected = BagReader(path).topics()["/camera/image"].count
    heard = listener.collect(Image, "/camera/image")
    process = play(source=path, wait_for_subscribers=1)
    told = listener.spin_while_running(process)
    assert process.returncode == 0, told
    assert len(heard) == expected > 0
    assert "not closed properly" in told
