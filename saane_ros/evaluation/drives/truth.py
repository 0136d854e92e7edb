"""Where the frames of a drive were taken, and which places of a map are right for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.ref_query import read_table
from saane_ros.data.images.folders import image_files
from saane_ros.errors import SaaneError
from saane_ros.localization.sequence import TOLERANCE_M, TOLERANCE_STEPS, tolerance_steps
from saane_ros.route_map.place_graph import PlaceGraph
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame

OFF_FACTOR = 2.0
"""A frame is off the map from so many tolerances on; between one and these it is not judged."""
UNJUDGED = "no truth: only the states of frames, and what is said off the route, are judged"


@dataclass(frozen=True, eq=False)
class Whereabouts:
    """What is known of where a frame was taken.

    rows: of the places that are right, ascending; empty off the map, None where nobody knows.
    place: the row nearest to the truth.  position: metres east and north in the map's frame (2,).
    """

    rows: NDArray[np.int64] | None
    place: int | None = None
    position: NDArray[np.float64] | None = None


UNKNOWN = Whereabouts(None)
OFF_MAP = Whereabouts(np.empty(0, np.int64))


@dataclass(frozen=True, eq=False)
class Truth:
    """rule: when a match is right, in words.  of: where a frame was taken."""

    rule: str
    of: Callable[[Frame], Whereabouts]


def no_truth() -> Truth:
    """Nothing is known of the drive."""
    return Truth(UNJUDGED, lambda _: UNKNOWN)


def by_position(route_map: RouteMap) -> Truth:
    """By the poses of the frames, which are in the map's frame."""
    if not route_map.metric:
        raise SaaneError(
            f"Route map {route_map.path} has no poses, so those of a drive say nothing: give "
            "--truth ground_truth.csv or same-names."
        )
    poses = [place.pose.position[:2] for place in route_map.places if place.pose is not None]
    places = np.array(poses, np.float64)
    step = _graph(route_map).step
    tolerance = tolerance_steps(step) * step if step > 0 else TOLERANCE_M

    def of(frame: Frame) -> Whereabouts:
        if frame.pose is None or not np.isfinite(frame.pose.position[:2]).all():
            return UNKNOWN
        position = np.array(frame.pose.position[:2], np.float64)
        distances = np.linalg.norm(places - position, axis=1)
        nearest = int(distances.argmin())
        rows = np.flatnonzero(distances <= tolerance).astype(np.int64)
        if not len(rows):
            return OFF_MAP if distances[nearest] > OFF_FACTOR * tolerance else UNKNOWN
        return Whereabouts(rows, nearest, position)

    return Truth(
        f"a match is right where its place lies within {tolerance:.1f} m of the true position; a "
        f"frame is off the route beyond {OFF_FACTOR * tolerance:.1f} m of every place, and not "
        "judged between",
        of,
    )


def by_rows(route_map: RouteMap, rows: Mapping[str, Collection[int] | None], words: str) -> Truth:
    """By the rows of the true places of every frame, by its name; one without any is off the map.

    rows: None where the true places did not become places of the map, so that nothing is judged.
    words: where they come from.
    """
    graph = _graph(route_map)
    around = tolerance_steps(graph.step)

    def of(frame: Frame) -> Whereabouts:
        known = rows.get(frame.name, ())
        if known is None:
            return UNKNOWN
        true = sorted(known)
        if not true:
            return OFF_MAP
        spots = [graph.around(int(graph.spot[row]), around) for row in true]
        near = np.unique(graph.places_of(np.unique(np.concatenate(spots))))
        return Whereabouts(near.astype(np.int64), true[len(true) // 2])

    wide = f" ({TOLERANCE_M:g} m)" if around > TOLERANCE_STEPS else ""
    return Truth(
        f"a match is right up to {around:g} places{wide} along the route from a true one, {words}; "
        "a frame without a true place is off the route",
        of,
    )


def by_table(route_map: RouteMap, table: Path, drive: Path) -> Truth:
    """By `ground_truth.csv`, whose indices count the image files of the drive's folder, and those
    of a folder `ref` beside the table where there is one, else the places of the map.
    """
    names = [path.name for path in image_files(drive)]
    beside = table.parent / "ref"
    if beside.is_dir():
        known = _rows_by_name(route_map, lambda name: Path(name).name)
        references = [known.get(path.name, []) for path in image_files(beside)]
    else:
        references = [[row] for row in range(len(route_map.places))]
    found = read_table(table, len(names), len(references))
    rows = {
        names[query]: mapped_rows([references[reference] for reference in correct])
        for query, correct in found.items()
    }
    return by_rows(route_map, rows, f"as {table.name} lists them")


def mapped_rows(references: Collection[Collection[int]]) -> list[int] | None:
    """Rows of true references, of which some did not become places; None where none of them did."""
    rows = [row for reference in references for row in reference]
    return rows if rows or not references else None


def by_same_names(route_map: RouteMap, names: Collection[str]) -> Truth:
    """By names: a frame shows the places that have its name, whatever the suffix."""
    known = _rows_by_name(route_map, lambda name: Path(name).stem)
    rows = {name: known.get(Path(name).stem, []) for name in names}
    if not any(rows.values()):
        raise SaaneError(
            f"No frame of the drive has the name of a place of {route_map.path}: give another "
            "--truth, or leave it out."
        )
    return by_rows(route_map, rows, "those of the frame's name")


def _rows_by_name(route_map: RouteMap, key: Callable[[str], str]) -> dict[str, list[int]]:
    """Merged maps have the name of the drive before that of the image."""
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, place in enumerate(route_map.places):
        rows[key(place.name)].append(row)
    return rows


def _graph(route_map: RouteMap) -> PlaceGraph:
    return route_map.localizable().graph
