"""A tiny training problem: features of noisy places, and a trainer over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("lightning_fabric", reason="the extra train is not installed")

from lightning_fabric import Fabric

from saane_ros.model.heads import Head, HeadSizes, build_head
from saane_ros.training.embedding_trainer import EmbeddingTrainer, EmbeddingTraining
from saane_ros.training.features import FeatureCache
from saane_ros.training.place_views import PlaceViews, View
from saane_ros.training.validation import place_retrieval, validation_figures

SIZES = HeadSizes(c_a=12, c_s=6, channels=8, reduction=4)
OPTIONS = EmbeddingTraining(
    steps=6, classes=4, images=3, learning_rate=1e-2, validate_every=2, precision="fp32"
)


def small_cache(places: int = 6, images: int = 4) -> tuple[FeatureCache, PlaceViews]:
    """Places whose images share a random feature map under heavy noise."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(places), images)
    arrays = []
    for channels in (SIZES.c_a, SIZES.c_s):
        centres = random.random((places, channels, 5, 5))
        noise = random.random((places * images, channels, 5, 5))
        arrays.append((centres[labels] + 2 * noise).astype(np.float16))
    views = tuple(View(Path(f"{row}.jpg")) for row in range(len(labels)))
    zeros = np.zeros(len(labels), np.int64)
    return FeatureCache(*arrays), PlaceViews(views, labels, zeros, zeros, zeros)


def small_head(system: str = "saane", seed: int = 0) -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_head(system, SIZES)


def small_trainer(
    out: Path, fabric: Fabric, options: EmbeddingTraining = OPTIONS, system: str = "saane"
) -> EmbeddingTrainer:
    cache, views = small_cache()
    search = place_retrieval(views, np.arange(len(views)), "places")

    def validate(head: Head) -> dict[str, float]:
        return validation_figures(head, cache, views.labels, [search], fabric.device)

    return EmbeddingTrainer(small_head(system), cache, views, validate, options, out, fabric)
