"""One system's distances on one dataset, by searching descriptors exhaustively."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.route_map.search import exact_distances

DEVIATION_FLOOR = 0.1
"""Of the mean deviation: a feature that is rare in the references must not decide alone."""
DESCRIPTOR_NORM = 10.0


@dataclass(frozen=True)
class Search:
    """distances: float32 (Q, N).  The rest where it is known.

    descriptor_bytes: of one place.  embed_ms: of one image.  search_ms: of one query, exhaustive.
    resolution: the input size in words.
    """

    distances: NDArray[np.float32]
    descriptor_bytes: int | None = None
    embed_ms: float | None = None
    search_ms: float | None = None
    resolution: str = ""


def search_descriptors(
    queries: NDArray[np.float32],
    references: NDArray[np.float32],
    embed_ms: float | None = None,
    resolution: str = "",
) -> Search:
    """Euclidean distances of queries (Q, D) to references (N, D)."""
    rows = np.ascontiguousarray(references, np.float32)
    wanted = np.ascontiguousarray(queries, np.float32)
    start = time.perf_counter()
    distances = np.stack([exact_distances(query, rows) for query in wanted])
    search_ms = 1000 * (time.perf_counter() - start) / len(wanted)
    return Search(distances, rows.shape[1] * rows.itemsize, embed_ms, search_ms, resolution)


def standardised(
    queries: NDArray[np.float32], references: NDArray[np.float32], each: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both with the mean and deviation of every dimension taken out, at norm 10.

    The statistics are the references', which a live system has; with `each` the queries have their
    own, which needs the whole traverse beforehand and also takes away what its season or light
    adds to every image (Schubert, Neubert & Protzel 2020).
    """
    of_references = _statistics(references)
    of_queries = _statistics(queries) if each else of_references
    return _scaled(queries, *of_queries), _scaled(references, *of_references)


def _statistics(
    rows: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    deviation = rows.std(axis=0, dtype=np.float64)
    floor = max(DEVIATION_FLOOR * float(deviation.mean()), 1e-12)
    return rows.mean(axis=0, dtype=np.float64), np.maximum(deviation, floor)


def _scaled(
    rows: NDArray[np.float32], mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float32]:
    values = (rows - mean) / deviation
    lengths = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    return np.asarray(DESCRIPTOR_NORM * values / lengths, np.float32)
