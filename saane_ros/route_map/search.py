"""Nearest places of a descriptor, by faiss, with exact Euclidean distances.

Distances are sums of squared differences, never |a|^2 + |b|^2 - 2ab, which loses all digits
where a query is almost the map's own image.
"""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.route_map.store import INDEX_FILE, RouteMap
from saane_ros.types import Candidates

HNSW_FROM = 20_000
"""Places from which on a map gets a graph index: a flat search would pass 25 ms on one core."""
HNSW_LINKS = 32
HNSW_CONSTRUCTION = 100
HNSW_FOUND = 256
"""Nearest places taken from the graph; the rest of the map is interpolated from `HNSW_SAMPLE`."""
HNSW_SAMPLE = 1024


class MapSearch:
    """Distances of a query to a whole map, and the best of them."""

    def __init__(self, route_map: RouteMap) -> None:
        self._count, self._size = route_map.descriptors.shape
        if route_map.info.index == "flat":
            # float32 stays memory-mapped; float16 is widened once.
            self._rows = np.ascontiguousarray(route_map.descriptors, dtype=np.float32)
            self._graph = None
        else:
            self._graph = _read_graph(route_map.path / INDEX_FILE, self._count, self._size)
            self._graph.hnsw.efSearch = HNSW_FOUND
            spread = np.linspace(0, self._count - 1, min(HNSW_SAMPLE, self._count))
            self._sample = np.unique(spread.round().astype(np.int64))
            self._rows = np.ascontiguousarray(route_map.descriptors[self._sample], np.float32)

    def distances(self, descriptor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Euclidean distance to every place, float32 (N,).

        With a graph index the nearest `HNSW_FOUND` and an even sample are exact, and the places
        between are interpolated along the route.
        """
        query = checked_descriptor(descriptor, self._size)
        exact = exact_distances(query, self._rows)
        if self._graph is None:
            return exact
        everywhere = np.interp(np.arange(self._count), self._sample, exact).astype(np.float32)
        squared, found = self._graph.search(query[None], min(HNSW_FOUND, self._count))
        hit = found[0] >= 0
        nearest = np.sqrt(squared[0][hit])
        # What the graph did not find is no nearer than what it found.
        np.maximum(everywhere, nearest.max(), out=everywhere)
        everywhere[self._sample] = exact
        everywhere[found[0][hit]] = nearest
        return everywhere

    def search(self, descriptor: NDArray[np.float32], k: int, window: int = 0) -> Candidates:
        """The k nearest places and the ratio with the second best outside `window` places."""
        return candidates_from(self.distances(descriptor), k, window)


def checked_descriptor(descriptor: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """A contiguous float32 (size,); SaaneError where it has another shape or is not finite."""
    if descriptor.shape != (size,):
        raise SaaneError(
            f"The descriptor has shape {descriptor.shape} and the map holds ({size},): "
            "use the model that the map was built with."
        )
    if not np.isfinite(descriptor).all():
        raise SaaneError(
            "The descriptor has values that are not finite: check the model's precision."
        )
    return np.ascontiguousarray(descriptor, dtype=np.float32)


def exact_distances(query: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Euclidean distances (N,) of one descriptor (D,) to contiguous float32 rows (N, D)."""
    distances = np.empty(len(rows), dtype=np.float32)
    faiss.fvec_L2sqr_ny(  # type: ignore[attr-defined]
        faiss.swig_ptr(distances),
        faiss.swig_ptr(query),
        faiss.swig_ptr(rows),
        rows.shape[1],
        len(rows),
    )
    return np.sqrt(distances, out=distances)


def candidates_from(distances: NDArray[np.float32], k: int, window: int = 0) -> Candidates:
    """The k nearest of N places, ties in route order, and the ratio of Section 2.1's two kinds.

    ratio: d2 / d1 with d2 the smallest distance of a place other than the best (window 0) or of
    one more than `window` places away from it; infinite where d1 is 0 and d2 is not, and 1 (no
    evidence) where both are 0 or no place is left for d2.
    """
    order = np.argsort(distances, kind="stable")[:k].astype(np.int64)
    best = int(order[0])
    rest = np.concatenate((distances[: max(0, best - window)], distances[best + window + 1 :]))
    return Candidates(order, distances[order], _ratio(float(distances[best]), rest))


def _ratio(first: float, rest: NDArray[np.float32]) -> float:
    if rest.size == 0:
        return 1.0
    second = float(rest.min())
    if first == 0.0:
        return 1.0 if second == 0.0 else float("inf")
    return second / first


def write_graph(descriptors: NDArray[np.floating], path: Path) -> None:
    """Build the graph index of a large map and write it to `path`."""
    index = faiss.IndexHNSWFlat(descriptors.shape[1], HNSW_LINKS)
    index.hnsw.efConstruction = HNSW_CONSTRUCTION
    for start in range(0, len(descriptors), 4096):
        index.add(np.ascontiguousarray(descriptors[start : start + 4096], dtype=np.float32))
    faiss.write_index(index, str(path))


def _read_graph(path: Path, count: int, size: int) -> faiss.IndexHNSW:
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise SaaneError(f"{path} is no faiss index: build the map again.") from error
    if not isinstance(index, faiss.IndexHNSW) or (index.ntotal, index.d) != (count, size):
        raise SaaneError(f"{path} does not belong to this map: build the map again.")
    return index
