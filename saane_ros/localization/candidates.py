"""The places that one frame may show: the nearest by descriptor, grouped by neighbourhood."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.localization.evidence import (
    GROUP_M,
    GROUP_STEPS,
    GROUPS,
    SHARPNESS,
    CandidateSignals,
    signals,
)
from saane_ros.route_map.calibration import MapScale
from saane_ros.route_map.feature_grids import GRIDS, SCORES, Compact
from saane_ros.route_map.place_graph import PlaceGraph
from saane_ros.route_map.search import Nearest

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Group:
    """Candidates of one neighbourhood. best: the nearest place, a row of the map.

    spots: ascending (m,).  shares: of the group's probability, sum 1 (m,).
    """

    best: int
    distance: float
    spots: Ints
    shares: Floats


@dataclass(frozen=True, eq=False)
class Found:
    """Groups, the nearest first, and their signals.

    rerank_ms: milliseconds that comparing feature grids took; None where there are none.
    """

    groups: list[Group]
    signals: CandidateSignals
    rerank_ms: float | None = None


class CandidateFinder:
    """Groups the nearest places of a frame and takes their signals.

    grids: compact feature grids of the places, int8 (N, h, w, P), or None.  rerank: what those of
    candidates are compared with the frame's by, one of `SCORES`, so that a place further by
    descriptor may be the likelier one.
    """

    def __init__(
        self,
        graph: PlaceGraph,
        grids: NDArray[np.int8] | None,
        scale: MapScale,
        rerank: str = GRIDS,
    ) -> None:
        self._graph, self._grids, self._scale = graph, grids, scale
        self._score = SCORES[rerank]
        self.reach = GROUP_STEPS
        if graph.step > 0:
            self.reach = max(GROUP_STEPS, GROUP_M / graph.step)

    def find(
        self,
        rows: Ints,
        distances: Floats,
        grid: Compact | None,
        cohort: Floats,
        sample: Floats,
    ) -> Found:
        """Groups of the nearest places.

        rows, distances: of the nearest places, ascending (k,).  grid: of the frame.
        cohort, sample: distances to the cohort and to places spread over the map.
        """
        groups = self._groups(rows, distances)
        agreements = spent = None
        if grid is not None and self._grids is not None:
            start = time.perf_counter()
            agreements = self._score(grid, self._grids[[group.best for group in groups]])
            spent = 1e3 * (time.perf_counter() - start)
        apart = np.array([group.distance for group in groups])
        return Found(groups, signals(apart, agreements, cohort, sample, self._scale), spent)

    def _groups(self, rows: Ints, distances: Floats) -> list[Group]:
        """Non-maximum suppression: the nearest place takes its neighbourhood, and so on."""
        spots, first = np.unique(self._graph.spot[rows], return_index=True)
        order = np.argsort(first, kind="stable")
        spots, first = spots[order].astype(np.int64), first[order]
        source, reached, _ = self._graph.reachable(spots, self.reach, self.reach)
        ascending = np.argsort(spots)
        at = ascending[np.minimum(np.searchsorted(spots[ascending], reached), len(spots) - 1)]
        among = spots[at] == reached
        within = np.zeros((len(spots), len(spots)), np.bool_)
        within[source[among], at[among]] = True
        left = np.ones(len(spots), np.bool_)
        groups: list[Group] = []
        for number in range(len(spots)):
            if not left[number]:
                continue
            near = within[number] & left
            left &= ~near
            groups.append(_group(rows, distances, spots[near], first[near]))
            if len(groups) == GROUPS:
                break
        return groups


def _group(rows: Ints, distances: Floats, spots: Ints, first: Ints) -> Group:
    """A group of spots, each by its nearest place, row `first` of the candidates."""
    apart = np.asarray(distances[first], np.float64)
    best = int(apart.argmin())
    least = max(float(apart[best]), 1e-12)
    shares = (least / np.maximum(apart, least)) ** SHARPNESS
    order = np.argsort(spots)
    return Group(
        int(rows[first[best]]), float(apart[best]), spots[order], (shares / shares.sum())[order]
    )


def representative(graph: PlaceGraph, spot: int, nearest: Nearest) -> int:
    """One place for a spot that may have hundreds: the nearest to the frame, or its first."""
    seen = np.flatnonzero(graph.spot[nearest.places] == spot)
    if len(seen):
        return int(nearest.places[seen[0]])
    return int(graph.places_of(np.array([spot]))[0])
