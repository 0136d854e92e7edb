"""Writing a route map: all of it into a temporary sibling, then one rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.files import replace_folder, sha256_of
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
from saane_ros.route_map.places_csv import (
    PLACES_FILE,
    THUMBNAIL_FOLDER,
    thumbnail_name,
    write_places,
)
from saane_ros.route_map.postprocessing import Postprocessing
from saane_ros.route_map.postprocessing_file import POSTPROCESSING_FILE, write_postprocessing
from saane_ros.route_map.scale import map_scale
from saane_ros.route_map.search import HNSW_FROM, write_graph
from saane_ros.route_map.store import (
    DESCRIPTOR_FILE,
    GRIDS_FILE,
    INDEX_FILE,
    sha256_of_folder,
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
) -> None:
    """Write a map; place i has descriptor `descriptors[rows[i]]` and JPEG `thumbnails[i]`.

    `info` comes without index kind and checksums, which are filled in here. grids: compact, place
    i has `grids[rows[i]]`; None for a model without them. `postprocessing` is what the descriptors
    went through already. weights: of its calibration and their source, the package's where None.
    """
    check_target(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        write_places(temporary / PLACES_FILE, places)
        _write_descriptors(temporary / DESCRIPTOR_FILE, info, descriptors, rows)
        _copy_thumbnails(temporary / THUMBNAIL_FOLDER, thumbnails)
        if postprocessing is not None:
            write_postprocessing(temporary / POSTPROCESSING_FILE, postprocessing)
        stored = np.load(temporary / DESCRIPTOR_FILE, mmap_mode="r", allow_pickle=False)
        kept = _write_grids(temporary / GRIDS_FILE, grids, rows)
        if info.count >= HNSW_FROM:
            info = replace(info, index="hnsw")
            write_graph(stored, temporary / INDEX_FILE)
        used = weights or default_weights(kept is not None)
        _write_bearings(temporary, places, stored, kept, cohort, postprocessing, used)
        info = replace(info, files=_checksums(temporary))
        (temporary / INFO_FILE).write_text(info_text(info), encoding="utf-8")
        replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_descriptors(
    path: Path, info: MapInfo, descriptors: NDArray[np.float32], rows: Sequence[int]
) -> None:
    shape = (info.count, info.descriptor_size)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(info.dtype), shape=shape)
    limit = float(np.finfo(out.dtype).max)
    for start in range(0, info.count, 1024):
        block = descriptors[list(rows[start : start + 1024])]
        if float(np.abs(block).max()) > limit:
            raise SaaneError(f"A descriptor does not fit {info.dtype}: build the map in float32.")
        out[start : start + len(block)] = block
    out.flush()


def _write_grids(
    path: Path, grids: NDArray[np.int8] | None, rows: Sequence[int]
) -> NDArray[np.int8] | None:
    """Write the grids of all places, and read them back memory-mapped."""
    if grids is None:
        return None
    shape = (len(rows), *grids.shape[1:])
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.int8, shape=shape)
    for start in range(0, len(rows), 1024):
        block = grids[list(rows[start : start + 1024])]
        out[start : start + len(block)] = block
    out.flush()
    kept: NDArray[np.int8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return kept


def _write_bearings(
    folder: Path,
    places: Sequence[Place],
    descriptors: NDArray[np.floating],
    grids: NDArray[np.int8] | None,
    cohort: Cohort,
    postprocessing: Postprocessing | None,
    weights: tuple[Weights, str],
) -> None:
    """Write graph, cohort and calibration."""
    graph = graph_of(places, descriptors)
    write_graph_file(folder / GRAPH_FILE, graph)
    write_cohort(folder / COHORT_FILE, cohort)
    processed = cohort_descriptors(cohort, postprocessing)
    scale = map_scale(descriptors, grids, graph, processed, drives_of(places))
    calibration = Calibration(scale, *weights)
    (folder / CALIBRATION_FILE).write_text(calibration_text(calibration), encoding="utf-8")


def _copy_thumbnails(folder: Path, thumbnails: Sequence[Path]) -> None:
    folder.mkdir()
    for number, source in enumerate(thumbnails):
        shutil.copyfile(source, folder / thumbnail_name(number))


def _checksums(folder: Path) -> dict[str, str]:
    return {
        path.name: sha256_of_folder(path) if path.is_dir() else sha256_of(path)
        for path in sorted(folder.iterdir())
    }
