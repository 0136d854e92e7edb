"""`saane localize`: one line per frame of a folder or a bag, by the same Localizer as the node."""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from saane_ros.commands.parsers import output_file, threads
from saane_ros.data.images.folders import ImageFolder
from saane_ros.data.poses.track import PoseTrack
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.geodesy import geographic, local
from saane_ros.localization.body import Base
from saane_ros.localization.localizer import Localizer
from saane_ros.metric.recorded import intrinsics_of_bag, intrinsics_of_folder
from saane_ros.progress import progress
from saane_ros.ros.localizer.offline import DROPPED, UNUSABLE, OfflineDrive, Outcome, Pace
from saane_ros.route_map.info import knowing_its_maker
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import parse_assignment, read_settings, settings_from
from saane_ros.types import Frame, Intrinsics, Match

if TYPE_CHECKING:
    from saane_ros.data.bags import BagReader

EXAMPLES = """\
examples:
  saane localize --map street.routemap --images night/ --out matches.csv
  saane localize --map street.routemap --bag night.mcap --image-topic /camera/image
  saane localize --map street.routemap --images night/ --params config/localizer.yaml \\
      --set sequence_filter=false --set error_rate=0.05
  saane localize --map street.routemap --bag night.mcap --image-topic /camera/image \\
      --truth-topic /ground_truth/odometry --camera-rate 8 --inference-ms 300
  saane localize --map street.routemap --images night/ --out m.csv --poses-out poses.tum

The model is the one that made the map, unless --model, --set or the parameter file names one.
Columns: stamp_ns, name, state (localized, uncertain, lost, off_route; unusable for a black or
broken image, dropped for one that a newer one took the place of), place, place_name, distance,
ratio, confidence, off_route (belief in being nowhere on the map), x, y, z while localized and sure
enough of where, error_m where --truth-topic tells it; of a map with points and a camera with
intrinsics also pose_source (refined by points, or place), inliers (points that agree) and
reprojection_px. Intrinsics are those of --camera-info, or of CameraInfo beside a bag's images.
Positions are those of the setting base_frame where map and drive tell how their cameras sit.
--poses-out writes those positions as a TUM file, as evo and others read it.
Poses of the images are not used, and odometry only of --odometry-topic: a bag and its images give
the same matches, twice the same bytes.
A bag goes through the node's own path in recorded order, and every image is worked on. With
--inference-ms the model is busy that long with each image, by the recorded times, and images that
come meanwhile wait or are dropped as in the node; --camera-rate takes fewer of the recorded ones.
"""
_FAR_M = 1000.0
"""A drive that is nowhere nearer to the map's places is of another frame."""
_TRUTH_SAMPLE = 1000
COLUMNS = (
    "stamp_ns",
    "name",
    "state",
    "place",
    "place_name",
    "distance",
    "ratio",
    "confidence",
    "off_route",
    "x",
    "y",
    "z",
    "error_m",
    "pose_source",
    "inliers",
    "reprojection_px",
)


def add(subparsers: argparse._SubParsersAction) -> None:
    """Add `saane localize`."""
    parser = subparsers.add_parser(
        "localize",
        help="match images or a bag with a route map",
        description="Match every frame with the places of a route map; one CSV line per frame.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--map", type=Path, metavar="X.routemap", help="route map")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, metavar="DIR", help="folder of images")
    source.add_argument("--bag", type=Path, help="bag: MCAP, sqlite3, or ROS 1 .bag")
    parser.add_argument("--image-topic", metavar="T", help="image topic of --bag")
    parser.add_argument("--odometry-topic", metavar="T", help="Odometry of --bag for the filter")
    parser.add_argument("--truth-topic", metavar="T", help="poses of --bag to measure errors by")
    parser.add_argument(
        "--camera-info", default="", metavar="WHAT", help="file of intrinsics, or topic of --bag"
    )
    parser.add_argument("--camera-rate", type=float, default=0.0, metavar="HZ", help="simulated")
    parser.add_argument("--inference-ms", type=float, default=0.0, metavar="MS", help="simulated")
    parser.add_argument(
        "--out", type=output_file, metavar="matches.csv", help="file instead of a print"
    )
    parser.add_argument(
        "--poses-out",
        type=output_file,
        metavar="FILE",
        help="poses while localized, as TUM for evo",
    )
    parser.add_argument("--model", metavar="CARD", help="model card; the map's own by default")
    parser.add_argument("--weights", metavar="DIR", help="folder looked into first for weights")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--threads", type=threads, metavar="N", help="CPU threads; 0: PyTorch's choice"
    )
    parser.add_argument("--params", type=Path, metavar="FILE", help="ROS parameter file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting of config/localizer.yaml; may be given again",
    )
    parser.set_defaults(run=_run)


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """What is set: by --params, then by an option of that name, then by --set."""
    values: dict[str, Any] = {} if options.params is None else read_settings(options.params)
    for name in ("map", "model", "weights", "device", "threads"):
        value = getattr(options, name)
        if value is not None:
            values[name] = str(value) if name == "map" else value
    values.update(map(parse_assignment, options.set))
    return values


def _run(options: argparse.Namespace) -> None:
    from saane_ros.embedding.loading import settings_embedder

    given = _given(options)
    settings = settings_from(given)
    if not settings.map:
        raise SaaneError("No route map is named: give --map, or `map` in the parameter file.")
    _check_source(options)
    route_map = RouteMap.open(settings.map)
    settings = replace(settings, model=settings.model or route_map.info.model)
    made_by = route_map.info.model
    with knowing_its_maker(f"Route map {route_map.path}", made_by, settings.model):
        embedder = settings_embedder(settings)
    localizer = Localizer(embedder, route_map, settings)
    with (
        _outcomes(options, localizer, route_map) as (outcomes, total, truth),
        _written(options.out, sys.stdout) as stream,
        _written(options.poses_out, None) as poses,
    ):
        bar = progress(outcomes, "localize", total=total, unit="frame")
        _write(stream or sys.stdout, bar if poses is None else _tum(bar, poses), truth)


@contextmanager
def _written(path: Path | None, otherwise: IO[str] | None) -> Iterator[IO[str] | None]:
    """A file that is there once all was written, or another stream."""
    if path is None:
        yield otherwise
        return
    with (
        replacing_file(path) as part,
        part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        yield stream


def _tum(outcomes: Iterable[Outcome], stream: IO[str]) -> Iterator[Outcome]:
    """The outcomes, with the poses of those that have one as TUM lines on the way."""
    stream.write("# timestamp x y z qx qy qz qw\n")
    for outcome in outcomes:
        if outcome.match is not None and (pose := outcome.match.pose) is not None:
            place = " ".join(f"{value:.6f}" for value in pose.position)
            turn = " ".join(f"{value:.9f}" for value in pose.orientation)
            seconds, rest = divmod(outcome.stamp_ns, 10**9)
            stream.write(f"{seconds}.{rest:09d} {place} {turn}\n")
        yield outcome


def _check_source(options: argparse.Namespace) -> None:
    of_bag = ("image_topic", "odometry_topic", "truth_topic", "camera_rate", "inference_ms")
    given = [f"--{name.replace('_', '-')}" for name in of_bag if getattr(options, name)]
    if options.images is not None and given:
        raise SaaneError(f"{', '.join(given)} goes with --bag: leave it out.")
    if options.bag is not None and not options.image_topic:
        raise SaaneError("--bag needs --image-topic: name the topic with the images.")


@contextmanager
def _outcomes(
    options: argparse.Namespace, localizer: Localizer, route_map: RouteMap
) -> Iterator[tuple[Iterable[Outcome], int | None, PoseTrack | None]]:
    base = localizer.base
    if options.images is not None:
        folder = ImageFolder(options.images)
        camera = None
        if options.camera_info:
            camera = intrinsics_of_folder(folder, Path(options.camera_info))
        _tell_camera(localizer, camera, "give --camera-info")
        yield map(partial(_outcome, localizer, camera), folder.frames()), len(folder), None
        _tell_base(base, "set camera_pose")
        return
    from saane_ros.data.bags import BagReader
    from saane_ros.data.bags.mounts import camera_on

    topic, pace = options.image_topic, Pace(options.camera_rate, options.inference_ms / 1e3)
    with BagReader(options.bag) as bag:
        camera = None
        if localizer.points.there:
            camera = intrinsics_of_bag(bag, topic, options.camera_info)
        _tell_camera(localizer, camera, "record CameraInfo, or give --camera-info")
        drive = OfflineDrive(bag, localizer, topic, options.odometry_topic or "", pace, camera)
        truth = None
        if options.truth_topic:
            truth = _truth_of(bag, options.truth_topic, route_map)
            bag.check_clocks(topic, options.truth_topic, truth)
        if base.wanting:
            base.camera = camera_on(bag, topic, base.frame)
        yield drive.outcomes(), None, truth
        if drive.odometry_faults:
            print(f"saane: odometry left out: {drive.odometry_faults}", file=sys.stderr)
        _tell_base(base, f"record /tf_static from it to the frame of {topic}, or set camera_pose")
        for note in bag.notes:
            print(f"saane: {note}", file=sys.stderr)


def _tell_camera(localizer: Localizer, camera: Intrinsics | None, remedy: str) -> None:
    """Say where the map's points cannot be used."""
    if not localizer.points.there or not localizer.settings.refine_budget_ms:
        return
    why = localizer.points.fault
    if camera is None:
        why = f"Nothing tells the camera's intrinsics: {remedy}."
    if why:
        print(f"saane: Poses are not refined by the map's points. {why}", file=sys.stderr)


def _tell_base(base: Base, remedy: str) -> None:
    """Say where the poses are not known to be those of the wanted frame."""
    told = base.assumed
    if base.wanting:
        told = (
            f"Nothing tells where the camera sits on {base.frame}, so poses are those of "
            f"{base.body} as in the map: {remedy}."
        )
    if told:
        print(f"saane: {told}", file=sys.stderr)


def _truth_of(bag: BagReader, topic: str, route_map: RouteMap) -> PoseTrack:
    """The true poses in the map's frame; SaaneError where nothing tells how both frames lie."""
    track, info = bag.pose_track(topic), route_map.info
    ours, theirs = (info.origin, info.grid), (bag.origin, bag.grid)
    if info.origin is not None and bag.origin is not None:
        if ours != theirs:
            there = geographic(track.positions, bag.origin, bag.grid)
            track.positions = local(there, info.origin, info.grid)
    elif (info.origin is None) != (bag.origin is None):
        lie = [
            "in a frame of its own" if o is None else f"at {o[0]:.6f} {o[1]:.6f}"
            for o, _ in (theirs, ours)
        ]
        raise SaaneError(
            f"Errors cannot be measured: the zero of {topic} lies {lie[0]} and that of "
            f"{route_map.path} {lie[1]}. Give truth and map of one frame, or leave --truth-topic."
        )
    places = np.array([place.pose.position[:2] for place in route_map.places if place.pose])
    if len(places) and len(track.positions):
        step = max(1, len(track.positions) // _TRUTH_SAMPLE)
        nearest = min(
            float(np.linalg.norm(places - position, axis=1).min())
            for position in track.positions[::step, :2]
        )
        if nearest > _FAR_M:
            middles = [
                " ".join(f"{value:.1f}" for value in np.median(points, axis=0))
                for points in (track.positions[:, :2], places)
            ]
            raise SaaneError(
                f"Errors cannot be measured: {topic} lies about {middles[0]} and the places of "
                f"{route_map.path} about {middles[1]}, {nearest:.0f} m apart at least. Give truth "
                "and map of one frame, or leave --truth-topic."
            )
    return track


def _outcome(localizer: Localizer, camera: Intrinsics | None, frame: Frame) -> Outcome:
    try:
        # Poses of a query are what is asked for: they must not help as odometry would.
        shown = replace(frame, pose=None, travelled=None, camera=camera)
        match = localizer.localize(shown).match
    except SaaneError as error:
        return Outcome(frame.stamp_ns, frame.name, UNUSABLE, reason=str(error))
    return Outcome(frame.stamp_ns, frame.name, match.state.value, match)


def _write(stream: IO[str], outcomes: Iterable[Outcome], truth: PoseTrack | None) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    states: Counter[str] = Counter()
    errors: list[float] = []
    last = ""
    for outcome in outcomes:
        states[outcome.state] += 1
        if outcome.match is None:
            last = outcome.reason if outcome.state == UNUSABLE else last
            rest = [""] * (len(COLUMNS) - 3)
            writer.writerow((outcome.stamp_ns, outcome.name, outcome.state, *rest))
            continue
        error = _error(outcome.match, truth)
        errors += [] if error is None else [error]
        writer.writerow(_row(outcome, outcome.match, error))
    if not states.total() - states[UNUSABLE] - states[DROPPED]:
        raise SaaneError(last or "There are no frames to match: check the image source.")
    if states[UNUSABLE]:
        print(
            f"saane: {states[UNUSABLE]} frames could not be used; the last: {last}", file=sys.stderr
        )
    if truth is not None or states[DROPPED]:
        print(_accuracy(states, errors), file=sys.stderr)


def _error(match: Match, truth: PoseTrack | None) -> float | None:
    """Horizontal metres between the estimated and the true position, where both are known."""
    found = None if truth is None or match.pose is None else truth.at(match.stamp_ns)
    if found is None or match.pose is None:
        return None
    return math.dist(match.pose.position[:2], found[0].position[:2])


def _accuracy(states: Counter[str], errors: list[float]) -> str:
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    if not errors:
        return f"saane: {told}"
    p50, p95 = np.percentile(errors, (50, 95))
    return f"saane: {told}; error median {p50:.2f} m, 95 % {p95:.2f} m, largest {max(errors):.2f} m"


def _row(outcome: Outcome, match: Match, error: float | None) -> tuple[object, ...]:
    position = (
        ("", "", "") if match.pose is None else tuple(f"{v:.4f}" for v in match.pose.position)
    )
    points = match.points
    return (
        outcome.stamp_ns,
        outcome.name,
        outcome.state,
        match.place.id,
        match.place.name,
        f"{match.distance:.6f}",
        f"{match.ratio:.6f}",
        f"{match.confidence:.6f}",
        f"{match.off_route:.6f}",
        *position,
        "" if error is None else f"{error:.3f}",
        "" if match.pose is None else match.source,
        "" if points is None else points.inliers,
        "" if points is None or points.error is None else f"{points.error:.2f}",
    )
