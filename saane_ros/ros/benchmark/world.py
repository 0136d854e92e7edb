"""What the benchmark measures against: a large map, a model of known duration, a camera."""

from __future__ import annotations

import time
from collections.abc import Sequence
from multiprocessing.synchronize import Event
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.route_map.builder import RouteMapBuilder
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Embedding, Frame, Pose, Rgb

WIDTH, HEIGHT = 1280, 960
PLACES, DIMENSIONS = 2000, 7680


class DriveEmbedder:
    """Descriptors of a drive along a route, whatever the images show, in a fixed time.

    Neighbouring places are alike and distant ones are not: a random walk on the sphere of norm 10.
    """

    name = "benchmark"
    fingerprint = "benchmark-random-walk"
    descriptor_size = DIMENSIONS
    class_names: tuple[str, ...] = ("dark", "bright")

    def __init__(self, seconds: float = 0.0, noise: float = 0.0) -> None:
        self._seconds = seconds
        self._noise = noise
        self._random = np.random.default_rng(1)
        self._route = _random_walk(PLACES, DIMENSIONS)
        self._next = 0

    def embed(
        self,
        images: Sequence[Rgb],
        attention: bool = False,
        labels: bool = False,
        grid: bool = False,
    ) -> list[Embedding]:
        _compute(self._seconds)
        return [self._embedding(image, attention, labels) for image in images]

    def _embedding(self, image: Rgb, attention: bool, labels: bool) -> Embedding:
        row = self._route[self._next % PLACES]
        self._next += 1
        noise = self._random.standard_normal(DIMENSIONS, dtype=np.float32)
        small = cv2.resize(image, (32, 24)).mean(axis=2).astype(np.float32) / 255
        return Embedding(
            descriptor=row + self._noise * noise,
            attention={"appearance": small, "semantic": 1 - small} if attention else {},
            labels=(small > 0.5).astype(np.uint8) if labels else None,
        )


def large_map(folder: Path) -> RouteMap:
    """A route map of 2,000 places with 7680-d descriptors."""
    builder = RouteMapBuilder(DriveEmbedder(), folder / "benchmark.routemap", batch=100)
    random = np.random.default_rng(2)
    builder.add(
        Frame(
            random.integers(0, 256, (48, 64, 3)).astype(np.uint8),
            stamp_ns=(index + 1) * 1_000_000_000,
            name=f"place_{index:04}",
            pose=Pose((2.0 * index, 0.0, 0.0)),
        )
        for index in range(PLACES)
    )
    return builder.finish()


def street(seed: int) -> Rgb:
    """A full-size picture with edges, areas and sensor noise, as a street has them."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for _ in range(60):
        x, y = int(random.integers(WIDTH)), int(random.integers(HEIGHT))
        corner = (x + int(random.integers(20, 200)), y + int(random.integers(20, 200)))
        colour = [int(value) for value in random.integers(0, 256, 3)]
        cv2.rectangle(image, (x, y), corner, colour, -1)
    noise = random.integers(-12, 13, image.shape, dtype=np.int16)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def run_camera(rate: float, frames: int, ready: Event, done: Event) -> None:
    """Publish `frames` images at `rate` Hz once `ready`, in a process of its own."""
    import rclpy
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from saane_ros.messages.encode import rgb_to_image_fields

    rclpy.init()
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, "image", 1)
    pictures = [rgb_to_image_fields(street(seed)) for seed in range(8)]
    while not publisher.get_subscription_count():
        time.sleep(0.01)
    ready.wait()
    due = time.monotonic()
    for index in range(frames):
        stamp = node.get_clock().now().to_msg()
        header = Header(stamp=stamp, frame_id="camera")
        publisher.publish(Image(header=header, **pictures[index % len(pictures)]))
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))
    time.sleep(1.0)  # a reliable writer must outlive what it still has to repeat
    done.set()
    node.destroy_node()
    rclpy.shutdown()


def _compute(seconds: float) -> None:
    """Keep one core busy, mostly without the interpreter's lock, as a network would."""
    values = np.ones(1 << 20, np.float32)
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        np.sqrt(values, out=values)


def _random_walk(steps: int, size: int) -> NDArray[np.float32]:
    """Steps on a sphere of norm 10, each about 0.3 of the radius long."""
    random = np.random.default_rng(0)
    rows = np.empty((steps, size), np.float32)
    row = random.standard_normal(size).astype(np.float32)
    for index in range(steps):
        row /= np.linalg.norm(row)
        rows[index] = 10 * row
        row = row + 0.3 * random.standard_normal(size, dtype=np.float32) / np.sqrt(size)
    return rows
