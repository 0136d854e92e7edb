"""A part of a route map."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from saane_ros.errors import SaaneError
from saane_ros.route_map.derived import write_derived
from saane_ros.route_map.store import RouteMap


def crop_map(
    route_map: RouteMap,
    path: Path,
    places: tuple[int, int] | None = None,
    metres: tuple[float, float] | None = None,
) -> RouteMap:
    """Write the places from the first to before the last id, or between two distances (m).

    Distances are those along the route from its first place, both ends included. Post-processed
    descriptors stay as they are, with the statistics of the whole drive: more places tell them
    better. Raises SaaneError where nothing remains, and for metres where the map has no poses.
    """
    if metres is not None:
        if not route_map.metric:
            raise SaaneError(
                f"Route map {route_map.path} has no poses and so no metres: crop it by places."
            )
        along = route_map.arc_length - route_map.arc_length[0]
        kept = np.flatnonzero((along >= metres[0] - 1e-9) & (along <= metres[1] + 1e-9)).tolist()
        asked = f"{metres[0]:g} to {metres[1]:g} m of {along[-1]:.1f} m"
    else:
        first, last = places or (0, len(route_map.places))
        kept = list(range(max(0, first), min(last, len(route_map.places))))
        asked = f"places {first} to {last} of {len(route_map.places)}"
    if not kept:
        raise SaaneError(f"Of {route_map.path} nothing lies within {asked}: give other ends.")
    chosen = [route_map.places[row] for row in kept]
    grids = route_map.localizable().grids
    return write_derived(
        path,
        route_map,
        chosen,
        route_map.descriptors,
        kept,
        grids,
        route_map.postprocessing,
        route_map.points,
    )
