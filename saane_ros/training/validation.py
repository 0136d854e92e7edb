"""Retrieval among held-out places, by the figures of the evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from saane_ros.errors import SaaneError
from saane_ros.evaluation.metrics import RetrievalScores, evaluate_retrieval
from saane_ros.model.heads import Head
from saane_ros.training.features import Batches, Features, in_turn
from saane_ros.training.place_views import PlaceViews

AUC = "plain+R2"
"""The curve whose area breaks ties between equal recalls: it never exceeds Recall@1."""


@dataclass(frozen=True)
class Retrieval:
    """One search: rows of the cache that are queries and references, and what is right.

    tolerance: places by which a match may be off and still count as correct.
    """

    name: str
    queries: NDArray[np.int64]
    references: NDArray[np.int64]
    tolerance: int = 0


def condition_retrievals(
    views: PlaceViews, rows: NDArray[np.int64], reference: str, queries: list[str], tolerance: int
) -> list[Retrieval]:
    """For every group and query condition a search in the group's `reference` images.

    The condition is the name of the image file up to its first dash, as of rendered towns.
    """
    conditions = np.array([view.path.stem.split("-")[0] for view in views.views])
    unknown = [name for name in (reference, *queries) if name not in conditions[rows]]
    if unknown:
        raise SaaneError(
            f"Validation condition {unknown[0]} has no image: those present are "
            f"{', '.join(sorted(set(conditions[rows])))}."
        )
    return [
        Retrieval(
            query,
            _where(rows, (views.groups == group) & (conditions == query)),
            _where(rows, (views.groups == group) & (conditions == reference)),
            tolerance,
        )
        for group in np.unique(views.groups[rows])
        for query in queries
    ]


def place_retrieval(views: PlaceViews, rows: NDArray[np.int64], name: str) -> Retrieval:
    """A search of all views of a source in one reference view of each of its places.

    The reference is chosen by a fixed draw, so that it is no particular time of the day.
    """
    random = np.random.default_rng(0)
    places = np.unique(views.labels[rows])
    references = np.array([random.choice(rows[views.labels[rows] == place]) for place in places])
    return Retrieval(name, np.setdiff1d(rows, references), references)


def _where(rows: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    return rows[mask[rows]]


@torch.no_grad()
def describe_all(model: nn.Module, batches: Batches, device: torch.device) -> NDArray[np.float32]:
    """Descriptors (N, D) of every image, from features by a head or from what a model takes."""
    was_training = model.training
    model.eval()
    parts = [model(*taken).descriptor.cpu().numpy() for _, taken in in_turn(batches, device)]
    model.train(was_training)
    return np.concatenate(parts)


def retrieval_scores(
    descriptors: NDArray[np.float32], labels: NDArray[np.int64], search: Retrieval
) -> RetrievalScores:
    """Distances of the queries of a search to its references, and the correct ones."""
    queries, references = descriptors[search.queries], descriptors[search.references]
    apart = np.abs(labels[search.queries][:, None] - labels[search.references][None, :])
    correct = [np.flatnonzero(row <= search.tolerance) for row in apart]
    return RetrievalScores(euclidean(queries, references), correct)


def euclidean(queries: NDArray[np.float32], references: NDArray[np.float32]) -> NDArray[np.float64]:
    """Distances (Q, N) between descriptors."""
    q, r = torch.from_numpy(queries).double(), torch.from_numpy(references).double()
    return torch.cdist(q, r).numpy()


def validation_figures(
    head: Head,
    features: Features,
    labels: NDArray[np.int64],
    searches: list[Retrieval],
    device: torch.device,
) -> dict[str, float]:
    """`search_figures` of a head over the features of frozen trunks."""
    return search_figures(describe_all(head, features, device), labels, searches)


def search_figures(
    descriptors: NDArray[np.float32], labels: NDArray[np.int64], searches: list[Retrieval]
) -> dict[str, float]:
    """Recall@1 by search name, their mean as "recall", the mean AUC, and the "score" of both."""
    recalls: dict[str, list[float]] = {}
    areas: dict[str, list[float]] = {}
    for search in searches:
        result = evaluate_retrieval(retrieval_scores(descriptors, labels, search), (1,))
        recalls.setdefault(search.name, []).append(result.recall[1])
        areas.setdefault(search.name, []).append(result.curves[AUC].auc)
    figures = {name: float(np.mean(values)) for name, values in recalls.items()}
    figures["recall"] = float(np.mean(list(figures.values())))
    figures["AUC"] = float(np.mean([np.mean(values) for values in areas.values()]))
    figures["score"] = (figures["recall"] + figures["AUC"]) / 2
    return figures
