"""Recall@1 of a head between two conditions of places that training never sees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.model.heads import Head
from saane_ros.training.features import FeatureCache
from saane_ros.training.places import PlaceImages

BATCH = 64


@dataclass(frozen=True)
class Retrieval:
    """One search: rows of the cache that are queries and references, and the place of each row."""

    name: str
    queries: NDArray[np.int64]
    references: NDArray[np.int64]


def condition_retrievals(
    places: PlaceImages, reference: str, queries: list[str]
) -> list[Retrieval]:
    """For every group and query condition a search in the group's `reference` images.

    The condition is the name of the image file up to its first dash.
    """
    conditions = np.array([condition_of(path) for path in places.paths])
    groups = np.array(places.groups)
    unknown = [name for name in (reference, *queries) if name not in conditions]
    if unknown:
        raise SaaneError(
            f"Validation condition {unknown[0]} has no image: those present are "
            f"{', '.join(sorted(set(conditions)))}."
        )
    return [
        Retrieval(
            query,
            np.flatnonzero((groups == group) & (conditions == query)),
            np.flatnonzero((groups == group) & (conditions == reference)),
        )
        for group in np.unique(groups)
        for query in queries
    ]


def condition_of(path: Path) -> str:
    return path.stem.split("-")[0]


def recall_at_1(
    descriptors: NDArray[np.float32], labels: NDArray[np.int64], search: Retrieval, tolerance: int
) -> float:
    """Share of queries whose nearest reference is at most `tolerance` places away."""
    queries, references = descriptors[search.queries], descriptors[search.references]
    nearest = np.argmax(queries @ references.T, axis=1)  # equal norms: the largest product
    found = labels[search.references][nearest]
    return float(np.mean(np.abs(found - labels[search.queries]) <= tolerance))


@torch.no_grad()
def describe_all(head: Head, cache: FeatureCache, device: torch.device) -> NDArray[np.float32]:
    """Descriptors (N, D) of every image of a cache."""
    was_training = head.training
    head.eval()
    parts = []
    for start in range(0, len(cache), BATCH):
        indices = np.arange(start, min(start + BATCH, len(cache)))
        parts.append(head(*cache.batch(indices, device)).descriptor.cpu().numpy())
    head.train(was_training)
    return np.concatenate(parts)


def mean_recall(
    head: Head,
    cache: FeatureCache,
    places: PlaceImages,
    searches: list[Retrieval],
    tolerance: int,
    device: torch.device,
) -> dict[str, float]:
    """Recall@1 by query condition, averaged over groups, and the mean of all under "mean"."""
    descriptors = describe_all(head, cache, device)
    labels = np.array(places.labels)
    values: dict[str, list[float]] = {}
    for search in searches:
        values.setdefault(search.name, []).append(
            recall_at_1(descriptors, labels, search, tolerance)
        )
    recalls = {name: float(np.mean(found)) for name, found in values.items()}
    recalls["mean"] = float(np.mean(list(recalls.values())))
    return recalls
