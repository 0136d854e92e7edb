"""Writing a route map: all of it into a temporary sibling, then one rename."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.files import replacing_folder, telling_full_disk
from saane_ros.metric.store import Points, write_points
from saane_ros.progress import progress
from saane_ros.route_map.calibration import (
    CALIBRATION_FILE,
    Calibration,
    Weights,
    calibration_text,
    default_weights,
)
from saane_ros.route_map.cohort import COHORT_FILE, Cohort, cohort_descriptors, write_cohort
from saane_ros.route_map.info import INFO_FILE, MapInfo, info_text
from saane_ros.route_map.place_graph import GRAPH_FILE, drives_of, graph_of, write_graph_file
from saane_ros.route_map.place_index import build_index, wants_index, write_index
from saane_ros.route_map.places_csv import (
    PLACES_FILE,
    THUMBNAIL_FOLDER,
    thumbnail_name,
    write_places,
)
from saane_ros.route_map.postprocessing import Postprocessing
from saane_ros.route_map.postprocessing_file import POSTPROCESSING_FILE, write_postprocessing
from saane_ros.route_map.scale import map_scale
from saane_ros.route_map.verification import (
    DESCRIPTOR_FILE,
    GRIDS_FILE,
    INDEX_FILE,
    checksums,
)
from saane_ros.types import Place


def check_target(path: Path) -> None:
    """Raise SaaneError where something that is no route map lies at `path`: it would be lost."""
    if path.is_dir() and ((path / INFO_FILE).exists() or not any(path.iterdir())):
        return
    if path.exists() or path.is_symlink():
        raise SaaneError(f"{path} exists and is no route map: give the map another name.")


def write_map(
    path: Path,
    info: MapInfo,
    places: Sequence[Place],
    descriptors: NDArray[np.float32],
    rows: Sequence[int],
    thumbnails: Sequence[Path],
    cohort: Cohort,
    grids: NDArray[np.int8] | None = None,
    postprocessing: Postprocessing | None = None,
    weights: tuple[Weights, str] | None = None,
    points: Points | None = None,
) -> None:
    """Write a map; place i has descriptor `descriptors[rows[i]]` and JPEG `thumbnails[i]`.

    `info` comes without index kind and checksums, which are filled in here. grids: compact, place
    i has `grids[rows[i]]`; None for a model without them. `postprocessing` is what the descriptors
    went through already. weights: of its calibration and their source, the package's where None.
    points: of the places in their order.
    Raises SaaneError where the disk has no room for it; an older map stays as it was.
    """
    check_target(path)
    with telling_full_disk(path), replacing_folder(path) as folder:
        write_places(folder / PLACES_FILE, places)
        dtype = np.dtype(info.dtype)
        stored = _write_rows(folder / DESCRIPTOR_FILE, descriptors, rows, dtype)
        if thumbnails:
            _copy_thumbnails(folder / THUMBNAIL_FOLDER, thumbnails)
        if postprocessing is not None:
            write_postprocessing(folder / POSTPROCESSING_FILE, postprocessing)
        if points is not None:
            write_points(folder, points)
        kept = None
        if grids is not None:
            kept = _write_rows(folder / GRIDS_FILE, grids, rows, np.dtype(np.int8))
        if wants_index(*stored.shape):
            info = replace(info, index="ivf")
            write_index(build_index(stored), stored, folder / INDEX_FILE)
        used = weights or default_weights(kept is not None)
        _write_bearings(folder, places, stored, kept, cohort, postprocessing, used, info.rerank)
        info = replace(info, files=checksums(folder, info.count))
        (folder / INFO_FILE).write_bytes(info_text(info).encode())


def _write_rows(
    path: Path, source: NDArray[Any], rows: Sequence[int], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Write some rows of an array as .npy, and read them back memory-mapped.

    Into a memory-mapped file a full disk could not be told: the process would end by a signal.
    """
    shape = (len(rows), *source.shape[1:])
    limit = float(np.finfo(dtype).max) if dtype.kind == "f" else np.inf
    with path.open("wb") as stream:
        head = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, head)
        for start in range(0, len(rows), 1024):
            block = source[list(rows[start : start + 1024])]
            if float(np.abs(block).max()) > limit:
                raise SaaneError(f"A descriptor does not fit {dtype}: build the map in float32.")
            stream.write(block.astype(dtype).tobytes())
    kept: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return kept


def _write_bearings(
    folder: Path,
    places: Sequence[Place],
    descriptors: NDArray[np.floating],
    grids: NDArray[np.int8] | None,
    cohort: Cohort,
    postprocessing: Postprocessing | None,
    weights: tuple[Weights, str],
    rerank: str,
) -> None:
    """Write graph, cohort and calibration."""
    graph = graph_of(places, descriptors)
    write_graph_file(folder / GRAPH_FILE, graph)
    write_cohort(folder / COHORT_FILE, cohort)
    processed = cohort_descriptors(cohort, postprocessing)
    scale = map_scale(descriptors, grids, graph, processed, drives_of(places), rerank)
    calibration = Calibration(scale, *weights)
    (folder / CALIBRATION_FILE).write_text(calibration_text(calibration), encoding="utf-8")


def _copy_thumbnails(folder: Path, thumbnails: Sequence[Path]) -> None:
    folder.mkdir()
    shown = progress(thumbnails, "thumbnails", unit="file", delay_s=2.0)
    for number, source in enumerate(shown):
        shutil.copyfile(source, folder / thumbnail_name(number))
