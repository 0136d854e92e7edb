"""A second stage: the nearest places of every query in a new order, by their local features.

They are those that a localizer has anyway, compact feature grids (`feature_grids.py`), so that
kinds of scoring compare on the same ones; or, "own", those that a model's authors re-rank by.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.images.lists import ImageList
from saane_ros.evaluation.searches import Search
from saane_ros.files import replacing_file
from saane_ros.paths import cache_folder
from saane_ros.progress import progress
from saane_ros.route_map.cohort import cohort_of, named_rerank, projection_of
from saane_ros.route_map.feature_grids import OWN, SCORES, Cells, Score, rerank_of
from saane_ros.types import Rgb

if TYPE_CHECKING:
    from saane_ros.embedding.network import NetworkEmbedder

FIRST = 100
"""Places that are put in a new order, as in Patch-NetVLAD and SelaVPR."""
BATCH = 8
KINDS = (*SCORES, OWN)


@dataclass(frozen=True)
class _Stage:
    """extract: local features of images, a scale (B, h, w, P).  shares: of each in the score."""

    score: Score
    shares: tuple[float, ...]
    extract: Callable[[Sequence[Rgb]], Sequence[Cells]]


def reranked(
    search: Search,
    embedder: NetworkEmbedder,
    identity: str,
    dataset: Dataset,
    kind: str,
    title: str,
) -> Search:
    """The search with its first `FIRST` places in the order of a score, one of `KINDS`.

    Their distances become 1 - score, in [0, 1]; all others keep their order behind them. What the
    second stage costs is added to `search_ms` and `descriptor_bytes`. Raises SaaneError where the
    model has no such features.
    """
    stage = _stage(embedder, kind)
    what, where = f"{title}: local features", f"{OWN if kind == OWN else 'grids'}|{identity}"
    references = features_of(stage, where, dataset.references, what)
    queries = features_of(stage, where, dataset.queries, what)
    start = time.perf_counter()
    rows = zip(search.distances, *queries, strict=True)
    distances = np.stack(
        [_row(row, stage, query, references) for row, *query in progress(rows, title)]
    )
    spent = 1e3 * (time.perf_counter() - start) / len(dataset.queries)
    return replace(
        search,
        distances=distances,
        descriptor_bytes=(search.descriptor_bytes or 0) + sum(one[0].nbytes for one in references),
        search_ms=(search.search_ms or 0.0) + spent,
    )


def _stage(embedder: NetworkEmbedder, kind: str) -> _Stage:
    if kind == OWN:
        score = rerank_of(named_rerank(embedder, kind)).score
        return _Stage(score, embedder.own_score[1], embedder.own_features)
    projection = projection_of(embedder, cohort_of(embedder))

    def compact(images: Sequence[Rgb]) -> list[Cells]:
        found = [one.grid for one in embedder.embed(images, grid=True)]
        return [np.stack([projection.compact(grid) for grid in found if grid is not None])]

    return _Stage(SCORES[kind], (1.0,), compact)


def _row(
    distances: NDArray[np.float32], stage: _Stage, query: list[Cells], references: list[Cells]
) -> NDArray[np.float32]:
    """Equal scores keep their order: the distance decides as a last hundredth of a vote.

    Scales count by their shares (Patch-NetVLAD, eq. 8; its code standardises each over the
    candidates of a query, by which those of two queries no longer compare).
    """
    first = np.argsort(distances, kind="stable")[:FIRST]
    scale = max(float(distances.max()), 1e-12)
    behind = np.asarray(1 + distances / scale, np.float32)
    vote = 1 / (query[0].shape[0] * query[0].shape[1])
    nearer = 0.01 * vote * distances[first] / scale
    each = zip(stage.shares, query, references, strict=False)  # a small image lacks the last
    scores = sum(share * stage.score(one, others[first]) for share, one, others in each)
    total = sum(stage.shares[: len(query)])
    behind[first] = np.clip(1 - scores / total, 0, 1) + nearer
    return behind


def features_of(stage: _Stage, identity: str, images: ImageList, what: str) -> list[Cells]:
    """Local features of every image, a scale (n, h, w, P), kept in the cache as descriptors are."""
    key = hashlib.sha256(f"{identity}|{images.key}".encode()).hexdigest()[:24]
    folder: Path = cache_folder() / "descriptors"
    if (folder / f"{key}-0.npy").is_file():
        kept = sorted(folder.glob(f"{key}-*.npy"))
        return [np.load(path, mmap_mode="r", allow_pickle=False) for path in kept]
    folder.mkdir(parents=True, exist_ok=True)
    arrays: list[Cells] = []
    # Written as they come: the authors' own may be more than fits into memory. The last gets its
    # name first: where the first is, all are.
    with ExitStack() as files, progress(range(len(images)), what, len(images), "image") as bar:
        for start in range(0, len(images), BATCH):
            batch = range(start, min(start + BATCH, len(images)))
            found = stage.extract([images.read(row) for row in batch])
            for number, scale in enumerate(found[len(arrays) :]):
                path = files.enter_context(replacing_file(folder / f"{key}-{number}.npy"))
                shape = (len(images), *scale.shape[1:])
                arrays.append(np.lib.format.open_memmap(path, "w+", scale.dtype, shape))
            for array, scale in zip(arrays, found, strict=True):
                array[batch.start : batch.stop] = scale
            bar.update(len(batch))
    return features_of(stage, identity, images, what)
