"""The places of a map as a graph of spots: what a robot can drive from where.

A spot is a piece of road in one direction; places of other traverses, laps and stops at the same
piece are the same spot, so that merged conditions, loops and branches are one model. Edges lead
from spot to spot along the drives. Nothing here has an array as long as the map per frame.
"""

from __future__ import annotations

import itertools
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.route_map.alignment import courses_of
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
BRANCHES = 4
"""Ways on from one spot, at most."""

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
    def _ways(self) -> tuple[tuple[Ints, Floats], tuple[Ints, Floats]]:
        """Forward and backward: next spots (S, B) and lengths of the ways there, -1 for none."""
        return (
            _padded(self.count, self.edges[:, 0], self.edges[:, 1], self.lengths),
            _padded(self.count, self.edges[:, 1], self.edges[:, 0], self.lengths),
        )

    def reachable(self, spots: Ints, ahead: float, behind: float) -> tuple[Ints, Ints, Floats]:
        """What lies within so many steps ahead of and behind each of `spots`.

        Three arrays alike: row of `spots`, spot reached, and signed steps to it; every spot
        reaches itself with 0.
        """
        rows = [np.arange(len(spots))]
        reached = [np.asarray(spots, np.int64)]
        steps = [np.zeros(len(spots))]
        for way, limit, sign in ((self._ways[0], ahead, 1.0), (self._ways[1], behind, -1.0)):
            row, at, gone = rows[0], reached[0], steps[0]
            for _ in range(int(np.ceil(2 * limit)) + 1):
                row, at, gone = _onwards(way, row, at, gone, limit)
                if not len(row):
                    break
                rows.append(row)
                reached.append(at)
                steps.append(sign * gone)
        return np.concatenate(rows), np.concatenate(reached), np.concatenate(steps)

    def around(self, spot: int, steps: float) -> Ints:
        """The spots within so many steps of one, itself included, in ascending order."""
        return np.unique(self.reachable(np.array([spot]), steps, steps)[1])

    @cached_property
    def _order(self) -> tuple[Ints, Ints]:
        """Places sorted by spot, and where those of each spot begin."""
        order = np.argsort(self.spot, kind="stable")
        return order, np.searchsorted(self.spot[order], np.arange(self.count + 1))

    def places_of(self, spots: Ints) -> Ints:
        """The places of these spots."""
        order, begin = self._order
        return np.concatenate([order[begin[s] : begin[s + 1]] for s in spots])


def _padded(count: int, start: Ints, end: Ints, lengths: Floats) -> tuple[Ints, Floats]:
    order = np.lexsort((lengths, start))
    start, end, lengths = start[order], end[order], lengths[order]
    rank = np.arange(len(start)) - np.searchsorted(start, start)
    width = min(BRANCHES, int(rank.max()) + 1) if len(rank) else 1
    ways = np.full((count, width), -1, np.int64)
    far = np.zeros((count, width))
    kept = rank < width
    ways[start[kept], rank[kept]] = end[kept]
    far[start[kept], rank[kept]] = lengths[kept]
    return ways, far


def _onwards(
    way: tuple[Ints, Floats], row: Ints, at: Ints, gone: Floats, limit: float
) -> tuple[Ints, Ints, Floats]:
    """One edge further."""
    ways, far = way
    after = ways[at]
    total = gone[:, None] + far[at]
    kept = (after >= 0) & (total <= limit)
    return np.broadcast_to(row[:, None], kept.shape)[kept], after[kept], total[kept]


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


def descriptor_step(descriptors: NDArray[np.floating]) -> float:
    """Median distance of successive descriptors (N, D) that differ, 0 where none do.

    Pairs are spread over the map, so that a large one costs no more.
    """
    begins = np.unique(np.linspace(0, len(descriptors) - 2, STEPS).round().astype(np.int64))
    pairs = (descriptors[i : i + 2].astype(np.float32) for i in begins if i >= 0)
    steps = [float(np.linalg.norm(after - before)) for before, after in pairs]
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
            metres = float(np.linalg.norm(positions[b] - positions[a]))
            if spot[a] != spot[b] and metres <= gap:
                edges.setdefault((int(spot[a]), int(spot[b])), metres / step)
    pairs = np.array(list(edges), np.int64).reshape(-1, 2)
    return PlaceGraph(spot, pairs, np.array(list(edges.values()), np.float64), step)


def _median_step(positions: Floats, drives: Sequence[Ints]) -> float:
    steps = [np.linalg.norm(np.diff(positions[drive], axis=0), axis=1) for drive in drives]
    moved = np.concatenate(steps) if steps else np.empty(0)
    moved = moved[moved > 0.05]
    return float(np.median(moved)) if len(moved) else 0.0


class _Spotter:
    """Gives places to spots: to one that is there already, or to a new one."""

    def __init__(self, positions: Floats, step: float) -> None:
        self._positions = positions
        self._along = 0.5 * step
        self._cell = max(LANE_M, step)
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
    drives: defaultdict[str, list[int]] = defaultdict(list)
    merged = any(place.along is not None for place in places)
    for row, place in enumerate(places):
        # A place of a merged map has the name of its drive before its own.
        drives[place.name.split("/")[0] if merged else ""].append(row)
    ordered = [_as_driven(places, rows) for rows in drives.values()]
    return build_graph(np.array(positions, np.float64), ordered)


def _as_driven(places: Sequence[Place], rows: list[int]) -> Ints:
    """The rows of one drive in the order of their stamps, as they lie where stamps repeat."""
    stamps = np.array([places[row].stamp_ns for row in rows])
    order = np.argsort(stamps, kind="stable")
    if (np.diff(stamps[order]) <= 0).any():
        return np.array(rows, np.int64)
    return np.array(rows, np.int64)[order]


def write_graph_file(path: Path, graph: PlaceGraph) -> None:
    """Write `graph.npz`: spot, edges, lengths and step."""
    np.savez(
        path,
        allow_pickle=False,
        spot=graph.spot.astype(np.int32),
        edges=graph.edges.astype(np.int32),
        lengths=graph.lengths.astype(np.float32),
        step=np.array(graph.step),
    )


def read_graph_file(path: Path, count: int) -> PlaceGraph:
    """Read and check the graph of a map of `count` places; SaaneError where it does not fit."""
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = dict(content)
        spot, edges = arrays["spot"], arrays["edges"]
        lengths, step = arrays["lengths"], float(arrays["step"])
        whole = spot.dtype.kind == edges.dtype.kind == "i" and spot.shape == (count,)
        fits = (
            whole and edges.ndim == 2 and edges.shape[1] == 2 and lengths.shape == edges.shape[:1]
        )
        spots = np.unique(spot)
        fits = fits and bool((spots == np.arange(len(spots))).all())
        fits = fits and (not edges.size or 0 <= edges.min() <= edges.max() < len(spots))
        fits = fits and np.isfinite(lengths).all() and (lengths > 0).all() and 0 <= step < np.inf
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise _damaged(path) from error
    if not fits:
        raise _damaged(path)
    return PlaceGraph(
        spot.astype(np.int64), edges.astype(np.int64), lengths.astype(np.float64), step
    )


def _damaged(path: Path) -> SaaneError:
    return SaaneError(f"{path} is no graph of this map's places: build the map again.")
