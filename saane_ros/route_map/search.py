"""Nearest places of a descriptor, by faiss, with exact Euclidean distances.

Distances are sums of squared differences, never |a|^2 + |b|^2 - 2ab, which loses all digits
where a query is almost the map's own image.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.progress import progress
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.verification import INDEX_FILE

HNSW_FROM = 20_000
"""Places from which on a map gets a graph index: a flat search would pass 25 ms on one core."""
HNSW_LINKS = 32
HNSW_CONSTRUCTION = 100
HNSW_BLOCK = 4096
"""Places put into the index at once."""
HNSW_FOUND = 256
"""Nearest places that the graph looks for."""
SAMPLE = 512
"""Places spread evenly over the map, whose distances tell how far its places are in general."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """places: rows of the map, the nearest first, equally near ones in route order, int64 (k,).

    distances: of these, float32 (k,).  sample: distances to places spread over the map (s,).
    """

    places: NDArray[np.int64]
    distances: NDArray[np.float32]
    sample: NDArray[np.float32]


class MapSearch:
    """The nearest of a map's places."""

    def __init__(self, route_map: RouteMap) -> None:
        self._count, self._size = route_map.descriptors.shape
        self._descriptors = route_map.descriptors
        spread = np.linspace(0, self._count - 1, min(SAMPLE, self._count))
        self._sample = np.unique(spread.round().astype(np.int64))
        if route_map.info.index == "flat":
            # float32 stays memory-mapped; float16 is widened once.
            self._rows = np.ascontiguousarray(route_map.descriptors, dtype=np.float32)
            self._graph = None
        else:
            self._graph = _read_graph(route_map.path / INDEX_FILE, self._count, self._size)
            self._graph.hnsw.efSearch = HNSW_FOUND
            self._rows = np.ascontiguousarray(route_map.descriptors[self._sample], np.float32)

    def nearest(self, descriptor: NDArray[np.float32], k: int) -> Nearest:
        """The k nearest places of a descriptor (D,), or all where there are fewer.

        A graph index may miss some of the farther ones; distances are exact. Raises SaaneError
        where the descriptor is not finite or not of the map's model.
        """
        query = checked_descriptor(descriptor, self._size)
        exact = exact_distances(query, self._rows)
        if self._graph is None:
            places = k_smallest(exact, k)
            return Nearest(places, exact[places], exact[self._sample])
        squared, found = self._graph.search(query[None], min(k, self._count))
        hit = found[0] >= 0
        distances = np.sqrt(np.maximum(squared[0][hit], 0.0))
        order = np.lexsort((found[0][hit], distances))
        return Nearest(found[0][hit][order].astype(np.int64), distances[order], exact)

    def distances_to(
        self, descriptor: NDArray[np.float32], places: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Exact distances to some places (k,)."""
        query = checked_descriptor(descriptor, self._size)
        return exact_distances(query, np.ascontiguousarray(self._descriptors[places], np.float32))


def k_smallest(values: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """Indices of the k smallest of N values, ascending, equal ones in their order."""
    if k >= len(values):
        return np.argsort(values, kind="stable").astype(np.int64)
    limit = np.partition(values, k - 1)[k - 1]
    few = np.flatnonzero(values <= limit)
    return few[np.argsort(values[few], kind="stable")][:k].astype(np.int64)


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


def write_graph(descriptors: NDArray[np.floating], path: Path) -> None:
    """Build the graph index of a large map and write it to `path`."""
    index = faiss.IndexHNSWFlat(descriptors.shape[1], HNSW_LINKS)
    index.hnsw.efConstruction = HNSW_CONSTRUCTION
    blocks = range(0, len(descriptors), HNSW_BLOCK)
    for start in progress(blocks, "search index", unit="block", delay_s=2.0):
        block = descriptors[start : start + HNSW_BLOCK]
        index.add(np.ascontiguousarray(block, dtype=np.float32))
    # By a stream of Python's, which tells why a write failed.
    with path.open("wb") as stream:
        writer = faiss.PyCallbackIOWriter(stream.write)  # type: ignore[attr-defined]
        faiss.write_index(index, writer)


def _read_graph(path: Path, count: int, size: int) -> faiss.IndexHNSW:
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise SaaneError(f"{path} is no faiss index: build the map again.") from error
    if not isinstance(index, faiss.IndexHNSW) or (index.ntotal, index.d) != (count, size):
        raise SaaneError(f"{path} does not belong to this map: build the map again.")
    return index
