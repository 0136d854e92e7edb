"""`saane map calibrate`: when a map is believed, fitted to drives that the user names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from saane_ros.data.images.folders import ImageFolder
from saane_ros.errors import SaaneError
from saane_ros.progress import progress
from saane_ros.route_map.feature_grids import OWN, SCORES
from saane_ros.route_map.info import knowing_its_maker
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame

if TYPE_CHECKING:
    from saane_ros.training.evidence.refit import Named

CALIBRATE_EXAMPLES = """\
examples:
  saane map calibrate street.routemap
  saane map calibrate street.routemap --on night/ --off other_town/ depot.mcap \\
      --image-topic /camera/image

Without drives a map gets the package's calibration, and one of an older format what it lacks to
know when its route is left. --on names drives of the route under other conditions (their places
need not be known), --off drives that never touch it. The weights move from the package's towards
what these drives show, and the confidence that LOCALIZED takes rises where the drives off the route
would have reached it. The map is replaced in one step. --rerank changes what candidates
are compared by, see saane map build --help; own is of features that only a build can keep.
"""


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    """The arguments of `saane map calibrate`."""
    parser.add_argument("map", type=Path, help="folder of the map")
    for name, what in (("--on", "on the route"), ("--off", "elsewhere")):
        told = f"image folders or bags {what}"
        parser.add_argument(name, type=Path, nargs="+", default=[], metavar="DRIVE", help=told)
    parser.add_argument(
        "--rerank", choices=(*SCORES, OWN), default="", help="as the map has it by default"
    )
    parser.add_argument("--image-topic", metavar="T", help="image topic of bags")
    parser.add_argument("--model", default="", help="model card; the map's own by default")
    parser.add_argument("--weights", default="", metavar="DIR", help="folder looked into first")
    parser.add_argument("--device", default=Settings().device, help="auto, cpu, cuda or cuda:N")


def calibrate_map(options: argparse.Namespace) -> RouteMap:
    """Run it; the map as it is now."""
    from saane_ros.embedding.loading import load_embedder
    from saane_ros.training.evidence.refit import calibrate

    route_map = RouteMap.open(options.map)
    model = options.model or route_map.info.model
    with knowing_its_maker(f"Route map {route_map.path}", route_map.info.model, model):
        embedder = load_embedder(model, options.weights, options.device)
    with ExitStack() as stack:
        drives = [_named(path, True, options, stack) for path in options.on]
        drives += [_named(path, False, options, stack) for path in options.off]
        return calibrate(route_map, embedder, drives, rerank=options.rerank)


def _named(path: Path, on: bool, options: argparse.Namespace, stack: ExitStack) -> Named:
    from saane_ros.data.bags import BagReader
    from saane_ros.data.bags.storage import holds_bag
    from saane_ros.training.evidence.refit import Named

    frames: Iterator[Frame]
    if not path.exists():
        raise SaaneError(f"There is no drive {path}: name a folder of images or a bag.")
    if path.is_file() or holds_bag(path):
        if not options.image_topic:
            raise SaaneError(f"{path} is a bag: name the topic with the images by --image-topic.")
        frames, total = stack.enter_context(BagReader(path)).frames(options.image_topic), None
    else:
        folder = ImageFolder(path)
        frames, total = folder.frames(), len(folder)
    return Named(path.name, progress(frames, path.name, total, "frame"), on)
