"""A street of posts every five metres: features that know where they were seen, and positions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.datasets.truth import within_radius
from saane_ros.data.images.lists import NoImages
from saane_ros.model.netvlad import NetVlad
from saane_ros.model.vlad import VladSizes
from saane_ros.training.features import Batches, FeatureCache
from saane_ros.training.tagged_images import TaggedImages, Tuples
from saane_ros.training.tensorboard import ScalarLog
from saane_ros.training.validation import describe_all
from saane_ros.training.weak_trainer import WeakTrainer, WeakTraining

CHANNELS = 6
OPTIONS = WeakTraining(
    epochs=3, batch=3, learning_rate=0.02, halve_every=2, random_negatives=5, hard_negatives=3,
    cache_every=6,
)  # fmt: skip


def street(name: str = "street", count: int = 14, seed: int = 0) -> Dataset:
    """References every 5 m; queries up to 2 m from them, the last one far from everything."""
    random = np.random.default_rng(seed)
    there = np.column_stack([5.0 * np.arange(count), np.zeros(count)])
    here = there + random.uniform(-2, 2, (count, 2))
    here[-1] += 1000
    names = [f"{i}" for i in range(count)]
    lists = NoImages([f"q{n}" for n in names]), NoImages([f"r{n}" for n in names])
    return Dataset(name, *lists, within_radius(here, there), "", "", here, there)


def street_features(dataset: Dataset, seed: int = 0) -> FeatureCache:
    """Maps that change along the street, under noise; queries first, as TaggedImages has them."""
    random = np.random.default_rng(seed)
    waves = random.normal(size=(CHANNELS, 4, 5))
    shift = random.uniform(0, 6, (CHANNELS, 4, 5))
    east = np.concatenate([dataset.query_positions[:, 0], dataset.reference_positions[:, 0]])
    maps = np.sin(waves[None] * east[:, None, None, None] / 8 + shift)
    noisy = maps + 0.8 * random.normal(size=maps.shape)
    return FeatureCache(noisy.astype(np.float16), None)


def small_netvlad(seed: int = 0) -> NetVlad:
    torch.manual_seed(seed)
    head = NetVlad(VladSizes(inputs=CHANNELS, words=4))
    nn.init.normal_(head.assignment.weight, std=2)
    nn.init.normal_(head.centroids, std=0.5)
    return head


def weak_trainer(
    out: Path,
    options: WeakTraining = OPTIONS,
    measure: Callable[[nn.Module], dict[str, float]] | None = None,
) -> WeakTrainer:
    dataset = street()
    return WeakTrainer(
        small_netvlad(),
        street_features(dataset),
        Tuples(TaggedImages([dataset])),
        measure or (lambda model: {"score": float(next(model.parameters()).detach().sum())}),
        options,
        out,
        torch.device("cpu"),
        ScalarLog(out / "tensorboard"),
    )


def whole_loss(tuples: Tuples, model: nn.Module, batches: Batches) -> float:
    """Mean over all queries of the violations of all their negatives, with plain loops."""
    vectors = describe_all(model, batches, torch.device("cpu")).astype(float)
    total = 0.0
    for index in range(len(tuples)):
        query = vectors[tuples.query(index)]
        best = min(((query - vectors[p]) ** 2).sum() for p in tuples.positives(index))
        for negative in tuples.negatives(index):
            total += max(0.0, best + 0.1 - ((query - vectors[negative]) ** 2).sum())
    return total / len(tuples)
