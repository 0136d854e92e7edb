"""Where training places come from: fixed cameras, video frames, aligned drives, towns, datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from saane_ros.data.datasets import open_places
from saane_ros.data.images.files import is_image
from saane_ros.data.images.folders import natural_key
from saane_ros.data.images.places import PlaceImages
from saane_ros.errors import SaaneError
from saane_ros.training.place_views import Row


@dataclass(frozen=True)
class PlaceSource:
    """One set of images, read as places.

    kind: "cameras": one folder a place. "frames": runs of video frames are places. "pairs": the
        folders are drives and equal file names one place. "dataset": places of a dataset's reader.
        "towns": the rendered towns.
    folder: below the data folder; for a dataset its name or YAML file.
    crops: windows of an image that stand for as many places in the same light.
    every, views: of frames, every n-th run of so many consecutive frames is a place.
    copies: augmented copies of each view.
    same_times: equal file names of different cameras were taken at the same time.
    only, without: names of folders (cameras, clips, towns) to keep or to leave out.
    fold, without_fold: [k, n] keeps, or leaves out, every n-th place in the order of their names,
        the k-th first. The two together part a source whose folders nobody wants to list.
    weight: how often batches take places from here, relative to the other sources.
    """

    kind: Literal["cameras", "frames", "pairs", "dataset", "towns"]
    folder: str = ""
    crops: int = 1
    every: int = 1
    views: int = 1
    copies: int = 0
    same_times: bool = False
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    fold: tuple[int, int] | None = None
    without_fold: tuple[int, int] | None = None
    weight: float = 1.0

    @property
    def name(self) -> str:
        return self.folder or self.kind


def read_rows(source: PlaceSource, data: Path, towns: PlaceImages | None) -> list[Row]:
    """The images of a source; `towns` are the rendered ones, for the kind "towns"."""
    if source.kind == "towns":
        if towns is None:
            raise SaaneError("A source of kind towns needs the section `town` in the same file.")
        rows = _town_rows(towns)
    elif source.kind == "dataset":
        rows = _dataset_rows(open_places(source.folder, data))
    else:
        read = {"cameras": _camera_rows, "frames": _frame_rows, "pairs": _pair_rows}[source.kind]
        rows = read(_folder(source, data), source)
    kept = _folded([row for row in rows if _wanted(row, source)], source)
    if not kept:
        raise SaaneError(
            f"No image of {source.name} is left by `only`, `without` and the folds: correct them."
        )
    return kept


def _folded(rows: list[Row], source: PlaceSource) -> list[Row]:
    places = sorted({row.place for row in rows}, key=natural_key)
    if source.fold is not None:
        places = places[source.fold[0] :: source.fold[1]]
    left_out = set()
    if source.without_fold is not None:
        left_out = set(places[source.without_fold[0] :: source.without_fold[1]])
    kept = set(places) - left_out
    return [row for row in rows if row.place in kept]


def _folder(source: PlaceSource, data: Path) -> Path:
    folder = data / source.folder
    if not folder.is_dir():
        raise SaaneError(
            f"The training images {folder} do not exist: give the folder that holds "
            f"{source.folder}/ with --data."
        )
    return folder


def _wanted(row: Row, source: PlaceSource) -> bool:
    names = {row.place.split("/")[0], row.group.split("/")[-1], row.path.parent.name}
    return (not source.only or bool(names & set(source.only))) and not names & set(source.without)


def images_below(folder: Path) -> list[Path]:
    """All images below a folder in natural order."""
    found = [path for path in folder.rglob("*") if is_image(path)]
    if not found:
        raise SaaneError(f"No image was found below {folder}: expected .jpg or .png files.")
    return sorted(found, key=lambda path: natural_key(str(path)))


def _camera_rows(folder: Path, source: PlaceSource) -> list[Row]:
    rows = []
    for path in images_below(folder):
        camera = path.relative_to(folder).parts[0]
        group = source.name if source.same_times else camera
        rows.append(Row(camera, group, path.stem, path))
    return rows


def _frame_rows(folder: Path, source: PlaceSource) -> list[Row]:
    clips: dict[str, list[Path]] = {}
    for path in images_below(folder):
        clips.setdefault(f"{path.parent.name}/{path.stem.rsplit('_', 1)[0]}", []).append(path)
    return [
        Row(f"{path.parent.name}/{clip}/{start}", path.parent.name, str(offset), path)
        for clip, frames in clips.items()
        for start in range(0, len(frames) - source.views + 1, source.views * source.every)
        for offset, path in enumerate(frames[start : start + source.views])
    ]


def _pair_rows(folder: Path, source: PlaceSource) -> list[Row]:
    return [Row(p.stem, source.name, p.parent.name, p) for p in images_below(folder)]


def _dataset_rows(places: PlaceImages) -> list[Row]:
    return _rows_of(places, [path.stem for path in places.paths])


def _town_rows(places: PlaceImages) -> list[Row]:
    return _rows_of(places, [path.stem.split("-")[0] for path in places.paths])


def _rows_of(places: PlaceImages, occasions: Sequence[str]) -> list[Row]:
    rows = zip(places.paths, places.labels, places.groups, occasions, strict=True)
    return [Row(places.names[label], str(g), when, path) for path, label, g, when in rows]
