"""The places of a map as a graph of spots: what a robot can drive from where.

A spot is a piece of road in one direction; places of other traverses, laps and stops at the same
piece are the same spot, so that merged conditions, loops and branches are one model. Edges lead
from spot to spot along the drives. Nothing here has an array as long as the map per frame.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.route_map.alignment import courses_of
from saane_ros.route_map.arrays import read_arrays, unique, write_arrays
from saane_ros.route_map.roads import Roads, roads_of
from saane_ros.types import Place

GRAPH_FILE = "graph.npz"

LANE_M = 6.0
"""Metres to the side within which two drives are on one road: two lanes and an error of GPS."""
SAME_COURSE = np.cos(np.radians(45.0))
GAP_STEPS = 10.0
GAP_M = 30.0
"""A drive that jumps by more than both of these was interrupted: no edge."""
SAME_VIEW = 0.5
"""Of the map's step between descriptors: places nearer than this show one view, see
`localization/track.py`."""
STEPS = 4096
STANDING_M = 0.05
AROUND = 5
"""Places before and after a step, over which a drive gets ahead or stands."""
SHORTEST = 0.5
"""Steps from a spot to the next at least, as where a robot turns round on the spot."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlaceGraph:
    """spot: of every place (N,).  edges: (E, 2), from spot to spot as driven.

    lengths: of the edges (E,), in steps.  step: metres between neighbouring places, the median; 0
    where the map has no poses and a step is one place.
    """

    spot: Ints
    edges: Ints
    lengths: Floats
    step: float

    @cached_property
    def count(self) -> int:
        """Number of spots."""
        return int(self.spot.max()) + 1

    @cached_property
    def _roads(self) -> Roads:
        return roads_of(self.count, self.edges[:, 0], self.edges[:, 1], self.lengths)

    def prepare(self) -> None:
        """Lay out roads and places now, which a large map's first frame would else wait for."""
        _ = self._roads, self._order

    def reachable(self, spots: Ints, ahead: float, behind: float) -> tuple[Ints, Ints, Floats]:
        """What lies within so many steps ahead of and behind each of `spots`, by the shortest way.

        Three arrays alike: row of `spots`, spot reached, and signed steps to it; every spot
        reaches itself with 0. What lies ahead and behind, as on a loop, is there with both.
        """
        return self._roads.within(np.asarray(spots, np.int64), ahead, behind)

    def around(self, spot: int, steps: float) -> Ints:
        """The spots within so many steps of one, itself included, in ascending order."""
        stretch = self._roads.stretch(spot, steps)
        if stretch is not None:
            return np.sort(stretch)
        return unique(self.reachable(np.array([spot]), steps, steps)[1])

    @cached_property
    def _order(self) -> tuple[Ints, Ints]:
        """Places sorted by spot, and where those of each spot begin."""
        order = np.argsort(self.spot, kind="stable")
        return order, np.searchsorted(self.spot[order], np.arange(self.count + 1))

    def places_of(self, spots: Iterable[int]) -> Ints:
        """The places of these spots."""
        order, begin = self._order
        return np.concatenate([order[begin[s] : begin[s + 1]] for s in spots])


def line_graph(descriptors: NDArray[np.floating]) -> PlaceGraph:
    """Places without poses, by their descriptors (N, D): each is a spot, one step from the next.

    While the camera stood, places show the same: they are one spot.
    """
    least = SAME_VIEW * descriptor_step(descriptors)
    spot = np.zeros(len(descriptors), np.int64)
    shown = descriptors[0].astype(np.float32)
    for row in range(1, len(descriptors)):
        view = descriptors[row].astype(np.float32)
        moved = float(np.linalg.norm(view - shown)) >= least
        spot[row] = spot[row - 1] + moved
        if moved:
            shown = view
    spots = np.arange(spot[-1] + 1)
    edges = np.stack((spots[:-1], spots[1:]), axis=1)
    return PlaceGraph(spot, edges, np.ones(len(edges)), 0.0)


def descriptor_step(
    descriptors: NDArray[np.floating],
    drives: Sequence[Ints] | None = None,
    spot: Ints | None = None,
) -> float:
    """Median distance of descriptors that differ and follow each other in a drive, 0 without any.

    drives: rows of each in its order, by default one of all; neighbouring rows of a merged map may
    be one place by day and by night.  spot: of every place, where it is known: a camera that stood
    took pairs that differ by noise alone, and maybe more of them than of all others. Pairs are
    spread, so that a large map costs no more.
    """
    rows = [np.arange(len(descriptors))] if drives is None else drives
    pairs = np.concatenate([np.stack((drive[:-1], drive[1:]), axis=1) for drive in rows])
    if spot is not None:
        pairs = pairs[spot[pairs[:, 0]] != spot[pairs[:, 1]]]
    some = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), STEPS)).round().astype(int))
    steps = [
        float(np.linalg.norm(descriptors[b].astype(np.float32) - descriptors[a]))
        for a, b in pairs[some]
    ]
    moved = [step for step in steps if step > 0]
    return float(np.median(moved)) if moved else 0.0


def build_graph(positions: Floats, drives: Sequence[Ints]) -> PlaceGraph:
    """The graph of places at positions (N, 2), metres; each drive has its places in their order."""
    step = _median_step(positions, drives)
    if step <= 0:
        # All places are one spot, or each drive is a single place.
        step = 1.0
    spotter = _Spotter(positions, step)
    spot = np.full(len(positions), -1, np.int64)
    edges: dict[tuple[int, int], float] = {}
    gap = max(GAP_STEPS * step, GAP_M)
    for drive in drives:
        spot[drive] = spotter.take(drive)
        for a, b in itertools.pairwise(drive):
            pair = (int(spot[a]), int(spot[b]))
            driven = float(np.linalg.norm(positions[b] - positions[a]))
            if spot[a] == spot[b] or driven > gap or pair in edges:
                continue
            # Not as far as from the last place of one to the first of the other, which is next to
            # nothing where a drive was slow.
            metres = spotter.apart(*pair)
            edges[pair] = max(metres / step, SHORTEST)
    pairs = np.array(list(edges), np.int64).reshape(-1, 2)
    return PlaceGraph(spot, pairs, np.array(list(edges.values()), np.float64), step)


def _median_step(positions: Floats, drives: Sequence[Ints]) -> float:
    moved = np.concatenate([_driven_steps(positions[drive]) for drive in drives])
    return float(np.median(moved)) if len(moved) else 0.0


def _driven_steps(points: Floats) -> Floats:
    """Metres between the places of one drive, where it got ahead.

    Where it stood, positions only jitter, and there may be more of these than of all others.
    """
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    way = np.concatenate(([0.0], np.cumsum(steps)))
    index = np.arange(len(steps))
    first, last = np.maximum(index - AROUND, 0), np.minimum(index + 1 + AROUND, len(steps))
    ahead = np.linalg.norm(points[last] - points[first], axis=1)
    return steps[(steps > STANDING_M) & (ahead >= 0.5 * (way[last] - way[first]))]


class _Spotter:
    """Gives places to spots: to one that is there already, or to a new one."""

    def __init__(self, positions: Floats, step: float) -> None:
        self._positions = positions
        self._along = 0.5 * step
        self._cell = float(np.hypot(LANE_M, self._along))
        self._first: list[int] = []
        self._courses: list[Floats] = []
        self._cells: defaultdict[tuple[int, int], list[int]] = defaultdict(list)

    def take(self, drive: Ints) -> list[int]:
        """The spot of every place of one drive, in its order."""
        points = self._positions[drive]
        courses = courses_of(points) if len(points) > 1 else np.array([[1.0, 0.0]])
        spots = []
        for place, point, course in zip(drive, points, courses, strict=True):
            found = self._find(point, course)
            if found is None:
                found = len(self._first)
                self._first.append(int(place))
                self._courses.append(course)
                self._cells[self._key(point)].append(found)
            spots.append(found)
        return spots

    def apart(self, one: int, other: int) -> float:
        """Metres between two spots."""
        first, second = self._positions[self._first[one]], self._positions[self._first[other]]
        return float(np.linalg.norm(second - first))

    def _key(self, point: Floats) -> tuple[int, int]:
        return int(np.floor(point[0] / self._cell)), int(np.floor(point[1] / self._cell))

    def _find(self, point: Floats, course: Floats) -> int | None:
        x, y = self._key(point)
        best, nearest = None, np.inf
        for i in (x - 1, x, x + 1):
            for j in (y - 1, y, y + 1):
                for spot in self._cells.get((i, j), ()):
                    apart = point - self._positions[self._first[spot]]
                    heading = self._courses[spot]
                    along = abs(float(apart @ heading))
                    aside = abs(float(apart[0] * heading[1] - apart[1] * heading[0]))
                    if along > self._along or aside > LANE_M or along >= nearest:
                        continue
                    if float(course @ heading) >= SAME_COURSE:
                        best, nearest = spot, along
        return best


def graph_of(places: Sequence[Place], descriptors: NDArray[np.floating]) -> PlaceGraph:
    """The graph of a map's places; a line in their order where one of them has no pose."""
    positions = [place.pose.position[:2] for place in places if place.pose is not None]
    if len(positions) < len(places):
        return line_graph(descriptors)
    return build_graph(np.array(positions, np.float64), drives_of(places))


def drives_of(places: Sequence[Place]) -> list[Ints]:
    """The rows of each drive of a map in the order of driving."""
    drives: defaultdict[str, list[int]] = defaultdict(list)
    merged = any(place.along is not None for place in places)
    for row, place in enumerate(places):
        # A place of a merged map has the name of its drive before its own.
        drives[place.name.split("/")[0] if merged else ""].append(row)
    return [_as_driven(places, rows) for rows in drives.values()]


def _as_driven(places: Sequence[Place], rows: list[int]) -> Ints:
    """The rows of one drive in the order of their stamps, as they lie where stamps repeat."""
    stamps = np.array([places[row].stamp_ns for row in rows])
    order = np.argsort(stamps, kind="stable")
    if (np.diff(stamps[order]) <= 0).any():
        return np.array(rows, np.int64)
    return np.array(rows, np.int64)[order]


def write_graph_file(path: Path, graph: PlaceGraph) -> None:
    """Write `graph.npz`: spot, edges, lengths and step."""
    arrays = {
        "spot": graph.spot.astype(np.int32),
        "edges": graph.edges.astype(np.int32),
        "lengths": graph.lengths.astype(np.float32),
        "step": np.array(graph.step),
    }
    write_arrays(path, arrays)


def read_graph_file(path: Path, count: int) -> PlaceGraph:
    """Read and check the graph of a map of `count` places; SaaneError where it does not fit."""
    arrays = read_arrays(path)
    try:
        spot, edges = arrays["spot"], arrays["edges"]
        lengths, step = arrays["lengths"], float(arrays["step"])
        whole = spot.dtype.kind == edges.dtype.kind == "i" and spot.shape == (count,)
        fits = (
            whole and edges.ndim == 2 and edges.shape[1] == 2 and lengths.shape == edges.shape[:1]
        )
        fits = fits and int(spot.min()) >= 0 and int(spot.max()) < count
        spots = int(spot.max()) + 1 if fits else 0
        fits = fits and bool(np.bincount(spot, minlength=spots).all())
        fits = fits and (not edges.size or 0 <= edges.min() <= edges.max() < spots)
        fits = fits and np.isfinite(lengths).all() and (lengths > 0).all() and 0 <= step < np.inf
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error
    if not fits:
        raise _damaged(path)
    return PlaceGraph(
        spot.astype(np.int64), edges.astype(np.int64), lengths.astype(np.float64), step
    )


def _damaged(path: Path) -> SaaneError:
    return SaaneError(f"{path} is no graph of this map's places: build the map again.")
