"""From images to descriptors and attention maps: one interface for every system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

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


@runtime_checkable
class TwoStage(Embedder, Protocol):
    """One whose model may have local features of its own, by which its authors re-rank places."""

    @property
    def own_score(self) -> tuple[str, tuple[float, ...]]:
        """What they are compared by and the share of each scale; empty without them."""
        ...

    def with_own_grids(self) -> Embedder:
        """The same embedder, with one scale of them as the grid of an `Embedding`."""
        ...


class ModelSettings(Protocol):
    """The settings that name a model; both nodes and the commands have them."""

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
