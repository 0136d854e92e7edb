"""`saane evaluate drive`: whether a localizer knows where it is, and when it does not."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from saane_ros.commands.parsers import command_parser, output_folder, threads
from saane_ros.errors import SaaneError
from saane_ros.route_map.info import knowing_its_maker
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import STREET_MODEL, Settings, parse_assignment, settings_from

if TYPE_CHECKING:
    from saane_ros.evaluation.drives.suite import Results

EXAMPLES = """\
examples:
  saane evaluate drive --map street.routemap --drive night/ --away ~/other/park ~/other/halls
  saane evaluate drive --map street.routemap --drive night.mcap --image-topic /camera/image \\
      --odometry-topic /odom --truth /ground_truth/odometry
  saane evaluate drive --suite config/drives/results.yaml --data ~/data --model saane-resnet18

The drive is played plainly, reversed, thinned out, with stops, kidnaps, a pause and blank frames;
with stretches of every --away source in it, of each alone, and parked before its views.
--truth: a pose file or pose topic in the frame of the map, a ground_truth.csv of query_index and
correct_reference_indices, or same-names; by default poses.csv, poses.txt or '@' names of the
drive's folder. Without truth only what is said off the route is judged.
Of a map with points and a camera with intrinsics (--camera-info, or CameraInfo beside a bag's
images) poses by points are measured beside those of places.
Prints a table; writes drive.json and drive.html.
"""
NAMES = (
    "map",
    "suite",
    "drive",
    "image_topic",
    "odometry_topic",
    "truth",
    "camera_info",
    "away",
    "data",
    "model",
    "weights",
    "device",
    "threads",
    "out",
)


def add_drive(subparsers: argparse._SubParsersAction) -> None:
    """Add `saane evaluate drive`."""
    parser = command_parser(subparsers, "drive", "try a localizer on and off a route", EXAMPLES)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--map", type=Path, metavar="X.routemap", help="route map, with --drive")
    what.add_argument("--suite", type=Path, metavar="FILE", help="YAML of maps and drives")
    parser.add_argument("--drive", type=Path, metavar="DIR", help="folder of images, or a bag")
    parser.add_argument("--image-topic", metavar="T", help="image topic of bags")
    parser.add_argument("--odometry-topic", metavar="T", help="Odometry of a bag")
    parser.add_argument("--truth", metavar="WHAT", help="where the drive was, see below")
    parser.add_argument(
        "--camera-info", default="", metavar="WHAT", help="file of intrinsics, or topic of a bag"
    )
    parser.add_argument(
        "--away", nargs="+", type=Path, default=[], metavar="DIR", help="images from elsewhere"
    )
    parser.add_argument("--data", type=Path, default=Path(), help="folder of the suite's folders")
    parser.add_argument(
        "--model",
        nargs="+",
        default=[],
        help="card; by default the map's own",
    )
    parser.add_argument("--weights", default="", help="folder looked into first")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--threads", type=threads, default=0, help="CPU threads; 0: PyTorch's choice"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting of config/localizer.yaml; may be given again",
    )
    parser.add_argument(
        "--out", type=output_folder, default=Path("out/drive"), help="folder of the results"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from saane_ros.evaluation.drives.suite import run_suite

    _check(options)
    command = _command(options)
    if options.suite is None:
        results: Iterable[Results] = [_one(options, command)]
    else:
        settings = _all_settings(options, STREET_MODEL)
        results = run_suite(options.suite, options.data, settings, command, options.out)
    for result in results:
        result.write()
        print(result.text(), flush=True)


def _check(options: argparse.Namespace) -> None:
    if options.suite is None and options.drive is None:
        raise SaaneError("--map needs --drive: name the folder or the bag of a drive.")
    of_one = ("drive", "truth", "away", "image_topic", "odometry_topic", "camera_info")
    given = [f"--{name.replace('_', '-')}" for name in of_one if getattr(options, name)]
    if options.suite is not None and given:
        raise SaaneError(f"{', '.join(given)} goes with --map: the suite's file tells it.")
    if options.suite is None and len(options.model) > 1:
        raise SaaneError("A map is of one model: give one --model.")


def _all_settings(options: argparse.Namespace, default: str) -> list[Settings]:
    """The settings for each model that is named, or for a default one."""
    chosen = dict(map(parse_assignment, options.set))
    parts = {name: getattr(options, name) for name in ("weights", "device", "threads")}
    models = options.model or [chosen.get("model", default)]
    return [settings_from({**parts, **chosen, "model": model}) for model in models]


def _one(options: argparse.Namespace, command: str) -> Results:
    from saane_ros.embedding.loading import settings_embedder
    from saane_ros.evaluation.drives.results import DriveSource, run_drive

    route_map = RouteMap.open(options.map)
    (settings,) = _all_settings(options, route_map.info.model)
    settings = replace(settings, map=str(options.map))
    made_by = route_map.info.model
    with knowing_its_maker(f"Route map {route_map.path}", made_by, settings.model):
        embedder = settings_embedder(settings)
    source = DriveSource(
        options.drive,
        options.truth,
        options.image_topic,
        options.odometry_topic,
        options.camera_info,
    )
    return run_drive(embedder, route_map, settings, source, options.away, command, options.out)


def _command(options: argparse.Namespace) -> str:
    """The command that gives these results again."""
    parts = ["saane", "evaluate", "drive"]
    for name in NAMES:
        value = getattr(options, name)
        if value in (None, "", "auto", 0) or value == [] or value == Path():
            continue
        parts += [
            f"--{name.replace('_', '-')}",
            *map(str, value if type(value) is list else [value]),
        ]
    for assignment in options.set:
        parts += ["--set", assignment]
    return shlex.join(parts)
