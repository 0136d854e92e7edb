"""One system's distances on one dataset, by searching descriptors exhaustively."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from saane_ros.evaluation.memory import Memory
from saane_ros.route_map.search import exact_distances


@dataclass(frozen=True)
class Search:
    """distances: float32 (Q, N).  The rest where it is known.

    descriptor_bytes: of one place.  embed_ms: of one image.  search_ms: of one query, exhaustive,
    its post-processing included.  resolution: the input size in words.  memory: of the model.
    """

    distances: NDArray[np.float32]
    descriptor_bytes: int | None = None
    embed_ms: float | None = None
    search_ms: float | None = None
    resolution: str = ""
    memory: Memory = field(default_factory=Memory)


def search_descriptors(
    queries: NDArray[np.float32],
    references: NDArray[np.float32],
    embed_ms: float | None = None,
    resolution: str = "",
    process_ms: float = 0.0,
    memory: Memory | None = None,
) -> Search:
    """Euclidean distances of queries (Q, D) to references (N, D).

    process_ms: what the post-processing of a query took.
    """
    rows = np.ascontiguousarray(references, np.float32)
    wanted = np.ascontiguousarray(queries, np.float32)
    start = time.perf_counter()
    distances = np.stack([exact_distances(query, rows) for query in wanted])
    search_ms = process_ms + 1000 * (time.perf_counter() - start) / len(wanted)
    size = rows.shape[1] * rows.itemsize
    return Search(distances, size, embed_ms, search_ms, resolution, memory or Memory())
