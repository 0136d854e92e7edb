"""A drive through the town written as a RobotCar traversal, with what is exactly true of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mcap_ros2", reason="mcap-ros2-support is not installed")

from mcap.reader import make_reader
from mcap_ros2.reader import read_ros2_messages
from scenes import smooth_scene

from saane_ros.simulation import Town, Traverse
from saane_ros.simulation import robotcar_layout as layout
from saane_ros.types import Pose, Rgb

START_NS = 1_418_132_462_123_457_000
STEP_NS = 2_500_000
"""The drive is known at 400 Hz: every 8th pose is an INS row (50 Hz), every 25th an image."""
IMAGE_STEPS, INS_STEPS = 25, 8
PINHOLE = (160.0, 160.0, 79.3, 60.1)
EXTRINSICS = {"ins": "-1.7132 0.1181 1.1948 -0.0125 0.0400 0.0050", "stereo": "0 0 0 0 0 0"}


@dataclass(frozen=True)
class World:
    """stamps, poses, images: of every frame; images are as before the mosaic."""

    traversal: Path
    stamps: list[int]
    poses: list[Pose]
    images: list[Rgb]


def town_poses(seconds: float, seed: int = 5) -> list[Pose]:
    """Exact poses at 400 Hz."""
    traverse = Traverse(Town(seed, 15 * seconds + 20), "day", seed, rate_hz=400.0)
    return traverse.poses[: round(seconds * 400)]


def write_world(
    traversal: Path,
    seconds: float = 3.0,
    size: tuple[int, int] = (120, 160),
    every: int = IMAGE_STEPS,
    start_ns: int = START_NS,
) -> World:
    """Images at 16 Hz, INS at 50 Hz from the first to the last image and beyond."""
    poses = town_poses(seconds)
    times = [start_ns + i * STEP_NS for i in range(len(poses))]
    first, last = 2 * INS_STEPS, len(poses) - 2 * INS_STEPS
    frames = range(first, last, every)
    stamps = [times[i] // 1000 * 1000 for i in frames]
    images = [smooth_scene(number, *size) for number in range(len(frames))]
    for stamp, image in zip(stamps, images, strict=True):
        layout.write_image(traversal, stamp, image)
    layout.write_timestamps(traversal, stamps)
    layout.write_ins(traversal, times[::INS_STEPS], poses[::INS_STEPS])
    return World(traversal, stamps, [poses[i] for i in frames], images)


def write_sdk(folder: Path, size: tuple[int, int] = (120, 160), bend: float = 0.05) -> None:
    """`models/` with a radial distortion, and `extrinsics/`."""
    layout.write_camera_model(folder / "models", PINHOLE, size, lambda u, v: bent(u, v, bend))
    (folder / "extrinsics").mkdir(parents=True, exist_ok=True)
    for name, text in EXTRINSICS.items():
        (folder / "extrinsics" / f"{name}.txt").write_text(text + "\n")


def bent(u: np.ndarray, v: np.ndarray, bend: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the lens shows what a pinhole shows at (u, v): radial, r' = r (1 - bend r^2)."""
    fx, fy, cx, cy = PINHOLE
    x, y = (u - cx) / fx, (v - cy) / fy
    factor = 1 - bend * (x * x + y * y)
    return cx + fx * x * factor, cy + fy * y * factor


def recorded(bag: Path) -> list[tuple[str, int, bytes]]:
    """Topic, time and bytes of every message, read by the mcap package."""
    (file,) = bag.glob("*.mcap")
    with file.open("rb") as stream:
        return [(c.topic, m.log_time, m.data) for _, c, m in make_reader(stream).iter_messages()]


def messages(bag: Path) -> dict[str, list]:
    """Every message by topic, read by mcap-ros2-support."""
    (file,) = bag.glob("*.mcap")
    found: dict[str, list] = {}
    for read in read_ros2_messages(str(file)):
        found.setdefault(read.channel.topic, []).append(read)
    return found
