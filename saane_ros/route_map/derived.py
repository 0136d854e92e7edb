"""Route maps made of the places of other route maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.metric.store import Points
from saane_ros.route_map.calibration import Weights
from saane_ros.route_map.cohort import Cohort
from saane_ros.route_map.postprocessing import NONE, Postprocessing
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.writing import write_map
from saane_ros.types import Place


def write_derived(
    path: Path,
    template: RouteMap,
    places: Sequence[Place],
    descriptors: NDArray[np.floating],
    rows: Sequence[int],
    grids: NDArray[np.int8] | None,
    postprocessing: Postprocessing | None,
    points: Points | None = None,
) -> RouteMap:
    """Write places in this order, place i with `descriptors[rows[i]]`, and the rest as `template`.

    Places keep their thumbnails where all have one. grids: compact feature grids, in the rows of
    the descriptors. postprocessing: what these went through.  points: in the rows of the
    descriptors too.
    """
    kind = NONE if postprocessing is None else postprocessing.kind
    info = replace(
        template.info,
        name=path.name.removesuffix(".routemap"),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        count=len(places),
        descriptor_size=descriptors.shape[1],
        dtype=str(descriptors.dtype),
        postprocessing=kind,
        chosen=template.info.chosen if kind == template.info.postprocessing else "",
        index="flat",
        files={},
    )
    numbered = [replace(place, id=number) for number, place in enumerate(places)]
    cohort = template.localizable().cohort
    shown = _thumbnails(places)
    seen = None if points is None else points.of_places(rows)
    write_map(
        path, info, numbered, descriptors, rows, shown, cohort, grids, postprocessing, points=seen
    )
    return RouteMap.open(path)


def write_calibrated(
    route_map: RouteMap, cohort: Cohort, weights: tuple[Weights, str] | None
) -> RouteMap:
    """Write a map again with a new calibration; one of an older format becomes a present one.

    weights: and their source; the package's where None.
    """
    places = route_map.places
    write_map(
        route_map.path,
        replace(route_map.info, index="flat", files={}, calibrated=True),
        places,
        route_map.descriptors,
        range(len(places)),
        _thumbnails(places),
        cohort,
        None if route_map.bearings is None else route_map.bearings.grids,
        route_map.postprocessing,
        weights,
        route_map.points,
    )
    return RouteMap.open(route_map.path)


def _thumbnails(places: Sequence[Place]) -> list[Path]:
    """The thumbnails of all places, or none where one lacks its own."""
    found = [place.thumbnail for place in places if place.thumbnail is not None]
    return found if len(found) == len(places) else []
