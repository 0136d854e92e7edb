"""A build as it stood at one moment, to be written while building goes on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.route_map.cohort import Cohort
from saane_ros.route_map.info import MapInfo
from saane_ros.route_map.merge import merge_maps
from saane_ros.route_map.postprocessing import NONE, fit
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.writing import write_map
from saane_ros.types import Place


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What `write_map` needs, in files and arrays that are only ever appended to.

    path: of the map.  descriptors, grids: rows of the journal; place i has those of `rows[i]` and
    the thumbnail i.  base: folder of the map that the places are merged with, None where they are a
    map of their own.
    """

    path: Path
    info: MapInfo
    places: Sequence[Place]
    descriptors: NDArray[np.float32]
    grids: NDArray[np.int8] | None
    rows: Sequence[int]
    thumbnails: Sequence[Path]
    cohort: Cohort
    base: Path | None = None

    def write(self) -> RouteMap:
        """Write the map and open it."""
        if self.base is None:
            return self._write(self.path)
        drive = self.base.with_name("drive")
        try:
            return merge_maps([RouteMap.open(self.base), self._write(drive)], self.path)
        finally:
            shutil.rmtree(drive, ignore_errors=True)

    def _write(self, path: Path) -> RouteMap:
        """Write the places as a map of their own."""
        descriptors, grids, rows = self.descriptors, self.grids, self.rows
        if self.info.postprocessing != NONE:
            descriptors = descriptors[rows]
            grids = None if grids is None else grids[rows]
            rows = range(len(rows))
        postprocessing = fit(self.info.postprocessing, descriptors)
        if postprocessing is not None:
            descriptors = postprocessing.apply(descriptors)
        write_map(
            path,
            replace(self.info, descriptor_size=descriptors.shape[1]),
            self.places,
            descriptors,
            rows,
            self.thumbnails,
            self.cohort,
            grids,
            postprocessing,
        )
        return RouteMap.open(path)
