"""The model of a node: loaded from its settings, warmed up, and its memory given back."""

from __future__ import annotations

import sys
from typing import Protocol

import numpy as np

from saane_ros.embedding import Embedder


class ModelSettings(Protocol):
    """The settings that name a model; both nodes have them."""

    @property
    def model(self) -> str: ...

    @property
    def weights(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def engine(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def threads(self) -> int: ...


def load_model(settings: ModelSettings) -> Embedder:
    """The embedder that the settings name."""
    from saane_ros.embedding.loading import load_embedder  # PyTorch takes seconds to import

    return load_embedder(
        settings.model,
        settings.weights,
        settings.device,
        settings.precision,
        settings.threads,
        engine=settings.engine,
    )


def warm_up(embedder: Embedder) -> None:
    """Run the network as frames will, so that the first one does not wait for its set-up."""
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    embedder.embed([image], grid=True)
    embedder.embed([image], attention=True, labels=bool(embedder.class_names))


def free_device_memory() -> None:
    """Give CUDA memory that nothing refers to any more back to the device."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
