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
from saane_ros.route_map.feature_grids import GRIDS, Compact, rerank_of
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
    candidates are compared with the frame's by, one of `RERANKS`, so that a place further by
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
        self._score = rerank_of(rerank).score
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
        spots = self._graph.spot[rows]
        first = np.array(list({spot: at for at, spot in enumerate(spots[::-1].tolist())}.values()))
        first = np.sort(len(rows) - 1 - first)
        spots = spots[first]
        source, reached, _ = self._graph.reachable(spots, self.reach, self.reach)
        ascending = spots.argsort()
        at = spots[ascending].searchsorted(reached)
        at = ascending[np.minimum(at, len(spots) - 1)]
        among = spots[at] == reached
        within = np.zeros((len(spots), len(spots)), np.bool_)
        within[source[among], at[among]] = True
        rows, apart = rows[first], np.asarray(distances[first], np.float64)
        left = np.ones(len(spots), np.bool_)
        groups: list[Group] = []
        while len(groups) < GROUPS and left.any():
            best = int(left.argmax())  # the nearest, as they come in this order
            near = within[best] & left
            left ^= near
            order = ascending[near[ascending]]
            least = max(float(apart[best]), 1e-12)
            shares = (least / np.maximum(apart[order], least)) ** SHARPNESS
            groups.append(
                Group(int(rows[best]), float(apart[best]), spots[order], shares / shares.sum())
            )
        return groups


def representatives(graph: PlaceGraph, spots: Ints, nearest: Nearest) -> list[int]:
    """One place for each spot, which may have hundreds: the nearest to the frame, or its first."""
    far_first = nearest.places[::-1]
    seen = dict(zip(graph.spot[far_first].tolist(), far_first.tolist(), strict=True))
    return [seen[s] if s in seen else int(graph.places_of([s])[0]) for s in spots.tolist()]
