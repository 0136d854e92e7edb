"""A build as it stood at one moment, to be written while building goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.metric.store import Points
from saane_ros.route_map.cohort import Cohort
from saane_ros.route_map.info import MapInfo
from saane_ros.route_map.merge import merge_maps
from saane_ros.route_map.postprocessing import AUTO, NONE, chosen, fit
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.writing import write_map
from saane_ros.types import Place, Pose


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What `write_map` needs, in files and arrays that are only ever appended to.

    path: of the map.  info: with "auto" for a post-processing that the places are to choose, or the
    map that they are merged with.  descriptors, grids: rows of the journal; place i has those of
    `rows[i]` and the thumbnail i.  base: folder of the map that the places are merged with, None
    where they are a map of their own.  points: triangulates
    those of the places, None for a map without; with the poses that the places then have.
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
    points: Callable[[], tuple[Points | None, Sequence[Pose | None]]] | None = None

    def write(self) -> RouteMap:
        """Write the map and open it."""
        if self.base is None:
            return self._write(self.path, self._chosen())
        drive, base = self.base.with_name("drive"), RouteMap.open(self.base)
        info = replace(self.info, postprocessing=base.info.postprocessing)
        try:
            return merge_maps([base, self._write(drive, info)], self.path)
        finally:
            shutil.rmtree(drive, ignore_errors=True)

    def _chosen(self) -> MapInfo:
        """The head of the map, with the post-processing that its places choose."""
        if self.info.postprocessing != AUTO:
            return self.info
        kind, why = chosen(self.descriptors, self.rows, self.cohort.descriptors)
        return replace(self.info, postprocessing=kind, chosen=why)

    def _write(self, path: Path, info: MapInfo) -> RouteMap:
        """Write the places as a map of their own."""
        descriptors, grids, rows = self.descriptors, self.grids, self.rows
        if info.postprocessing != NONE:
            descriptors = descriptors[rows]
            grids = None if grids is None else grids[rows]
            rows = range(len(rows))
        postprocessing = fit(info.postprocessing, descriptors)
        if postprocessing is not None:
            descriptors = postprocessing.apply(descriptors)
        points, places = None, self.places
        if self.points is not None:
            points, poses = self.points()
            places = [replace(p, pose=pose) for p, pose in zip(places, poses, strict=True)]
        write_map(
            path,
            replace(info, descriptor_size=descriptors.shape[1]),
            places,
            descriptors,
            rows,
            self.thumbnails,
            self.cohort,
            grids,
            postprocessing,
            None,
            points,
        )
        return RouteMap.open(path)
