"""A route map on disk: opening one checks all of it, so that what follows can rely on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.files import clear_leftovers
from saane_ros.metric.store import METRIC_FILE, Points, read_points
from saane_ros.reading import parsing
from saane_ros.route_map.arrays import let_go
from saane_ros.route_map.calibration import CALIBRATION_FILE, Calibration, read_calibration
from saane_ros.route_map.cohort import COHORT_FILE, Cohort, read_cohort
from saane_ros.route_map.info import MapInfo, read_info
from saane_ros.route_map.place_graph import GRAPH_FILE, PlaceGraph, read_graph_file
from saane_ros.route_map.place_index import FaissIndex, read_index
from saane_ros.route_map.places_csv import (
    COLUMNS_FILE,
    PLACES_FILE,
    Places,
    Poses,
    read_places,
)
from saane_ros.route_map.postprocessing import NONE, Postprocessing
from saane_ros.route_map.postprocessing_file import POSTPROCESSING_FILE, read_postprocessing
from saane_ros.route_map.verification import (
    DESCRIPTOR_FILE,
    GRIDS_FILE,
    INDEX_FILE,
    Verified,
    check_files,
)
from saane_ros.types import Pose


@dataclass(frozen=True, eq=False)
class Bearings:
    """What a localizer needs to know when it is lost.

    grids: int8 (N, h, w, P), compact feature grids, memory-mapped; None where the map has none.
    """

    graph: PlaceGraph
    cohort: Cohort
    calibration: Calibration
    grids: NDArray[np.int8] | None = None


class RouteMap:
    """An opened route map; get one by `RouteMap.open`.

    descriptors: (N, D) float16 or float32, memory-mapped, one row per place in route order.
    postprocessing: what these went through and a query has to; None where they are as embedded.
    bearings: None in a map of an older format.  points: None in a map that was built without.
    index: of a large map; None in a small one, and where `index_fault` says why it is not used.
    """

    def __init__(
        self,
        path: Path,
        info: MapInfo,
        places: Places,
        descriptors: NDArray[np.floating],
        postprocessing: Postprocessing | None = None,
        bearings: Bearings | None = None,
        points: Points | None = None,
        index: FaissIndex | None = None,
        index_fault: str = "",
    ) -> None:
        self.path = path
        self.info = info
        self.places = places
        self.descriptors = descriptors
        self.postprocessing = postprocessing
        self.bearings = bearings
        self.points = points
        self.index = index
        self.index_fault = index_fault

    @classmethod
    def open(cls, path: str | Path, everything: bool = False) -> RouteMap:
        """Open and check a map; SaaneError says which file is missing, damaged or foreign.

        Files that were found whole before and kept their size and times are not read again, unless
        `everything` is to be.
        """
        folder = Path(path)
        if not folder.exists():
            clear_leftovers(folder)
        info = read_info(folder)
        verified = check_files(folder, info, everything)
        unread = not verified.read.isdisjoint((PLACES_FILE, COLUMNS_FILE))
        unread |= COLUMNS_FILE not in info.files
        places = read_places(folder / PLACES_FILE, everything=unread)
        descriptors = _load_array(folder / DESCRIPTOR_FILE)
        if len(places) != info.count or descriptors.shape != (info.count, info.descriptor_size):
            raise SaaneError(
                f"Route map {folder} counts {info.count} places of {info.descriptor_size} values, "
                f"but holds {len(places)} places and descriptors of shape {descriptors.shape}: "
                "build the map again."
            )
        if descriptors.dtype != np.dtype(info.dtype):
            raise SaaneError(
                f"Route map {folder} says {info.dtype}, but its descriptors are "
                f"{descriptors.dtype}: build the map again."
            )
        if DESCRIPTOR_FILE in verified.read:
            _check_finite(folder, descriptors)
        postprocessing = None
        if info.postprocessing != NONE:
            postprocessing = read_postprocessing(folder / POSTPROCESSING_FILE, info.postprocessing)
            if postprocessing.size != info.descriptor_size:
                raise SaaneError(
                    f"The post-processing of route map {folder} gives {postprocessing.size} values "
                    f"and its descriptors have {info.descriptor_size}: build the map again."
                )
        bearings = _bearings(folder, info, postprocessing) if info.calibrated else None
        points = read_points(folder, info.count) if METRIC_FILE in info.files else None
        index, fault = _index(folder, info, descriptors, verified)
        verified.remember()
        return cls(
            folder, info, places, descriptors, postprocessing, bearings, points, index, fault
        )

    def localizable(self) -> Bearings:
        """The bearings; SaaneError says what to do for a map of an older format."""
        if self.bearings is None:
            raise SaaneError(
                f"Route map {self.path} is of an older format, by which nobody can tell when its "
                f"route is left: run `saane map calibrate {self.path}`, or build it again."
            )
        return self.bearings

    def check_embedder(self, embedder: Embedder) -> None:
        """Raise SaaneError where the map was made by another model, weights or preprocessing."""
        if embedder.fingerprint != self.info.fingerprint:
            raise SaaneError(
                f"Route map {self.path} was made by {self.info.model} with fingerprint "
                f"{self.info.fingerprint}, but the loaded model {embedder.name} has fingerprint "
                f"{embedder.fingerprint}: load that model or build the map again."
            )

    def poses(self) -> Sequence[Pose | None]:
        """The pose of every place, in route order."""
        return Poses(self.places)

    def let_go(self) -> None:
        """Give pages of memory-mapped files back, which stay in the system's memory."""
        let_go(self.descriptors)
        self.places.let_go()
        if self.index is not None:
            self.index.let_go()

    @cached_property
    def metric(self) -> bool:
        """Whether every place has a pose."""
        return not bool(np.isnan(self.places.positions[:, 0]).any())

    @cached_property
    def arc_length(self) -> NDArray[np.float64]:
        """Distance along the route to each place (N,): metres where metric, else place indices."""
        along = self.places.along
        if not np.isnan(along).any():
            return along.copy()
        if not self.metric:
            return np.arange(len(self.places), dtype=np.float64)
        steps = np.linalg.norm(np.diff(self.places.positions, axis=0), axis=1)
        return np.concatenate(([0.0], np.cumsum(steps)))


def _load_array(path: Path) -> NDArray[Any]:
    with parsing(f"{path} is no NumPy array", "build the map again"):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _bearings(folder: Path, info: MapInfo, postprocessing: Postprocessing | None) -> Bearings:
    graph = read_graph_file(folder / GRAPH_FILE, info.count)
    cohort = read_cohort(folder / COHORT_FILE)
    raw = info.descriptor_size if postprocessing is None else len(postprocessing.statistics.mean)
    if cohort.descriptors.shape[1] != raw:
        raise SaaneError(
            f"{folder / COHORT_FILE} has descriptors of {cohort.descriptors.shape[1]} values and "
            f"the model of the map gives {raw}: build the map again."
        )
    calibration = read_calibration(folder / CALIBRATION_FILE)
    grids = None
    if GRIDS_FILE in info.files:
        grids = _load_array(folder / GRIDS_FILE)
        if grids.dtype != np.int8 or grids.ndim != 4 or len(grids) != info.count:
            raise SaaneError(f"{folder / GRIDS_FILE} does not fit the map: build the map again.")
        if cohort.projection is None or not cohort.projection.fits(grids.shape[3]):
            raise SaaneError(
                f"{folder / GRIDS_FILE} and {folder / COHORT_FILE} do not belong together: "
                "build the map again."
            )
    return Bearings(graph, cohort, calibration, grids)


def _index(
    folder: Path, info: MapInfo, descriptors: NDArray[np.floating], verified: Verified
) -> tuple[FaissIndex | None, str]:
    """The index, or why it cannot be used: the map is whole without it."""
    if info.index == "flat":
        return None, ""
    if info.index == "hnsw":
        return None, (
            f"Route map {folder} has an index of an older version, which is not read, so all "
            f"places are searched, which takes longer: run `saane map index {folder}` to make it "
            "anew."
        )
    if verified.index_fault:
        return None, (
            f"{verified.index_fault} All places are searched meanwhile, which takes longer; "
            f"`saane map index {folder}` makes only the index anew."
        )
    try:
        return read_index(folder / INDEX_FILE, descriptors), ""
    except SaaneError as error:
        return None, str(error)


def _check_finite(folder: Path, descriptors: NDArray[np.floating], block: int = 1024) -> None:
    for start in range(0, len(descriptors), block):
        bad = np.flatnonzero(~np.isfinite(descriptors[start : start + block]).all(axis=1))
        if bad.size:
            raise SaaneError(
                f"Route map {folder} has a descriptor that is not finite at place "
                f"{start + int(bad[0])}: build the map again."
            )
