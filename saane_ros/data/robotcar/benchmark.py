"""What converting a RobotCar traversal costs beside decoding and encoding its images.

`python -m saane_ros.data.robotcar.benchmark` prints the figures and writes them to
out/bench-robotcar.json. A traversal of 2,000 frames at 1280x960 repeats a few rendered pictures.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import cv2
import numpy as np

from saane_ros.data.in_order import in_order, worker_count
from saane_ros.data.robotcar.images import image_path, list_images
from saane_ros.data.robotcar.to_bag import Conversion, convert
from saane_ros.files import replacing_file
from saane_ros.progress import progress
from saane_ros.simulation import Camera, Town, Traverse, robotcar_layout

WIDTH, HEIGHT, PICTURES = 1280, 960, 8
RATE_HZ = 16
TARGET_RATIO, TARGET_MB = 0.8, 1024.0


def write_traversal(folder: Path, frames: int) -> None:
    """`frames` images at 16 Hz under as many names, and INS poses at their times."""
    town = Town(7, 40.0)
    drive = Traverse(town, "day", 7, Camera(WIDTH, HEIGHT), rate_hz=2.0)
    pictures = [
        robotcar_layout.write_image(folder / "pictures", index + 1, drive.render(index).image, ".")
        for index in progress(range(PICTURES), "render", unit="image")
    ]
    start, step = drive.start_stamp_ns, 10**9 // RATE_HZ
    stamps = [start + index * step for index in range(frames)]
    (folder / "stereo" / "centre").mkdir(parents=True)
    for index, stamp in enumerate(stamps):
        os.link(pictures[index % PICTURES], image_path(folder, stamp))
    robotcar_layout.write_timestamps(folder, stamps)
    robotcar_layout.write_ins(folder, stamps, [drive.poses[i % 8] for i in range(frames)])


def decode_and_encode(path: Path) -> int:
    """PNG decoding, debayering and JPEG encoding, and nothing else; the JPEG's bytes."""
    raw = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    image = cv2.cvtColor(np.asarray(raw), cv2.COLOR_BayerGR2BGR)
    return len(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def images_alone(traversal: Path, frames: int) -> float:
    """Frames a second of `decode_and_encode`, on as many threads as the conversion has."""
    paths = [image_path(traversal, stamp) for stamp in list_images(traversal).stamps_ns[:frames]]
    start = time.perf_counter()
    for _ in in_order(decode_and_encode, paths):
        pass
    return len(paths) / (time.perf_counter() - start)


def conversion(traversal: Path, out: Path) -> tuple[float, float, float]:
    """Frames a second and peak memory (MB) of a process that converts, and its CPU s a frame."""
    processes = multiprocessing.get_context("spawn")
    told: SimpleQueue[tuple[float, float, float]] = processes.SimpleQueue()
    child = processes.Process(target=_convert, args=(traversal, out, told))
    child.start()
    child.join()
    return told.get()


def _convert(traversal: Path, out: Path, told: SimpleQueue[tuple[float, float, float]]) -> None:
    start, busy = time.perf_counter(), time.process_time()
    report = convert(traversal, out, Conversion())
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told.put((report.frames / seconds, peak, busy / report.frames))


def main(arguments: list[str] | None = None) -> int:
    """Measure the images alone, the conversion, and the images alone again."""
    parser = argparse.ArgumentParser(description="Measure `saane robotcar to-bag`.")
    parser.add_argument("--frames", type=int, default=2000, help="of the traversal (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/bench-robotcar.json"))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        traversal = Path(folder) / "traversal"
        write_traversal(traversal, options.frames)
        busy = time.process_time()
        # Half before and half after, so that a machine that slows down does not tell in the ratio.
        before = images_alone(traversal, options.frames // 2)
        busy = (time.process_time() - busy) / (options.frames // 2)
        rate, peak, cpu = conversion(traversal, Path(folder) / "bag")
        after = images_alone(traversal, options.frames // 2)
    alone = 2 / (1 / before + 1 / after)
    figures = {
        "frames": options.frames,
        "threads": worker_count(),
        "images_alone_per_s": alone,
        "conversion_per_s": rate,
        "ratio": rate / alone,
        "images_alone_cpu_ms": 1e3 * busy,
        "conversion_cpu_ms": 1e3 * cpu,
        "peak_mb": peak,
    }
    print(f"\nRobotCar to bag, {options.frames} frames at {WIDTH}x{HEIGHT}")
    for name, value in figures.items():
        print(f"  {name:30} {value:8.5g}")
    print(f"  {'target of ratio, at least':30} {TARGET_RATIO:8.5g}")
    print(f"  {'target of peak_mb, at most':30} {TARGET_MB:8.5g}")
    with replacing_file(options.out) as part:
        part.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
