"""Several maps and drives from one YAML file, for every model: the maps are built on the way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets import open_datasets
from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.images.folders import UNTIMED_STEP_NS, ImageFolder
from saane_ros.data.images.lists import ImageList
from saane_ros.data.poses.files import courses
from saane_ros.data.poses.transforms import IDENTITY, read_mount
from saane_ros.errors import SaaneError
from saane_ros.evaluation.drives.drive import (
    Away,
    away_frames,
    embed_away,
    embed_drive,
    with_travelled,
)
from saane_ros.evaluation.drives.evaluation import evaluate_embedded
from saane_ros.evaluation.drives.results import (
    SAME_NAMES,
    DriveSource,
    Results,
    open_drive,
    taken_by,
)
from saane_ros.evaluation.drives.truth import Truth, by_position, by_rows, mapped_rows
from saane_ros.localization.localizer import Localizer
from saane_ros.metric.cameras import Camera
from saane_ros.metric.features import MOST_OF_MAP, RootSift
from saane_ros.metric.recorded import intrinsics_of_folder
from saane_ros.reading import read_yaml
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, Pose
from saane_ros.weights.schema import read_mapping

_FOLDER = re.compile(r"(?P<path>.*?)(\[(?P<start>\d*):(?P<stop>\d*)(:(?P<step>\d+))?\])?")


@dataclass(frozen=True)
class Pair:
    """A map and a drive: folders below the data's, with [start:stop:step] behind for some of the
    images, or a described dataset, whose references are the map and whose queries the drive.

    poses: pose file of the map's folder.  truth: of the drive, as `saane evaluate drive --truth`.
    camera_info: file of the intrinsics that took both, by which the map has points and poses are
    refined.  camera_pose: of that camera on what the poses are of, as `saane map build` takes it.
    without: sources from elsewhere that show this route too.
    """

    map: str = ""
    drive: str = ""
    poses: str = ""
    truth: str = ""
    dataset: str = ""
    camera_info: str = ""
    camera_pose: str = ""
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """drives: by name.  away: folders of images from elsewhere."""

    drives: dict[str, Pair]
    away: tuple[str, ...] = ()


def read_suite(path: Path) -> Suite:
    """Read and check a suite's file; SaaneError names every mistake."""
    values = read_yaml(path, "The suite")
    problems: list[str] = []
    suite = read_mapping(Suite, values, "", problems)
    for name, pair in suite.drives.items() if suite is not None else ():
        if bool(pair.dataset) == bool(pair.map and pair.drive):
            problems.append(f"drives.{name} needs either a dataset, or map and drive")
        if (pair.camera_pose and not pair.camera_info) or (pair.camera_info and pair.dataset):
            problems.append(f"the camera of drives.{name} needs camera_info, map and drive")
        problems += [f"{one} of drives.{name} is not in away" for one in _unknown(suite, pair)]
    if suite is None or problems:
        raise SaaneError(f"The suite {path} has mistakes: {'; '.join(problems)}. Correct them.")
    return suite


def _unknown(suite: Suite | None, pair: Pair) -> list[str]:
    return [one for one in pair.without if suite is not None and one not in suite.away]


def run_suite(
    path: Path, data: Path, all_settings: Sequence[Settings], command: str, out: Path
) -> Iterator[Results]:
    """The results of every drive with the model of each settings, one by one as they are there.

    Maps go to `out`/maps; images from elsewhere are embedded once a model.
    """
    from saane_ros.embedding.loading import settings_embedder

    suite = read_suite(path)
    for settings in all_settings:
        embedder = settings_embedder(settings)
        known: dict[tuple[str, Camera | None], Away] = {}
        for name, pair in suite.drives.items():
            folder = out / Path(settings.model).stem / name
            camera = _camera(pair, data)
            route_map = build_map(
                map_frames(pair, data),
                embedder,
                folder / f"{name}.routemap",
                camera=None if camera is None else read_mount(pair.camera_pose) or IDENTITY,
                features=None if camera is None else RootSift(MOST_OF_MAP),
                intrinsics=camera,
            )
            seen_by = None if route_map.points is None else camera
            own = replace(settings, map=str(route_map.path))
            localizer = Localizer(embedder, route_map, own)
            with ExitStack() as opened:
                frames, truth = drive_frames(pair, data, route_map, opened)
                drive = embed_drive(localizer, taken_by(seen_by, frames), truth)
            away = [one for one in suite.away if one not in pair.without]
            for one in away:
                if (one, seen_by) not in known:
                    shown = taken_by(seen_by, away_frames(data / one))
                    known[one, seen_by] = embed_away(localizer, one, shown)
            evaluation = evaluate_embedded(
                localizer, route_map, drive, truth.rule, [known[one, seen_by] for one in away]
            )
            title = f"{name}, {embedder.name}"
            yield Results(title, evaluation, route_map, own, command, folder)


def map_frames(pair: Pair, data: Path) -> Iterator[Frame]:
    """The frames of the map of a pair."""
    if pair.dataset:
        dataset = _dataset(pair, data)
        return _listed(dataset.references, _poses(dataset.reference_positions))
    folder, part = _folder(pair.map, data)
    images = ImageFolder(folder, data / pair.poses if pair.poses else None)
    return islice(images.frames(), part.start, part.stop, part.step)


def _camera(pair: Pair, data: Path) -> Camera | None:
    """The camera of a pair; None where its intrinsics are not told."""
    if not pair.camera_info:
        return None
    return intrinsics_of_folder(ImageFolder(_folder(pair.map, data)[0]), data / pair.camera_info)


def drive_frames(
    pair: Pair, data: Path, route_map: RouteMap, opened: ExitStack
) -> tuple[Iterable[Frame], Truth]:
    """The frames of the drive of a pair, and what is true of them."""
    if pair.dataset:
        return _of_dataset(_dataset(pair, data), route_map)
    folder, part = _folder(pair.drive, data)
    told = pair.truth or None
    if told is not None and told != SAME_NAMES:
        told = str(data / told)
    frames, truth, _ = open_drive(DriveSource(folder, told), route_map, opened)
    return islice(frames, part.start, part.stop, part.step), truth


def _folder(text: str, data: Path) -> tuple[Path, slice]:
    found = _FOLDER.fullmatch(text)
    assert found is not None, "the path takes what is no slice"
    numbers = (found[name] for name in ("start", "stop", "step"))
    return data / found["path"], slice(*(int(one) if one else None for one in numbers))


def _dataset(pair: Pair, data: Path) -> Dataset:
    return open_datasets(pair.dataset, data)[0]


def _of_dataset(dataset: Dataset, route_map: RouteMap) -> tuple[Iterable[Frame], Truth]:
    names = dataset.queries.names
    poses = _poses(dataset.query_positions)
    told = [
        Frame(
            np.empty((0, 0, 3), np.uint8),
            index * UNTIMED_STEP_NS,
            name,
            None if poses is None else poses[index],
        )
        for index, name in enumerate(names)
    ]
    frames = (
        replace(frame, image=dataset.queries.read(index))
        for index, frame in enumerate(with_travelled(told))
    )
    if poses is not None:
        return frames, by_position(route_map)
    known = {place.name: [row] for row, place in enumerate(route_map.places)}
    there = dataset.references.names
    rows = {
        name: mapped_rows([known.get(there[row], []) for row in correct])
        for name, correct in zip(names, dataset.correct, strict=True)
    }
    return frames, by_rows(route_map, rows, f"right {dataset.tolerance}")


def _listed(images: ImageList, poses: Sequence[Pose] | None) -> Iterator[Frame]:
    for index, name in enumerate(images.names):
        pose = None if poses is None else poses[index]
        yield Frame(images.read(index), index * UNTIMED_STEP_NS, name, pose)


def _poses(positions: NDArray[np.float64] | None) -> list[Pose] | None:
    """Poses at positions (n, 2) that look along the route."""
    if positions is None:
        return None
    points = np.column_stack((positions, np.zeros(len(positions))))
    return [
        Pose((x, y, z), (qx, qy, qz, qw))
        for (x, y, z), (qx, qy, qz, qw) in zip(
            points.tolist(), courses(points).tolist(), strict=True
        )
    ]
