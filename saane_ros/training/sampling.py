"""Batches of classes: 16 places x 4 images each (SAANE, section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError

_NOWHERE = -1
"""Label of an image that is never drawn."""


class ClassBatchSampler:
    """Draws `classes` places and `images` different images of each.

    group_of, occasion_of, source_of: per image, see PlaceViews.
    groups: the places of a batch come from about so many groups (towns, cameras), so that their
        negatives share a style; 0: places are drawn regardless of groups.
    same_occasions: places of one group show the same times, lights and weathers in a batch, so
        that a negative can look more like the anchor than the positive does.
    source_weights: how often groups (with groups 0: places) of each source are taken; 0: never.
    The state of the generator is all there is to save.
    """

    def __init__(
        self,
        labels: Sequence[int] | NDArray[np.int64],
        classes: int = 16,
        images: int = 4,
        group_of: Sequence[int] | NDArray[np.int64] | None = None,
        occasion_of: Sequence[int] | NDArray[np.int64] | None = None,
        source_of: Sequence[int] | NDArray[np.int64] | None = None,
        groups: int = 0,
        same_occasions: bool = False,
        source_weights: Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        self.generator = np.random.default_rng(seed)
        self.classes, self.images, self.same_occasions = classes, images, same_occasions
        places = np.array(labels, dtype=np.int64)
        zeros = np.zeros(len(places), np.int64)
        self.occasions = zeros if occasion_of is None else np.asarray(occasion_of, np.int64)
        source = zeros if source_of is None else np.asarray(source_of, np.int64)
        group = zeros if group_of is None else np.asarray(group_of, np.int64)
        weights = np.ones(int(source.max()) + 1) if source_weights is None else source_weights
        places[np.asarray(_checked(weights))[source] == 0] = _NOWHERE
        self.members = _members(places)
        if len(self.members) < 2:
            raise SaaneError(
                "Training needs two places or more with at least two images each: "
                f"there are {len(self.members)}."
            )
        self.pools = _pools(self.members, group if groups else source)
        self.per_group = -(-classes // groups) if groups else 1
        self.chances = self._chances(source, np.asarray(weights, np.float64))

    def draw(self) -> NDArray[np.int64]:
        """Indices of the images of one batch, those of one place next to each other."""
        wanted = min(self.classes, sum(map(len, self.pools)))
        chosen: list[NDArray[np.int64]] = []
        taken: set[int] = set()
        left = self.chances.copy()
        while len(chosen) < wanted:
            drawn_pool = self.generator.choice(len(self.pools), p=left / left.sum())
            pool = self.pools[drawn_pool]
            free = [place for place in pool if place not in taken]
            if len(free) <= self.per_group:
                left[drawn_pool] = 0.0
            count = min(self.per_group, len(free), wanted - len(chosen))
            drawn = self.generator.choice(free, count, replace=False).tolist()
            order = self._occasion_order(pool)
            for place in drawn:
                chosen.append(self._draw_images(self.members[place], order))
                taken.add(place)
        return np.concatenate(chosen)

    def peek(self) -> NDArray[np.int64]:
        """The batch that `draw` gives next, which it still will."""
        state = self.generator.bit_generator.state
        batch = self.draw()
        self.generator.bit_generator.state = state
        return batch

    def _occasion_order(self, pool: list[int]) -> dict[int, int]:
        """The group's occasions in a random order, or none where every place draws its own."""
        if not self.same_occasions:
            return {}
        present = np.unique(np.concatenate([self.occasions[self.members[p]] for p in pool]))
        shuffled = self.generator.permutation(present)
        return {int(occasion): rank for rank, occasion in enumerate(shuffled)}

    def _draw_images(self, members: NDArray[np.int64], order: dict[int, int]) -> NDArray[np.int64]:
        if len(members) < self.images:
            extra = self.generator.choice(members, self.images - len(members))
            return np.concatenate([members, extra])
        if not order:
            return self.generator.choice(members, self.images, replace=False)
        shuffled = self.generator.permutation(members)
        ranks = [order[int(self.occasions[index])] for index in shuffled]
        return shuffled[np.argsort(ranks, kind="stable")][: self.images]

    def _chances(
        self, source: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Probability of every pool: its source's weight, shared among the pools of the source."""
        sources = np.array([source[self.members[pool[0]][0]] for pool in self.pools])
        counts = np.bincount(sources, minlength=len(weights))
        chances = weights[sources] / counts[sources]
        return chances / chances.sum()


def _checked(weights: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.asarray(weights, np.float64)
    if not (np.isfinite(values) & (values >= 0)).all() or not values.any():
        raise SaaneError(
            f"The weights of the sources are {values.tolist()}: give numbers from 0, one above it."
        )
    return values


def _members(labels: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    known = np.unique(labels[labels != _NOWHERE])
    found = {int(label): np.flatnonzero(labels == label) for label in known}
    return {label: indices for label, indices in found.items() if len(indices) > 1}


def _pools(members: dict[int, NDArray[np.int64]], group: NDArray[np.int64]) -> list[list[int]]:
    pools: dict[int, list[int]] = {}
    for label, indices in members.items():
        pools.setdefault(int(group[indices[0]]), []).append(label)
    return list(pools.values())
