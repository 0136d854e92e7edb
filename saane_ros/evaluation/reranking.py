"""A second stage: the nearest places of every query in a new order, by their local features.

The features are those that a localizer has anyway, compact feature grids (`feature_grids.py`), so
that kinds of scoring compare on the same ones.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.images.lists import ImageList
from saane_ros.embedding import Embedder
from saane_ros.evaluation.searches import Search
from saane_ros.files import replacing_file
from saane_ros.paths import cache_folder
from saane_ros.progress import progress
from saane_ros.route_map.cohort import cohort_of, projection_of
from saane_ros.route_map.feature_grids import SCORES, Compact, GridProjection, Score

FIRST = 100
"""Places that are put in a new order, as in Patch-NetVLAD and SelaVPR."""
BATCH = 8


def reranked(
    search: Search, embedder: Embedder, identity: str, dataset: Dataset, kind: str, title: str
) -> Search:
    """The search with its first `FIRST` places in the order of a score, one of `SCORES`.

    Their distances become 1 - score, in [0, 1]; all others keep their order behind them. What the
    second stage costs is added to `search_ms` and `descriptor_bytes`.
    """
    projection = projection_of(embedder, cohort_of(embedder))
    references = compact_grids(
        embedder, projection, identity, dataset.references, f"{title}: grids"
    )
    queries = compact_grids(embedder, projection, identity, dataset.queries, f"{title}: grids")
    start = time.perf_counter()
    rows = zip(search.distances, queries, strict=True)
    distances = np.stack(
        [_row(row, SCORES[kind], query, references) for row, query in progress(rows, title)]
    )
    spent = 1e3 * (time.perf_counter() - start) / len(queries)
    return replace(
        search,
        distances=distances,
        descriptor_bytes=(search.descriptor_bytes or 0) + references[0].nbytes,
        search_ms=(search.search_ms or 0.0) + spent,
    )


def _row(
    distances: NDArray[np.float32],
    score: Score,
    query: Compact,
    references: NDArray[np.int8],
) -> NDArray[np.float32]:
    """Equal scores keep their order: the distance decides as a last hundredth of a vote."""
    first = np.argsort(distances, kind="stable")[:FIRST]
    scale = max(float(distances.max()), 1e-12)
    behind = np.asarray(1 + distances / scale, np.float32)
    vote = 1 / (query.shape[0] * query.shape[1])
    nearer = 0.01 * vote * distances[first] / scale
    behind[first] = np.clip(1 - score(query, references[first]), 0, 1) + nearer
    return behind


def compact_grids(
    embedder: Embedder, projection: GridProjection, identity: str, images: ImageList, what: str
) -> NDArray[np.int8]:
    """Compact grids (n, h, w, P) of every image, kept in the cache as the descriptors are."""
    key = hashlib.sha256(f"grids|{identity}|{images.key}".encode()).hexdigest()[:24]
    path: Path = cache_folder() / "descriptors" / f"{key}.npy"
    if path.is_file():
        kept: NDArray[np.int8] = np.load(path, allow_pickle=False)
        return kept
    found: list[Compact] = []
    with progress(range(len(images)), what, len(images), "image") as bar:
        for start in range(0, len(images), BATCH):
            batch = range(start, min(start + BATCH, len(images)))
            for one in embedder.embed([images.read(row) for row in batch], grid=True):
                assert one.grid is not None, "the cohort had grids"
                found.append(projection.compact(one.grid))
            bar.update(len(batch))
    grids = np.stack(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(path) as part, part.open("wb") as stream:
        np.save(stream, grids)
    return grids
