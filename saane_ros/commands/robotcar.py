"""`saane robotcar`: traversals of the Oxford RobotCar data set as rosbag2 bags."""

from __future__ import annotations

import argparse
from pathlib import Path

from saane_ros.commands.parsers import command_parser, output_folder
from saane_ros.data.robotcar.images import CAMERAS
from saane_ros.data.robotcar.poses import POSE_FILES

EXAMPLES = """\
examples:
  saane robotcar to-bag robotcar/2014-12-09-13-21-02 --every-seconds 1 --out autumn
  saane robotcar to-bag robotcar/2015-02-03-08-45-10 --every-metres 2 --undistort \\
      --models sdk/models --extrinsics sdk/extrinsics --out winter

The traversal is a folder with stereo/centre/*.png, stereo.timestamps, gps/ins.csv and so on, as the
archives extract. Chunks that were not downloaded are counted. The SDK's models/ and extrinsics/ are
found beside the traversal. In the bag: the images, /ground_truth/odometry (UTM metres from
/ground_truth/origin), /gps/fix, camera_info and /tf_static. An interrupted conversion goes on where
it was when the same command is given again.
"""


def add(subparsers: argparse._SubParsersAction) -> None:
    """Add `saane robotcar to-bag`."""
    parser = command_parser(subparsers, "robotcar", "use traversals of Oxford RobotCar", EXAMPLES)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    to_bag = command_parser(
        actions, "to-bag", "write one camera and the poses as a rosbag2 bag", EXAMPLES
    )
    argument = to_bag.add_argument
    argument("traversal", type=Path, help="folder of the traversal")
    argument("--out", type=output_folder, required=True, metavar="BAG", help="folder of the bag")
    argument("--camera", default="stereo/centre", choices=CAMERAS, help="%(default)s")
    every = to_bag.add_mutually_exclusive_group()
    every.add_argument(
        "--every-seconds", type=float, metavar="S", help="the frames nearest to every S seconds"
    )
    every.add_argument("--every-metres", type=float, metavar="M", help="a frame every M metres")
    argument("--undistort", action="store_true", help="undo the lens distortion")
    image = to_bag.add_mutually_exclusive_group()
    image.add_argument("--raw", action="store_true", help="uncompressed images")
    image.add_argument("--quality", type=int, default=90, help="of the JPEGs (%(default)s)")
    argument("--poses", default="auto", choices=("auto", *POSE_FILES), help="auto: the best there")
    argument("--models", type=Path, metavar="DIR", help="models/ of the RobotCar SDK")
    argument("--extrinsics", type=Path, metavar="DIR", help="extrinsics/ of the RobotCar SDK")
    to_bag.set_defaults(run=_to_bag)


def _to_bag(options: argparse.Namespace) -> None:
    from saane_ros.data.robotcar.to_bag import Conversion, convert

    conversion = Conversion(
        camera=options.camera,
        every_seconds=options.every_seconds,
        every_metres=options.every_metres,
        undistort=options.undistort,
        jpeg_quality=None if options.raw else options.quality,
        poses=options.poses,
        models=options.models or _beside(options.traversal, "models"),
        extrinsics=options.extrinsics or _beside(options.traversal, "extrinsics"),
    )
    report = convert(options.traversal, options.out, conversion)
    for sentence in report.sentences():
        print(sentence)
    print(f"wrote {options.out} with images on {conversion.image_topic}")


def _beside(traversal: Path, name: str) -> Path | None:
    folder = traversal.resolve().parent / name
    return folder if folder.is_dir() else None
