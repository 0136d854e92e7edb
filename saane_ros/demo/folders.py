"""A person's own images as a demo: folders ref/ and query/, or one drive with poses."""

from __future__ import annotations

import csv
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.ref_query import GROUND_TRUTH_FILE, RADIUS, read_ground_truth
from saane_ros.data.images.folders import POSE_FILES, ImageEntry, ImageFolder, image_files
from saane_ros.demo.finished import key_of, key_of_files
from saane_ros.demo.scene import CAMERA_TOPIC, Recording, Scene
from saane_ros.errors import SaaneError
from saane_ros.evaluation.positives import correct_places
from saane_ros.reading import no_folder
from saane_ros.types import Frame, Place

TOLERANCE_FRAMES = 5
TOLERANCE_METRES = 10.0


def folder_scene(data: Path, work: Path, rate_hz: float) -> Scene:
    """The scene of a folder; `work` takes the links to a divided drive's images.

    Raises SaaneError where the folder holds neither ref/ and query/ nor a drive with poses.
    """
    if not data.is_dir():
        raise no_folder(data, "one with ref/ and query/")
    if (data / "ref").is_dir() and (data / "query").is_dir():
        return _two_folders(data, rate_hz)
    return _one_drive(data, work, rate_hz)


def _two_folders(data: Path, rate_hz: float) -> Scene:
    reference, query = ImageFolder(data / "ref"), ImageFolder(data / "query")
    by_file = (data / GROUND_TRUTH_FILE).is_file()
    try:
        sets = read_ground_truth(data)
    except SaaneError:
        if by_file:
            raise
        sets = [set() for _ in query.entries]  # nothing says what is right: only matches are shown
    posed = all(entry.pose is not None for entry in (*reference.entries, *query.entries))
    spread = 0 if by_file or posed else TOLERANCE_FRAMES
    names = [entry.path.name for entry in reference.entries]

    def truth(places: Sequence[Place], queries: Sequence[Frame]) -> list[NDArray[np.int64]]:
        row_of = {place.name: row for row, place in enumerate(places)}
        return [_rows(wanted, names, row_of, spread) for wanted in sets]

    rule = f"within {RADIUS:g} m" if posed else f"+-{spread} frames by name or order"
    return Scene(
        name=data.name,
        title=f"query/ localized on ref/ of {data.name}",
        lead="The images of ref/ became a route map; those of query/ were replayed as a camera "
        f"at {rate_hz:g} Hz to the live localizer node.",
        tolerance=f"as {GROUND_TRUTH_FILE} says" if by_file else rule,
        route=_recording(reference, rate_hz),
        query=_recording(query, rate_hz),
        truth=truth,
    )


def _rows(
    wanted: set[int], names: list[str], row_of: dict[str, int], spread: int
) -> NDArray[np.int64]:
    """Reference indices, each with `spread` neighbours, as rows of the map."""
    near = {i + step for i in wanted for step in range(-spread, spread + 1)}
    kept = [row_of[names[i]] for i in near if 0 <= i < len(names) and names[i] in row_of]
    return np.array(sorted(kept), np.int64)


def _one_drive(data: Path, work: Path, rate_hz: float) -> Scene:
    images, poses = _find_drive(data)
    drive = ImageFolder(images, poses)
    if len(drive) < 4:
        raise SaaneError(f"{images} holds {len(drive)} images with a pose: a demo needs 4.")
    route = _write_part(drive.entries[0::2], work / "route")
    query = _write_part(drive.entries[1::2], work / "query")

    def truth(places: Sequence[Place], queries: Sequence[Frame]) -> list[NDArray[np.int64]]:
        return correct_places(
            [query.pose for query in queries],
            [place.pose for place in places],
            TOLERANCE_METRES,
            TOLERANCE_FRAMES,
        )

    return Scene(
        name=data.name,
        title=f"Every other frame of {data.name} localized on the rest",
        lead=f"One drive, divided: frames 0, 2, 4, ... of {len(drive)} became a route map; frames "
        f"1, 3, 5, ... were replayed as a camera at {rate_hz:g} Hz to the live localizer node.",
        tolerance=f"+-{TOLERANCE_FRAMES} frames or {TOLERANCE_METRES:g} m",
        route=_recording(route, rate_hz),
        query=_recording(query, rate_hz),
        truth=truth,
    )


def _find_drive(data: Path) -> tuple[Path, Path]:
    """The only folder with images at or below `data`, and its pose file."""
    folders = [data, *sorted(path for path in data.iterdir() if path.is_dir())]
    for folder in folders:
        for poses in (place / name for place in (folder, data) for name in POSE_FILES):
            if poses.is_file() and _has_images(folder):
                return folder, poses
    raise SaaneError(
        f"{data} holds neither ref/ and query/ nor images with {' or '.join(POSE_FILES)}: "
        "name a folder that does."
    )


def _has_images(folder: Path) -> bool:
    try:
        return bool(image_files(folder))
    except SaaneError:
        return False


def _write_part(entries: list[ImageEntry], folder: Path) -> ImageFolder:
    """A folder with these images alone, linked where that is possible, and their poses."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for entry in entries:
        try:
            os.symlink(entry.path.resolve(), folder / entry.path.name)
        except OSError:
            shutil.copy2(entry.path, folder / entry.path.name)
    with (folder / "poses.csv").open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["name", "stamp_ns", "x", "y", "z", "qx", "qy", "qz", "qw"])
        for entry in entries:
            assert entry.pose is not None, "a drive's images without a pose were left out"
            pose = (*entry.pose.position, *entry.pose.orientation)
            rows.writerow([entry.path.name, entry.stamp_ns, *pose])
    return ImageFolder(folder)


def _recording(folder: ImageFolder, rate_hz: float) -> Recording:
    images = key_of_files([entry.path for entry in folder.entries])
    poses = [entry.pose for entry in folder.entries]
    return Recording(
        path=folder.path,
        key=key_of({"images": images, "poses": poses}),
        count=len(folder),
        frames=folder.frames,
        by_hand=f"--images {shlex.quote(str(folder.path))}",
        player={"frequency": rate_hz, "image_topic": CAMERA_TOPIC},
    )
