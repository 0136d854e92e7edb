"""`saane evaluate metric`: how exactly points of a map tell where a camera is."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from saane_ros.commands.parsers import command_parser, number
from saane_ros.data.images.files import read_image
from saane_ros.data.images.folders import ImageFolder, image_files
from saane_ros.data.poses.transforms import IDENTITY, read_mount
from saane_ros.errors import SaaneError
from saane_ros.metric.cameras import read_camera
from saane_ros.types import Rgb
from saane_ros.weights.feature_cards import ROOTSIFT

if TYPE_CHECKING:
    from saane_ros.evaluation.metric import Mapped

EXAMPLES = """\
examples:
  saane evaluate metric --images drive/ --poses poses.txt --camera-info camera.yaml --every 5
  saane evaluate metric --towns 3000 3001 3002
  saane evaluate metric --towns 3000 --foreign ~/other/park ~/other/halls

Of a drive every so many-th image makes the map and all others are queries; in a synthetic town the
map is of a drive by day, and the queries are of drives in the other lane by day, at dusk, in rain
and at night. Each image is refined at the places next to its true pose. --foreign: images of other
places, in all folders below, each tried at many a stretch of every map; none should be believed.
Times are those of this machine, on one core where OMP_NUM_THREADS=1.
"""


def add_metric(subparsers: argparse._SubParsersAction) -> None:
    """Add `saane evaluate metric`."""
    parser = command_parser(subparsers, "metric", "measure poses by a map's points", EXAMPLES)
    parser.add_argument("--images", type=Path, metavar="DIR", help="images of a drive")
    parser.add_argument("--poses", type=Path, metavar="FILE", help="its poses")
    parser.add_argument("--camera-info", type=Path, metavar="FILE", help="its intrinsics")
    parser.add_argument(
        "--camera-pose", default="", metavar="'X Y Z R P Y'", help="camera on what the poses are of"
    )
    parser.add_argument(
        "--every", type=number(2, 1000, int), default=2, help="images a place (%(default)s)"
    )
    parser.add_argument(
        "--towns", nargs="+", type=number(0, 10**6, int), default=[], metavar="SEED", help="towns"
    )
    parser.add_argument(
        "--foreign", nargs="+", type=Path, default=[], metavar="DIR", help="images from elsewhere"
    )
    parser.add_argument(
        "--features", default=ROOTSIFT, metavar="CARD", help="of local features (%(default)s)"
    )
    parser.add_argument("--weights", default="", metavar="DIR", help="folder looked into first")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    import cv2

    from saane_ros.evaluation import metric

    if not options.images and not options.towns:
        raise SaaneError("An evaluation of poses needs --images or --towns: name a drive.")
    cv2.setNumThreads(1)
    maps: dict[str, Mapped] = {}
    print(metric.HEADER)
    if options.images:
        if not options.camera_info:
            raise SaaneError("--images needs --camera-info: name a file of intrinsics.")
        reference, queries = metric.folder_parts(
            ImageFolder(options.images, options.poses), options.every
        )
        camera = read_camera(options.camera_info, reference[0].image.shape)
        mount = read_mount(options.camera_pose) or IDENTITY
        maps["drive"] = metric.mapped(reference, camera, mount, options.features, options.weights)
        print(metric.measured(f"1 of {options.every} mapped", maps["drive"], queries), flush=True)
    for seed in options.towns:
        town, maps[f"town {seed}"] = metric.town_map(seed, options.features, options.weights)
        for condition in metric.CONDITIONS:
            queries = metric.town_queries(town, condition)
            row = metric.measured(f"{seed} {condition}", maps[f"town {seed}"], queries)
            print(row, flush=True)
    for name, built in maps.items():
        points = built.points
        print(
            f"{name}: {points.points} points, {points.place_bytes / 1e3:.1f} kB a place, "
            f"reprojection error {points.error:.2f} pixels, built in {built.seconds:.0f} s"
        )
    for folder in options.foreign:
        for name, built in maps.items():
            tried, believed, compared = metric.foreign(built, _images(folder))
            print(
                f"{folder.name} at {name}: {believed} of {compared} comparisons of {tried} images "
                "refined",
                flush=True,
            )


def _images(folder: Path) -> Iterator[Rgb]:
    """Images of a folder and all below."""
    for inside in (folder, *sorted(path for path in folder.rglob("*") if path.is_dir())):
        try:
            files = image_files(inside)
        except SaaneError:
            continue  # no images lie directly in it
        yield from (read_image(file) for file in files)
