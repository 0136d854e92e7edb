"""What building a map of a bag costs beside embedding its images.

The images are those of a drive through the synthetic town, each moved sideways by some pixels so
that no two are alike, and lie in the bag as a recorder that compresses would write them. Both the
building and the embedding have the same batches and threads. `python -m
saane_ros.route_map.benchmark` prints the figures and writes them to out/bench-build.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from saane_ros.data.bags import BagReader, BagWriter
from saane_ros.embedding import Embedder
from saane_ros.embedding.loading import load_embedder
from saane_ros.files import replacing_file
from saane_ros.progress import progress
from saane_ros.route_map.builder import RouteMapBuilder
from saane_ros.settings import STREET_MODEL
from saane_ros.simulation import Camera, Town, Traverse
from saane_ros.types import Pose, Rgb

WIDTH, HEIGHT, PICTURES = 640, 480, 8
BATCH = 8
"""That of `saane map build`."""
TARGET_RATIO = 0.9
_IMAGES, _POSES = "/camera/image", "/odom"


def pictures(count: int) -> list[Rgb]:
    """As many images of a drive as are asked for, no two alike."""
    drive = Traverse(Town(7, 40.0), "day", 7, Camera(WIDTH, HEIGHT), rate_hz=2.0)
    shown = progress(range(min(PICTURES, count)), "render", unit="image")
    rendered = [drive.render(index).image for index in shown]
    return [np.roll(rendered[n % PICTURES], n // PICTURES, axis=1) for n in range(count)]


def write_bag(path: Path, images: Sequence[Rgb]) -> None:
    """The images at 10 Hz and odometry at their times, 2 m from each to the next."""
    with BagWriter(path) as bag:
        for number, image in enumerate(progress(images, "bag", unit="image")):
            stamp_ns = 10**18 + number * 10**8
            bag.write_odometry(_POSES, stamp_ns, Pose((2.0 * number, 0.0, 0.0)))
            bag.write_image(_IMAGES, image, stamp_ns)


def embedded(embedder: Embedder, images: Sequence[Rgb]) -> tuple[float, float]:
    """Seconds, and those of the processors, of embedding images that are in memory."""
    start, busy = time.perf_counter(), time.process_time()
    for first in range(0, len(images), BATCH):
        embedder.embed(images[first : first + BATCH], grid=True)
    return time.perf_counter() - start, time.process_time() - busy


def built(embedder: Embedder, bag: Path, path: Path) -> tuple[float, float]:
    """Seconds, and those of the processors, from a bag to a finished map."""
    start, busy = time.perf_counter(), time.process_time()
    with BagReader(bag) as reader:
        builder = RouteMapBuilder(embedder, path, batch=BATCH)
        try:
            builder.add(reader.frames(_IMAGES, _POSES))
            builder.finish()
        finally:
            builder.close()
    return time.perf_counter() - start, time.process_time() - busy


def measured(embedder: Embedder, count: int) -> dict[str, float]:
    """Images a second of both, their ratio, and what an image costs the processors, ms."""
    with tempfile.TemporaryDirectory() as name:
        folder, images = Path(name), pictures(count)
        write_bag(folder / "bag", images)
        embedded(embedder, images[: 2 * BATCH])
        before = embedded(embedder, images)
        build = built(embedder, folder / "bag", folder / "bench.routemap")
        after = embedded(embedder, images)
    # Before and after, so that a machine that slows down does not tell in the ratio.
    alone, busy = (sum(times) / 2 for times in zip(before, after, strict=True))
    return {
        "images": count,
        "threads": torch.get_num_threads(),
        "embedding_per_s": count / alone,
        "building_per_s": count / build[0],
        "ratio": alone / build[0],
        "embedding_cpu_ms": 1e3 * busy / count,
        "building_cpu_ms": 1e3 * build[1] / count,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure the embedding, the building, and the embedding again."""
    parser = argparse.ArgumentParser(description="Measure `saane map build --bag`.")
    parser.add_argument("--model", default=STREET_MODEL, help="model card (%(default)s)")
    parser.add_argument("--images", type=int, default=1000, help="of the bag (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/bench-build.json"))
    options = parser.parse_args(arguments)
    figures = measured(load_embedder(options.model), options.images)
    print(f"\nA map of a bag by {options.model}, {WIDTH}x{HEIGHT}, batches of {BATCH}")
    for name, value in figures.items():
        print(f"  {name:30} {value:8.5g}")
    print(f"  {'target of ratio, at least':30} {TARGET_RATIO:8.5g}")
    with replacing_file(options.out) as part:
        part.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
