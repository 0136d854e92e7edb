"""Small Nordland, St Lucia and RobotCar drives in the layouts in which they are published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from scenes import smooth_scene

from saane_ros.types import Rgb

Look = Callable[[int], Rgb]
"""The image of a frame, by its number."""

FPS = 15
NORTH_PER_FRAME = 1e-5
"""Degrees of latitude, 1.1 m."""
INS = (
    "timestamp,ins_status,latitude,longitude,altitude,northing,easting,down,utm_zone,"
    "velocity_north,velocity_east,velocity_down,roll,pitch,yaw"
)
START_US = 1_418_132_416_000_000


def write_nordland(root: Path, numbers: Sequence[int], winter_gain: float = 1.0) -> None:
    """The same scenes in summer and in winter, then darker by a gain."""
    names = [f"images-{number:05d}.png" for number in numbers]
    for season, gain in (("summer", 1.0), ("winter", winter_gain)):
        folder = root / "nordland" / season
        folder.mkdir(parents=True)
        for number, name in zip(numbers, names, strict=True):
            image = (smooth_scene(number, 24, 32) * gain).astype(np.uint8)
            assert cv2.imwrite(str(folder / name), image[..., ::-1])
    (root / "nordland" / "cleanImageNames.txt").write_text("\n".join(names) + "\n")


def _numbered(frame: int) -> Rgb:
    return np.full((48, 64, 3), frame, np.uint8)


def write_session(folder: Path, seconds: int, start: int, look: Look = _numbered) -> None:
    """A St Lucia drive north; GPS repeats for 6 frames. By default frames show their number."""
    folder.mkdir(parents=True)
    video = cv2.VideoWriter(
        str(folder / "webcam_video.avi"), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (64, 48)
    )
    assert video.isOpened()
    lines = []
    for frame in range(seconds * FPS):
        video.write(look(frame))
        latitude = 27.5 - (start + frame // 6 * 6) * NORTH_PER_FRAME
        lines.append(f"{latitude:.7f},153.0")
    video.release()
    (folder / "fGPS.txt").write_text("\n".join(lines) + "\n")


def _grey(frame: int) -> Rgb:
    return np.full((8, 8, 3), frame % 256, np.uint8)


def write_traversal(folder: Path, seconds: int, offset: float, look: Look = _grey) -> None:
    """16 raw images a second of a RobotCar drive north at 8 m/s, INS at 50 Hz."""
    (folder / "stereo" / "centre").mkdir(parents=True)
    (folder / "gps").mkdir()
    stamps = [START_US + i * 62_500 for i in range(16 * seconds)]
    for i, stamp in enumerate(stamps):
        cv2.imwrite(str(folder / "stereo" / "centre" / f"{stamp}.png"), look(i)[..., 0])
    listed = [*stamps, stamps[-1] + 62_500]  # its chunk was not downloaded
    (folder / "stereo.timestamps").write_text("".join(f"{stamp} 1\n" for stamp in listed))
    rows = [INS]
    for i in range(50 * seconds + 50):
        stamp, north = START_US - 500_000 + i * 20_000, offset + 8 * (i * 0.02 - 0.5)
        rows.append(
            f"{stamp},INS_SOLUTION_GOOD,51.7,-1.2,110.0,{5735000 + north},620000.0,-110.0,30U,"
            "8,0,0,0.0,0.0,0.0"
        )
    rows.append(f"{START_US + 10},SOLUTION_FREE,0,0,0,0,0,0,30U,0,0,0,0,0,0")
    (folder / "gps" / "ins.csv").write_text("\n".join(rows) + "\n")


def write_paper_datasets(root: Path) -> None:
    """Every dataset of config/paper.yaml, small: maps of 12 places, drives of 4 to 6 seconds.

    What one drives by shows the same scene in every drive, with noise that grows from one to the
    next.
    """
    from saane_ros.data.datasets.st_lucia import QUERIES, REFERENCE

    write_nordland(root, range(202, 214), winter_gain=0.3)
    sessions = [(REFERENCE, 12), *((name, 4 + i % 3) for i, name in enumerate(QUERIES))]
    for rank, (name, seconds) in enumerate(sessions):
        write_session(root / "st_lucia" / name, seconds, 0, _noisy(FPS, rank, 1000))
    traversals = (
        ("2014-12-09-13-21-02", 12),
        ("2014-12-10-18-10-50", 5),
        ("2015-05-19-14-06-38", 11),
        ("2015-02-03-08-45-10", 6),
    )
    for rank, (name, seconds) in enumerate(traversals):
        write_traversal(root / "robotcar" / name, seconds, 0.0, _noisy(16, 3 * rank, 2000))


def _noisy(per_second: int, rank: int, first: int) -> Look:
    noise = np.random.default_rng(rank)

    def look(frame: int) -> Rgb:
        scene = smooth_scene(first + frame // per_second, 48, 64).astype(np.float64)
        return np.clip(scene + noise.normal(0, 12 * rank, scene.shape), 0, 255).astype(np.uint8)

    return look
