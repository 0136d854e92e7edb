"""Route maps made of the places of other route maps."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.files import link_or_copy, replacing_folder, sha256_of, telling_full_disk
from saane_ros.metric.store import Points
from saane_ros.route_map.calibration import Weights
from saane_ros.route_map.cohort import Cohort
from saane_ros.route_map.info import INFO_FILE, info_text
from saane_ros.route_map.place_index import IndexChoice, build_index, wants_index, write_index
from saane_ros.route_map.places_csv import COLUMNS_FILE, PLACES_FILE, write_places
from saane_ros.route_map.postprocessing import NONE, Postprocessing
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.verification import INDEX_FILE
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
        columns=True,
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
    route_map: RouteMap, cohort: Cohort, weights: tuple[Weights, str] | None, rerank: str = ""
) -> RouteMap:
    """Write a map again with a new calibration; one of an older format becomes a present one.

    weights: and their source; the package's where None.  rerank: as it was where empty.
    """
    info, places = route_map.info, route_map.places
    write_map(
        route_map.path,
        replace(
            info,
            index="flat",
            files={},
            calibrated=True,
            columns=True,
            rerank=rerank or info.rerank,
        ),
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


def write_indexed(route_map: RouteMap, choice: IndexChoice | None = None) -> RouteMap:
    """Write a map again with a new index, or without one where it is small; the rest as it is.

    Raises SaaneError for a map of a format that has no calibration.
    """
    route_map.localizable()
    path, info, shape = route_map.path, route_map.info, route_map.descriptors.shape
    with telling_full_disk(path), replacing_folder(path) as folder:
        shutil.copytree(path, folder, copy_function=link_or_copy, dirs_exist_ok=True)
        anew = [INDEX_FILE] if info.columns else [INDEX_FILE, PLACES_FILE, COLUMNS_FILE]
        for name in (INFO_FILE, *anew):
            (folder / name).unlink(missing_ok=True)  # a link: to write to it would change the old
        if not info.columns:
            write_places(folder / PLACES_FILE, route_map.places)
        large = wants_index(shape[0], shape[1])
        if large:
            index = build_index(route_map.descriptors, choice)
            write_index(index, route_map.descriptors, folder / INDEX_FILE)
        files = {name: value for name, value in info.files.items() if name not in anew}
        files |= {name: sha256_of(folder / name) for name in anew if (folder / name).exists()}
        kind = "ivf" if large else "flat"
        text = info_text(replace(info, index=kind, files=files, columns=True))
        (folder / INFO_FILE).write_bytes(text.encode())
    return RouteMap.open(path)


def _thumbnails(places: Sequence[Place]) -> list[Path]:
    """The thumbnails of all places, or none where one lacks its own."""
    found = [place.thumbnail for place in places if place.thumbnail is not None]
    return found if len(found) == len(places) else []
