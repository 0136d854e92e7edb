"""How well and how fast a map is searched, measured on the map itself against exact search."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import faiss
import numpy as np
from numpy.typing import NDArray

from saane_ros.route_map.place_index import FaissIndex, IndexChoice, build_index
from saane_ros.route_map.search import MapSearch, exact_distances
from saane_ros.route_map.store import RouteMap

NEAREST = 64
"""Places that a localizer takes, whose recall is told."""
QUERIES = 100
ON_THE_WAY = 0.3
"""Of the way to the next place, where queries lie: none is a place, and none is undecided."""
CHOICES = tuple(IndexChoice(v, p) for v in (128, 256, 512) for p in (4, 8, 16, 32, 64))
_BLOCK = 1 << 25
"""Values compared at once."""


@dataclass(frozen=True)
class Trial:
    """recall_1: share of queries whose nearest place is the first found.  recall_nearest: share
    found of the `NEAREST` nearest.  milliseconds: of a query, the median.  megabytes: in memory.
    """

    name: str
    recall_1: float
    recall_nearest: float
    milliseconds: float
    megabytes: float

    def text(self) -> str:
        """As a row of a table."""
        return (
            f"{self.name:<26} {self.recall_1:9.3f} {self.recall_nearest:13.3f} "
            f"{self.milliseconds:8.2f} {self.megabytes:9.1f}"
        )


HEAD = f"{'search':<26} {'recall@1':>9} {f'of {NEAREST} nearest':>13} {'ms':>8} {'MB':>9}"


def try_index(route_map: RouteMap, choices: tuple[IndexChoice, ...] = CHOICES) -> Iterator[Trial]:
    """Exact search and then each choice; the map stays as it is."""
    queries = map_queries(route_map.descriptors)
    exact = exact_nearest(route_map.descriptors, queries, NEAREST)
    rows = np.ascontiguousarray(route_map.descriptors, np.float32)
    times = [_timed(partial(exact_distances, one, rows)) for one in queries[:10]]
    yield Trial("exact", 1.0, 1.0, float(np.median(times)), rows.nbytes / 1e6)
    built: dict[int, FaissIndex] = {}
    for choice in choices:
        values = choice.values or 0
        if values > route_map.descriptors.shape[1]:
            continue
        if values not in built:
            built[values] = build_index(route_map.descriptors, choice)
        index = built[values].probing(choice.probed)
        yield _trial(route_map, index, queries, exact)


def try_own(route_map: RouteMap) -> Trial | None:
    """The map's own index; None in a map that has none."""
    if route_map.index is None:
        return None
    queries = map_queries(route_map.descriptors)
    exact = exact_nearest(route_map.descriptors, queries, NEAREST)
    return _trial(route_map, route_map.index, queries, exact)


def map_queries(descriptors: NDArray[np.floating], count: int = QUERIES) -> NDArray[np.float32]:
    """Descriptors (n, D) between places and their next, evenly spread over the map."""
    rows = np.unique(np.linspace(0, len(descriptors) - 2, count).round().astype(np.int64))
    here, there = (np.asarray(descriptors[rows + i], np.float32) for i in (0, 1))
    return np.ascontiguousarray(here + np.float32(ON_THE_WAY) * (there - here))


def exact_nearest(
    descriptors: NDArray[np.floating], queries: NDArray[np.float32], k: int
) -> NDArray[np.int64]:
    """The k nearest rows of each query (n, k), by comparing all of them."""
    heap = faiss.ResultHeap(nq=len(queries), k=k)
    block = max(1, _BLOCK // descriptors.shape[1])
    for start in range(0, len(descriptors), block):
        rows = np.ascontiguousarray(descriptors[start : start + block], np.float32)
        distances, found = faiss.knn(queries, rows, min(k, len(rows)))
        heap.add_result(distances, found + start)
    heap.finalize()
    return np.asarray(heap.I, np.int64)


def _trial(
    route_map: RouteMap,
    index: FaissIndex,
    queries: NDArray[np.float32],
    exact: NDArray[np.int64],
) -> Trial:
    search = MapSearch(route_map, index)
    found = [search.nearest(query, NEAREST).places for query in queries]
    times = [_timed(partial(search.nearest, one, NEAREST)) for one in queries]
    first = [int(a[0]) == int(b[0]) for a, b in zip(found, exact, strict=True)]
    shared = [len(np.intersect1d(a, b)) / NEAREST for a, b in zip(found, exact, strict=True)]
    return Trial(
        f"{index.values} values, {index.probed} of {index.lists} lists",
        float(np.mean(first)),
        float(np.mean(shared)),
        float(np.median(times)),
        index.bytes / 1e6,
    )


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)
