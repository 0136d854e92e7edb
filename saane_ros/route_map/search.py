"""Nearest places of a descriptor, with exact Euclidean distances.

Distances of places are sums of squared differences, never |a|^2 + |b|^2 - 2ab, which loses all
digits where a query is almost the map's own image. In a large map an index tells which places to
look at.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.route_map.place_index import FOUND, PlaceIndex
from saane_ros.route_map.store import RouteMap

SAMPLE = 512
"""Places spread evenly over the map, whose distances tell how far its places are in general."""

FAR = 0.1
"""Of a descriptor's square: a square distance from there on has five digits left where it is
computed as |a|^2 + |b|^2 - 2ab, which reads rows faster than differences."""
FURTHER = 32
"""Of the places that an index finds, those that are compared next: the last of them, none of which
is among the nearest, end it."""
LET_GO, KEPT = 12, 2**28
"""Searches after which the pages that were looked at are let go, where descriptors are more than so
many bytes: around each page the system maps others that it has in memory, until whole files would
count as this process's. In the system's they stay."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """places: rows of the map, the nearest first, equally near ones in route order, int64 (k,).

    distances: of these, float32 (k,).  sample: distances to places spread over the map (s,).
    """

    places: NDArray[np.int64]
    distances: NDArray[np.float32]
    sample: NDArray[np.float32]


class MapSearch:
    """The nearest of a map's places.

    index: of the map, by default its own; without one all places are searched.
    """

    def __init__(self, route_map: RouteMap, index: PlaceIndex | None = None) -> None:
        self._count, self._size = route_map.descriptors.shape
        # A memory map's own slicing costs more than what it slices.
        self._descriptors = np.asarray(route_map.descriptors)
        self._let_go = route_map.let_go
        self._searched = 0
        self._index = index or route_map.index
        spread = np.linspace(0, self._count - 1, min(SAMPLE, self._count))
        self._sample = np.unique(spread.round().astype(np.int64))
        # Of float32 all rows stay memory-mapped; float16 is widened once.
        kept = self._descriptors if self._index is None else self._descriptors[self._sample]
        self._rows = np.ascontiguousarray(kept, dtype=np.float32)
        self._squares = np.einsum("nd,nd->n", self._rows, self._rows)
        if self._index is not None:
            self._let_go()

    def nearest(self, descriptor: NDArray[np.float32], k: int) -> Nearest:
        """The k nearest places of a descriptor (D,), or all where there are fewer.

        An index may miss some of the farther ones; distances are exact. Raises SaaneError where
        the descriptor is not finite or not of the map's model.
        """
        query = checked_descriptor(descriptor, self._size)
        if self._index is None:
            exact = exact_distances(query, self._rows)
            places = k_smallest(exact, k)
            return Nearest(places, exact[places], exact[self._sample])
        places, distances = self._compared(query, self._index.find(query, max(k, FOUND)), k)
        self._searched += 1
        if self._searched % LET_GO == 0 and self._descriptors.nbytes > KEPT:
            self._let_go()
        best = k_smallest(distances, k)
        return Nearest(places[best], distances[best], self._spread_distances(query))

    def _spread_distances(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """To the places of the sample, to five digits: by a product where that keeps them."""
        square = float(query @ query)
        distances = square + self._squares - 2 * (self._rows @ query)
        near = np.flatnonzero(distances < FAR * square)
        distances = np.sqrt(np.maximum(distances, 0.0, out=distances), out=distances)
        distances[near] = exact_distances(query, self._rows[near])
        return distances

    def _compared(
        self, query: NDArray[np.float32], found: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Of places the index found, those that may be the k nearest, and their exact distances.

        In route order, as which equally near ones are told.
        """
        looked = min(k + FURTHER, len(found))
        distances = self._exact(query, found[:looked])
        while looked < len(found):
            if distances[-FURTHER:].min() > np.partition(distances, k - 1)[k - 1]:
                break
            further = self._exact(query, found[looked : looked + FURTHER])
            distances = np.concatenate((distances, further))
            looked = len(distances)
        order = found[:looked].argsort()
        return found[order], distances[order]

    def distances_to(
        self, descriptor: NDArray[np.float32], places: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Exact distances to some places (k,)."""
        return self._exact(checked_descriptor(descriptor, self._size), places)

    def _exact(self, query: NDArray[np.float32], places: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = self._descriptors
        if rows.dtype != np.float32 or not rows.flags.c_contiguous:
            return exact_distances(query, np.ascontiguousarray(rows[places], np.float32))
        places = np.ascontiguousarray(places, np.int64)
        distances = np.empty(len(places), np.float32)
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # to wake others takes longer than the work
        faiss.fvec_L2sqr_by_idx(  # type: ignore[attr-defined]
            *map(faiss.swig_ptr, (distances, query, rows, places)), self._size, 1, len(places)
        )
        faiss.omp_set_num_threads(threads)
        return np.sqrt(distances, out=distances)


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
