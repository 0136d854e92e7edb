"""A second stage: the nearest places of every query in a new order, by their local features.

The features are those that a localizer has anyway, compact feature grids (`feature_grids.py`), so
that kinds of scoring compare on the same ones.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.images.lists import ImageList
from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.evaluation.searches import Search
from saane_ros.files import replacing_file
from saane_ros.paths import cache_folder
from saane_ros.progress import progress
from saane_ros.route_map.cohort import cohort_of
from saane_ros.route_map.feature_grids import Compact, GridProjection, agreement

FIRST = 100
"""Places that are put in a new order, as in Patch-NetVLAD and SelaVPR."""
BATCH = 8


class Pairs(NamedTuple):
    """Cells (m,) of a query and of a reference that are each other's nearest."""

    here: NDArray[np.int64]
    there: NDArray[np.int64]


def mutual_pairs(query: Compact, reference: Compact) -> Pairs:
    """By cosine; both grids h x w x P."""
    size = query.shape[-1]
    mine = query.reshape(-1, size).astype(np.float32)
    cosines = mine @ reference.reshape(-1, size).astype(np.float32).T
    there, here = cosines.argmax(axis=1), cosines.argmax(axis=0)
    cells = np.flatnonzero(here[there] == np.arange(len(mine)))
    return Pairs(cells, there[cells])


def mutual_score(query: Compact, references: NDArray[np.int8]) -> NDArray[np.float64]:
    """Share of cells with a mutual nearest neighbour, which SelaVPR counts (Lu et al., ICLR 2024,
    section 3.4), for each of references (k, h, w, P)."""
    cells = query.shape[0] * query.shape[1]
    return np.array([len(mutual_pairs(query, one).here) / cells for one in references])


def rapid_score(query: Compact, references: NDArray[np.int8]) -> NDArray[np.float64]:
    """Patch-NetVLAD's rapid spatial scoring (Hausler et al., CVPR 2021, section 3.4): mutual pairs
    count the more, the nearer their shift is to the mean shift; in [0, 1]."""
    height, width = query.shape[:2]
    found = np.zeros(len(references))
    for number, reference in enumerate(references):
        here, there = mutual_pairs(query, reference)
        if not len(here):
            continue
        total = 0.0
        for side, mine, theirs in (
            (height, here // width, there // width),
            (width, here % width, there % width),
        ):
            shift = (theirs - mine).astype(np.float64)
            total += float((np.maximum(side - np.abs(shift - shift.mean()), 0) ** 2).sum())
        found[number] = total / ((height**2 + width**2) * height * width)
    return found


SCORES: dict[str, Callable[[Compact, NDArray[np.int8]], NDArray[np.float64]]] = {
    "grids": agreement,
    "rapid": rapid_score,
    "mutual": mutual_score,
}


def reranked(
    search: Search, embedder: Embedder, identity: str, dataset: Dataset, kind: str, title: str
) -> Search:
    """The search with its first `FIRST` places in the order of a score, one of `SCORES`.

    Their distances become 1 - score, in [0, 1]; all others keep their order behind them. What the
    second stage costs is added to `search_ms` and `descriptor_bytes`.
    """
    projection = cohort_of(embedder).projection
    if projection is None:
        raise SaaneError(f"{embedder.name} has no feature grids to re-rank by: leave out --rerank.")
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
    score: Callable[[Compact, NDArray[np.int8]], NDArray[np.float64]],
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
