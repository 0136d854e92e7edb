"""One drive on one map, from its files to a table, `drive.json` and `drive.html`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from saane_ros import __version__
from saane_ros.data.bags import BagReader
from saane_ros.data.bags.storage import holds_bag
from saane_ros.data.datasets.ref_query import COLUMNS as TRUTH_COLUMNS
from saane_ros.data.images.folders import ImageFolder, image_files
from saane_ros.data.poses.files import read_poses
from saane_ros.data.poses.track import PoseTrack
from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.evaluation.drives.drive import (
    DriveFolder,
    away_frames,
    bag_frames,
)
from saane_ros.evaluation.drives.evaluation import DriveEvaluation, as_text, evaluate_drive
from saane_ros.evaluation.drives.report import write_report
from saane_ros.evaluation.drives.truth import (
    Truth,
    by_position,
    by_same_names,
    by_table,
    no_truth,
)
from saane_ros.files import replacing_file, sha256_of
from saane_ros.localization.localizer import Localizer
from saane_ros.metric.cameras import Camera
from saane_ros.metric.recorded import intrinsics_of_bag, intrinsics_of_folder
from saane_ros.route_map.info import INFO_FILE
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame

SAME_NAMES = "same-names"
JSON_FILE, HTML_FILE = "drive.json", "drive.html"


@dataclass(frozen=True)
class DriveSource:
    """What the command line says of a drive.

    truth: a pose file, a pose topic of a bag, a ground_truth.csv, SAME_NAMES, or None.
    camera: a file of intrinsics, or a topic of CameraInfo; empty: beside the images of a bag.
    """

    path: Path
    truth: str | None = None
    image_topic: str | None = None
    odometry_topic: str | None = None
    camera: str = ""

    @property
    def is_bag(self) -> bool:
        """Whether it is a file, or a folder that holds a bag."""
        return self.path.is_file() or holds_bag(self.path)

    def check(self) -> None:
        """SaaneError where the drive cannot be tried, as far as no map is needed to tell."""
        if self.is_bag:
            if not self.image_topic:
                raise SaaneError(
                    f"{self.path} is a bag: name the topic of its images by --image-topic."
                )
            with BagReader(self.path) as bag:
                bag.image_type(self.image_topic)
            return
        if self.odometry_topic:
            raise SaaneError(
                f"{self.path} is a folder of images: --odometry-topic goes with a bag."
            )
        if self.truth not in (None, SAME_NAMES) and not Path(str(self.truth)).is_file():
            raise SaaneError(f"There is no truth file {self.truth}: name one, or say {SAME_NAMES}.")
        image_files(self.path)


@dataclass(frozen=True, eq=False)
class Results:
    """title: of drive and map.  command: that gives these results again.  folder: they go to."""

    title: str
    evaluation: DriveEvaluation
    route_map: RouteMap
    settings: Settings
    command: str
    folder: Path

    def text(self) -> str:
        """For a terminal."""
        where = f"wrote {self.folder / JSON_FILE} and {HTML_FILE}"
        return f"{self.title}\n\n{as_text(self.evaluation)}\n\n{where}\n"

    def write(self) -> None:
        """Write both files."""
        with replacing_file(self.folder / JSON_FILE) as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n")
        write_report(self.evaluation, self.title, self.command, self.folder / HTML_FILE)

    def as_dict(self) -> dict[str, Any]:
        """The content of `drive.json`."""
        info = self.route_map.info
        return {
            "title": self.title,
            "command": self.command,
            "version": __version__,
            "model": info.model,
            "fingerprint": info.fingerprint,
            "map": {
                "name": info.name,
                "places": info.count,
                "metric": self.route_map.metric,
                "rerank": info.rerank,
                "calibrated_on": self.route_map.localizable().calibration.source,
                "sha256": sha256_of(self.route_map.path / INFO_FILE),
            },
            "settings": asdict(self.settings),
            **self.evaluation.as_dict(),
        }


def run_drive(
    embedder: Embedder,
    route_map: RouteMap,
    settings: Settings,
    source: DriveSource,
    away: Sequence[Path],
    command: str,
    folder: Path,
) -> Results:
    """Evaluate a drive; raises SaaneError where files, topics or truth do not fit."""
    localizer = Localizer(embedder, route_map, settings)
    camera = intrinsics_of(source) if route_map.points is not None else None
    # Images from elsewhere stand for what the drive's camera would see there.
    sources = {
        _short(path, away): taken_by(camera, away_frames(path, source.image_topic))
        for path in dict.fromkeys(away)
    }
    with ExitStack() as opened:
        frames, truth, total = open_drive(source, route_map, opened)
        frames = taken_by(camera, frames)
        evaluation = evaluate_drive(localizer, route_map, frames, truth, sources, total=total)
    title = f"{source.path.name} on {route_map.info.name}, {route_map.info.model}"
    return Results(title, evaluation, route_map, settings, command, folder)


def intrinsics_of(source: DriveSource) -> Camera | None:
    """The camera of a drive, where something tells it."""
    if source.is_bag:
        if not source.image_topic:
            return None
        with BagReader(source.path) as bag:
            return intrinsics_of_bag(bag, source.image_topic, source.camera)
    if not source.camera:
        return None
    return intrinsics_of_folder(ImageFolder(source.path), Path(source.camera))


def taken_by(camera: Camera | None, frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames with the camera that took them."""
    for frame in frames:
        yield replace(frame, camera=camera)


def _short(path: Path, others: Sequence[Path]) -> str:
    """A folder's own name, with the one above it where that tells two apart."""
    name = path.resolve().name
    alike = sum(other.resolve().name == name for other in others)
    return name if alike == 1 else "/".join(path.resolve().parts[-2:])


def open_drive(
    source: DriveSource, route_map: RouteMap, opened: ExitStack
) -> tuple[Iterable[Frame], Truth, int | None]:
    """Frames of a drive, what is true of them, and their number where it is known."""
    source.check()
    if source.is_bag:
        return _open_bag(source, route_map, opened)
    told = source.truth
    if told is None or told == SAME_NAMES or _is_table(told):
        folder = DriveFolder(source.path, route_map)
    else:
        folder = DriveFolder(source.path, route_map, Path(told))
    return folder.frames(), _truth(source, folder, route_map), len(folder.told)


def _truth(source: DriveSource, folder: DriveFolder, route_map: RouteMap) -> Truth:
    told = source.truth
    if told is None:
        return by_position(route_map) if folder.posed and route_map.metric else no_truth()
    if told == SAME_NAMES:
        return by_same_names(route_map, [frame.name for frame in folder.told])
    if _is_table(told):
        return by_table(route_map, Path(told), source.path)
    return by_position(route_map)


def _is_table(path: str) -> bool:
    """Whether a file begins as `ground_truth.csv` does."""
    with Path(path).open(encoding="utf-8-sig", errors="replace") as stream:
        return stream.readline().strip().split(",") == list(TRUTH_COLUMNS)


def _open_bag(
    source: DriveSource, route_map: RouteMap, opened: ExitStack
) -> tuple[Iterable[Frame], Truth, int | None]:
    bag, images = opened.enter_context(BagReader(source.path)), str(source.image_topic)
    total = bag.topics()[images].count
    track = None
    if source.truth in bag.topics():
        track = bag.pose_track(str(source.truth), route_map.info.origin)
    elif source.truth is not None:
        if not Path(source.truth).is_file():
            raise SaaneError(
                f"--truth {source.truth} is neither a topic of {source.path} nor a file: the truth "
                "of a bag is a pose topic or a pose file with stamps."
            )
        track = _track_of(Path(source.truth), route_map)
    truth = no_truth() if track is None else by_position(route_map)
    return bag_frames(bag, images, source.odometry_topic, track), truth, total


def _track_of(path: Path, route_map: RouteMap) -> PoseTrack:
    table = read_poses(path, route_map.info.origin)
    if table.stamps_ns is None:
        raise SaaneError(
            f"The pose file {path} has no stamps, by which a bag's images find theirs."
        )
    return PoseTrack(
        np.array(table.stamps_ns, np.int64),
        np.array([pose.position for pose in table.poses]),
        np.array([pose.orientation for pose in table.poses]),
    )
