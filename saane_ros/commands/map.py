"""`saane map`: build a route map from a folder or a bag, look at one, verify, cut and join them."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import cv2

from saane_ros.commands.map_by_motion import motion_folder
from saane_ros.commands.map_calibrating import (
    CALIBRATE_EXAMPLES,
    add_calibrate,
    calibrate_map,
)
from saane_ros.commands.map_editing import (
    CROP_EXAMPLES,
    MERGE_EXAMPLES,
    add_crop,
    add_merge,
    crop,
    merge,
)
from saane_ros.commands.map_frames import frames_for
from saane_ros.commands.map_indexing import INDEX_EXAMPLES, add_index, index
from saane_ros.commands.map_of_bags import map_of_bags
from saane_ros.commands.map_showing import megabytes, show
from saane_ros.commands.parsers import command_parser, number, output_file, output_folder, threads
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.metric.features import MOST_OF_MAP
from saane_ros.metric.loading import load_features
from saane_ros.progress import progress
from saane_ros.route_map.builder import RouteMapBuilder
from saane_ros.route_map.feature_grids import GRIDS, OWN, SCORES
from saane_ros.route_map.info import INFO_FILE
from saane_ros.route_map.plot import route_plot
from saane_ros.route_map.postprocessing import CHOICES, NONE
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import STREET_MODEL, Settings
from saane_ros.weights.feature_cards import ROOTSIFT

BUILD_EXAMPLES = """\
examples:
  saane map build --images photos/ --out street.routemap
  saane map build --images photos/ --poses poses.txt --every-metres 2 --out street.routemap
  saane map build --bag day.mcap --image-topic /camera/image --pose-topic /odom \\
      --every-metres 2 --metric --out street.routemap

Pose files: columns named by a header (name or stamp; x,y[,z] or lat,lon[,alt]; yaw or qx,qy,qz,qw
in any order), or TUM (t x y z qx qy qz qw), KITTI (3x4 rows), EuRoC, hloc, COLMAP (images.txt).
poses.csv or poses.txt inside the folder is found by itself, and so are positions in '@' names.
--camera-pose tells where the camera sat on what the poses are of, in metres and radians (roll pitch
yaw; all 0 for poses of the camera itself, looking along its x), so that a camera mounted elsewhere
finds its own robot's pose. A bag tells it by /tf_static and the frames of its images and poses.
--postprocessing mean takes out what season and light add to every image; standardise scales every
dimension by its deviation too; pca512 and pca1024 whiten after mean to so many values at most. The
map keeps the statistics of its drive; those of a query drive begin there and become its own. auto
is mean where the drive has places enough that differ, else none; `saane map info` says which it is.
--rerank tells by what of their feature grids the nearest places of a frame are weighed anew: grids
(cells that moved alike), rapid (Patch-NetVLAD's spatial score) or mutual (SelaVPR's mutual nearest
cells). The package's calibration is of grids: `saane map calibrate` fits others, and changes it.
own keeps the local features that the model's authors re-rank by instead (SelaVPR, NetVLAD): half a
megabyte a place or more, and tenths of a second a frame; see docs/evaluation.md.
--metric adds points in space, by which a pose can be told to centimetres. It needs the camera's
intrinsics (CameraInfo beside the images of a bag, or --camera-info: the YAML of camera_calibration,
or KITTI's calib.txt), its pose on what the poses are of, and pip install 'saane_ros[metric]'.
--structure-from-motion tells the poses of images by themselves (a drive of one camera, in order):
scaled and aligned by the positions of the folder or of --pose-topic, else the median step is 1.
Give --camera-info where no CameraInfo lies beside a bag's images: an estimate is up to 15 % off.
--features names the keypoints of both, a card that `saane models list` shows or a file of one.
Several --bag become one map, each a drive of its name along one route, as by `saane map merge`.
--workers N embeds them in N processes of a Ray cluster (pip install 'saane_ros[fleet]'; one process
a GPU; $RAY_ADDRESS names a cluster of several machines that share the files): the map is the same.
An interrupted build goes on where it was when the same command is given again. Until the new map
is complete an older one of its name stays, and so it does where the disk has no room.
"""
INFO_EXAMPLES = """\
examples:
  saane map info street.routemap
  saane map info street.routemap --plot street.png
"""
VERIFY_EXAMPLES = """\
examples:
  saane map verify street.routemap
  saane map verify maps/*.routemap && echo all whole

Reads every byte of each map and compares it with the checksums that were written with it. What is
missing or changed is named, and the other maps are read all the same. Exit code: 0 where all are
whole, 1 where one is not, 2 where the call is wrong.

Opening a map does the same once, when it is new or a file of it changed; after that a map is known
by the sizes and times of its files ($SAANE_CACHE, else ~/.cache/saane_ros, verified_maps.json). A
medium that lost bits changes neither, which this command finds. Files that are no part of a map, as
.DS_Store or an editor's backup, are let be.
"""


def add(subparsers: argparse._SubParsersAction) -> None:
    """Add `saane map build`, `info`, `verify`, `crop`, `index`, `calibrate` and `merge`."""
    parser = command_parser(
        subparsers, "map", "build, inspect, verify, cut and join route maps", BUILD_EXAMPLES
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    build = command_parser(
        actions, "build", "build a route map from images or a bag", BUILD_EXAMPLES
    )
    source = build.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, metavar="DIR", help="folder of images")
    bags = "bag: MCAP, sqlite3, or ROS 1 .bag; of several, see below"
    source.add_argument("--bag", type=Path, nargs="+", help=bags)
    build.add_argument(
        "--workers", type=number(1, 256, int), default=1, help="processes for several bags (1)"
    )
    build.add_argument("--poses", type=Path, metavar="FILE", help="pose file for --images")
    build.add_argument("--image-topic", metavar="T", help="image topic of --bag")
    build.add_argument(
        "--pose-topic", metavar="T", help="NavSatFix, Odometry or PoseStamped topic of --bag"
    )
    build.add_argument(
        "--base-frame", default="", metavar="F", help="frame the poses are of; a bag tells its own"
    )
    build.add_argument(
        "--camera-pose", default="", metavar="'X Y Z R P Y'", help="of the camera on it, see below"
    )
    build.add_argument("--metric", action="store_true", help="add points in space, see below")
    build.add_argument(
        "--features", default=ROOTSIFT, metavar="CARD", help="of the two, see below (%(default)s)"
    )
    by = "poses by images alone, see below"
    build.add_argument("--structure-from-motion", action="store_true", help=by)
    build.add_argument(
        "--camera-info", default="", metavar="WHAT", help="file of intrinsics, or topic of --bag"
    )
    build.add_argument(
        "--out", type=output_folder, required=True, metavar="X.routemap", help="map to write"
    )
    every = build.add_mutually_exclusive_group()
    every.add_argument("--every-metres", type=float, metavar="M", help="a place every M metres")
    every.add_argument("--every-seconds", type=float, metavar="S", help="a place every S seconds")
    defaults = Settings()
    build.add_argument("--model", default=STREET_MODEL, help="model card (%(default)s)")
    build.add_argument("--weights", default="", metavar="DIR", help="folder looked into first")
    build.add_argument("--device", default=defaults.device, help="auto, cpu, cuda or cuda:N")
    build.add_argument(
        "--engine", default=defaults.engine, help="auto, torch, compiled, onnx or openvino"
    )
    build.add_argument(
        "--precision", default=defaults.precision, help="auto, fp32, fp16, bf16 or int8"
    )
    build.add_argument(
        "--threads", type=threads, default=0, help="CPU threads; 0: PyTorch's choice"
    )
    build.add_argument(
        "--batch",
        type=number(1, 1024, int),
        default=8,
        help="images embedded at once (%(default)s)",
    )
    build.add_argument("--half", action="store_true", help="store descriptors as float16")
    build.add_argument(
        "--postprocessing", choices=CHOICES, default=NONE, help="of descriptors, see below (none)"
    )
    build.add_argument(
        "--rerank",
        choices=(*SCORES, OWN),
        default=GRIDS,
        help="of candidates, see below (grids)",
    )
    build.set_defaults(run=_build)
    info = command_parser(actions, "info", "show what a route map holds", INFO_EXAMPLES)
    info.add_argument("map", type=Path, help="folder of the map")
    info.add_argument("--plot", type=output_file, metavar="X.png", help="draw the route from above")
    info.set_defaults(run=_info)
    verify = command_parser(
        actions, "verify", "read whole maps and say whether they are as written", VERIFY_EXAMPLES
    )
    verify.add_argument("maps", type=Path, nargs="+", metavar="map", help="folders of the maps")
    verify.set_defaults(run=_verify)
    cropping = command_parser(actions, "crop", "cut a part out of a route map", CROP_EXAMPLES)
    add_crop(cropping)
    cropping.set_defaults(run=_crop)
    indexing = command_parser(
        actions, "index", "make the search index anew, or try", INDEX_EXAMPLES
    )
    add_index(indexing)
    indexing.set_defaults(run=_index)
    calibrating = command_parser(
        actions, "calibrate", "fit when a map is believed", CALIBRATE_EXAMPLES
    )
    add_calibrate(calibrating)
    calibrating.set_defaults(run=_calibrate)
    merging = command_parser(actions, "merge", "make one route map of several", MERGE_EXAMPLES)
    add_merge(merging)
    merging.set_defaults(run=_merge)


def _build(options: argparse.Namespace) -> None:
    if len(options.bag or ()) > 1:
        show(map_of_bags(options, build_drive))
        return
    if options.workers > 1:
        raise SaaneError("--workers is for several bags: leave it out.")
    for line in build_drive(options):
        print(line)
    show(RouteMap.open(options.out))


def build_drive(options: argparse.Namespace) -> list[str]:
    """Build the map of one folder or bag; gives what is to be told of it.

    With `finished` in the options a map by the same model that is there already is left.
    """
    from saane_ros.embedding.loading import settings_embedder

    # Fields share names, types and limits with the localizer's settings.
    settings = Settings(
        model=options.model,
        weights=options.weights,
        device=options.device,
        engine=options.engine,
        precision=options.precision,
        threads=options.threads,
    )
    features = None
    if options.metric or options.structure_from_motion:
        features = load_features(options.features, options.weights, options.device, MOST_OF_MAP)
    elif options.features != ROOTSIFT:
        raise SaaneError("--features goes with --metric or --structure-from-motion: add one.")
    with frames_for(options, features) as source:
        embedder = settings_embedder(settings)
        if "finished" in options and (options.out / INFO_FILE).exists():
            there = RouteMap.open(options.out)
            if there.info.fingerprint == embedder.fingerprint:
                return [f"{there.info.count} frames taken over from an interrupted build"]
        builder = RouteMapBuilder(
            embedder,
            options.out,
            origin=source.origin,
            grid=source.grid,
            batch=options.batch,
            source=source.label,
            dtype="float16" if options.half else "float32",
            postprocessing=options.postprocessing,
            body=source.body,
            camera=source.camera,
            features=features if options.metric else None,
            intrinsics=source.intrinsics,
            rerank=options.rerank,
        )
        try:
            builder.add(progress(source.frames, "map", total=source.total, unit="frame"))
            builder.finish()
        finally:
            builder.close()
        shutil.rmtree(motion_folder(options.out), ignore_errors=True)
        return [*builder.report.summary().split("\n"), *source.notes]


def _info(options: argparse.Namespace) -> None:
    route_map = RouteMap.open(options.map)
    show(route_map)
    if options.plot is not None:
        picture = cv2.cvtColor(route_plot(route_map), cv2.COLOR_RGB2BGR)
        with replacing_file(options.plot) as part:
            part.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        print(f"wrote {options.plot}")


def _verify(options: argparse.Namespace) -> None:
    faults = []
    for path in options.maps:
        try:
            route_map = RouteMap.open(path, everything=True)
            print(f"{path} is whole: {route_map.info.count} places, {megabytes(path)}")
        except SaaneError as error:
            faults.append(str(error))
    if faults:
        raise SaaneError("\n".join(faults))


def _crop(options: argparse.Namespace) -> None:
    show(crop(options))


def _index(options: argparse.Namespace) -> None:
    route_map = index(options)
    if route_map is not None:
        show(route_map)


def _calibrate(options: argparse.Namespace) -> None:
    show(calibrate_map(options))


def _merge(options: argparse.Namespace) -> None:
    show(merge(options))
