"""Route maps made of the places of other route maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
) -> RouteMap:
    """Write places in this order, place i with `descriptors[rows[i]]`, and the rest as `template`.

    Places keep their thumbnails where all have one. grids: compact feature grids, in the rows of
    the descriptors. postprocessing: what these went through.
    """
    thumbnails = [place.thumbnail for place in places if place.thumbnail is not None]
    info = replace(
        template.info,
        name=path.name.removesuffix(".routemap"),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        count=len(places),
        descriptor_size=descriptors.shape[1],
        dtype=str(descriptors.dtype),
        postprocessing=NONE if postprocessing is None else postprocessing.kind,
        index="flat",
        files={},
    )
    numbered = [replace(place, id=number) for number, place in enumerate(places)]
    shown = thumbnails if len(thumbnails) == len(places) else []
    cohort = template.localizable().cohort
    write_map(path, info, numbered, descriptors, rows, shown, cohort, grids, postprocessing)
    return RouteMap.open(path)
