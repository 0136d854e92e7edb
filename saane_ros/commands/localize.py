"""`saane localize`: one line per frame of a folder or a bag, by the same Localizer as the node."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from saane_ros.data.folders import ImageFolder
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.localization.localizer import Localizer
from saane_ros.progress import progress
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings, parse_assignment, read_settings, settings_from
from saane_ros.types import Frame, Match

EXAMPLES = """\
examples:
  saane localize --map street.routemap --images night/ --out matches.csv
  saane localize --map street.routemap --bag night.mcap --image-topic /camera/image
  saane localize --map street.routemap --images night/ --params config/localizer.yaml \\
      --set sequence_filter=false --set min_ratio=1.1

Columns: stamp_ns, name, state (localized, uncertain, lost, off_route; unusable for a black or
broken image), place, place_name, distance, ratio, confidence, and x, y, z while localized.
Poses of the images are not used, nor is odometry: a bag and its images give the same matches.
"""
COLUMNS = (
    "stamp_ns",
    "name",
    "state",
    "place",
    "place_name",
    "distance",
    "ratio",
    "confidence",
    "x",
    "y",
    "z",
)


def add(subparsers: argparse._SubParsersAction) -> None:
    """Add `saane localize`."""
    parser = subparsers.add_parser(
        "localize",
        help="match images or a bag with a route map",
        description="Match every frame with the places of a route map; one CSV line per frame.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--map", type=Path, metavar="X.routemap", help="route map")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, metavar="DIR", help="folder of images")
    source.add_argument("--bag", type=Path, help="rosbag2 bag, MCAP or sqlite3")
    parser.add_argument("--image-topic", metavar="T", help="image topic of --bag")
    parser.add_argument("--out", type=Path, metavar="matches.csv", help="file instead of a print")
    parser.add_argument("--params", type=Path, metavar="FILE", help="ROS parameter file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting of config/localizer.yaml; may be given again",
    )
    parser.set_defaults(run=_run)


def settings_of(options: argparse.Namespace) -> Settings:
    """Settings from the defaults, then --params, then --map, then --set."""
    values: dict[str, Any] = {} if options.params is None else read_settings(options.params)
    if options.map is not None:
        values["map"] = str(options.map)
    values.update(map(parse_assignment, options.set))
    return settings_from(values)


def _run(options: argparse.Namespace) -> None:
    from saane_ros.embedding.loading import load_embedder

    settings = settings_of(options)
    if not settings.map:
        raise SaaneError("No route map is named: give --map, or `map` in the parameter file.")
    with _frames(options) as (frames, total):
        route_map = RouteMap.open(settings.map)
        embedder = load_embedder(
            settings.model, settings.weights, settings.device, settings.precision, settings.threads
        )
        localizer = Localizer(embedder, route_map, settings)
        bar = progress(frames, "localize", total=total, unit="frame")
        if options.out is None:
            _write(sys.stdout, localizer, bar)
            return
        with (
            replacing_file(options.out) as part,
            part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
        ):
            _write(stream, localizer, bar)


@contextmanager
def _frames(options: argparse.Namespace) -> Iterator[tuple[Iterable[Frame], int | None]]:
    if options.images is not None:
        if options.image_topic:
            raise SaaneError("--image-topic goes with --bag: leave it out.")
        folder = ImageFolder(options.images)
        # Poses of a query are what is asked for: they must not help as odometry would.
        yield (replace(f, pose=None, travelled=None) for f in folder.frames()), len(folder)
        return
    if not options.image_topic:
        raise SaaneError("--bag needs --image-topic: name the topic with the images.")
    from saane_ros.data.bags import BagReader

    with BagReader(options.bag) as bag:
        yield bag.frames(options.image_topic), None


def _write(stream: IO[str], localizer: Localizer, frames: Iterable[Frame]) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    matched, unusable, last = 0, 0, ""
    for frame in frames:
        try:
            match = localizer.localize(frame).match
        except SaaneError as error:
            unusable, last = unusable + 1, str(error)
            writer.writerow((frame.stamp_ns, frame.name, "unusable", *[""] * 8))
            continue
        matched += 1
        writer.writerow(_row(frame, match))
    if not matched:
        raise SaaneError(last or "There are no frames to match: check the image source.")
    if unusable:
        print(f"saane: {unusable} frames could not be used; the last: {last}", file=sys.stderr)


def _row(frame: Frame, match: Match) -> tuple[object, ...]:
    position = (
        ("", "", "") if match.pose is None else tuple(f"{v:.4f}" for v in match.pose.position)
    )
    return (
        frame.stamp_ns,
        frame.name,
        match.state.value,
        match.place.id,
        match.place.name,
        f"{match.distance:.6f}",
        f"{match.ratio:.6f}",
        f"{match.confidence:.6f}",
        *position,
    )
