"""The model of a node: loaded from its settings, warmed up, and its memory given back."""

from __future__ import annotations

import sys

import numpy as np

from saane_ros.embedding import Embedder, ModelSettings


def load_model(settings: ModelSettings) -> Embedder:
    """The embedder that the settings name."""
    from saane_ros.embedding.loading import settings_embedder  # PyTorch takes seconds to import

    return settings_embedder(settings)


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
