"""Batches of classes: 16 places x 4 images each (SAANE, section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class ClassBatchSampler:
    """Draws `classes` places uniformly and `images` different images of each.

    With `groups`, all places of a batch come from one group (one town, one route), so that their
    negatives share its style and its light. The state of the generator is all there is to save.
    """

    def __init__(
        self,
        labels: Sequence[int],
        classes: int = 16,
        images: int = 4,
        groups: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        self.generator = np.random.default_rng(seed)
        self.images = images
        self.members = _members(labels)
        group_of = dict(zip(labels, groups, strict=True)) if groups is not None else {}
        self.pools: list[list[int]] = _pools(list(self.members), group_of)
        self.pools = [pool for pool in self.pools if len(pool) >= min(classes, 2)]
        self.classes = classes

    def draw(self) -> NDArray[np.int64]:
        """Indices of the images of one batch, those of one place next to each other."""
        pool = self.pools[self.generator.integers(len(self.pools))]
        chosen = self.generator.choice(pool, min(self.classes, len(pool)), replace=False)
        return np.concatenate([self._draw_images(self.members[int(c)]) for c in chosen])

    def _draw_images(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        replace = len(members) < self.images
        return self.generator.choice(members, self.images, replace=replace)


def _members(labels: Sequence[int]) -> dict[int, NDArray[np.int64]]:
    members: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(int(label), []).append(index)
    return {label: np.array(indices) for label, indices in members.items() if len(indices) > 1}


def _pools(labels: list[int], group_of: dict[int, int]) -> list[list[int]]:
    pools: dict[int, list[int]] = {}
    for label in labels:
        pools.setdefault(group_of.get(label, 0), []).append(label)
    return list(pools.values())
