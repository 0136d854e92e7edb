"""From images to descriptors and attention maps: one interface for every system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from saane_ros.types import Embedding, Rgb


class Embedder(Protocol):
    """Anything that turns images into descriptors; maps, nodes and evaluation know only this.

    name: the card's name.  fingerprint: changes with architecture, weights or preprocessing.
    class_names: the classes of `Embedding.labels`, empty where there is no segmentation.
    """

    name: str
    fingerprint: str
    descriptor_size: int
    class_names: tuple[str, ...]

    def embed(
        self,
        images: Sequence[Rgb],
        attention: bool = False,
        labels: bool = False,
        grid: bool = False,
    ) -> list[Embedding]:
        """Embed images of any sizes; attention maps, labels and grid only where asked for."""
        ...
