"""The yardsticks of a map, measured on its own places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saane_ros.route_map.calibration import MapScale
from saane_ros.route_map.feature_grids import GRIDS, Score, rerank_of
from saane_ros.route_map.place_graph import PlaceGraph, descriptor_step
from saane_ros.route_map.search import exact_distances

ASIDE_STEPS = 10.0
"""Places this far along the graph show nothing of each other."""
PLACES, OTHERS, PAIRS = 512, 4096, 64
"""Places looked at, places they are compared with, and pairs whose grids are: a large map is
measured on an even sample of it."""
_LEAST = 1e-6


def map_scale(
    descriptors: NDArray[np.floating],
    grids: NDArray[np.int8] | None,
    graph: PlaceGraph,
    cohort: NDArray[np.float32],
    drives: Sequence[NDArray[np.int64]] | None = None,
    rerank: str = GRIDS,
) -> MapScale:
    """Measure a map of descriptors (N, D) and compact grids (N, h, w, P).

    cohort: the cohort's descriptors, processed as those of the map; it stands in for other places
    in a map that has none.  drives: rows of each in its order; None where the rows are one drive.
    rerank: what grids are compared by, one of `RERANKS`.
    """
    rows = _spread(len(descriptors), PLACES)
    others = _spread(len(descriptors), OTHERS)
    table = np.ascontiguousarray(descriptors[others], np.float32)
    pairs, nearest = [], []
    for row in rows:
        distances = exact_distances(np.ascontiguousarray(descriptors[row], np.float32), table)
        near = graph.around(int(graph.spot[row]), ASIDE_STEPS)
        distances[np.isin(graph.spot[others], near)] = np.inf
        best = int(distances.argmin())
        if np.isfinite(distances[best]):
            pairs.append((int(row), int(others[best])))
            nearest.append(float(distances[best]))
    if not nearest:
        chosen = np.ascontiguousarray(descriptors[rows], np.float32)
        nearest = [float(exact_distances(one, cohort).min()) for one in chosen]
    impostor = max(float(np.median(nearest)), _LEAST)
    step = descriptor_step(descriptors, drives, graph.spot) or impostor / 2
    return MapScale(impostor, _agreement(grids, pairs, rerank_of(rerank).score), step)


def _agreement(grids: NDArray[np.int8] | None, pairs: list[tuple[int, int]], score: Score) -> float:
    if grids is None or not pairs:
        return 0.0
    some = [pairs[i] for i in _spread(len(pairs), PAIRS)]
    return float(np.median([score(grids[a], grids[b][None])[0] for a, b in some]))


def _spread(count: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
