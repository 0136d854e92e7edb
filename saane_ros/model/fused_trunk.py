"""Several trunks side by side: their features at stride 16 are stacked on one grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saane_ros.model.appearance import Trunk, TrunkFeatures
from saane_ros.model.heads import align_semantics
from saane_ros.model.normalisation import Renormalisation


class FusedTrunk(Trunk):
    """The first trunk's features, with those of the others stacked behind them at stride 16.

    others: trunks with what converts the images, normalised for the first, for each of them.
    The finer strides are the first trunk's alone.
    """

    def __init__(self, first: Trunk, others: Sequence[tuple[Trunk, Renormalisation]]) -> None:
        super().__init__()
        self.first = first
        self.others = nn.ModuleList(trunk for trunk, _ in others)
        self.conversions = nn.ModuleList(conversion for _, conversion in others)
        self.channels2, self.channels4, self.channels8 = (
            first.channels2,
            first.channels4,
            first.channels8,
        )
        self.channels16 = first.channels16 + sum(trunk.channels16 for trunk, _ in others)

    @property
    def parts(self) -> list[Trunk]:
        return [self.first, *self.others]

    def forward(self, images: Tensor) -> TrunkFeatures:
        """Images B x 3 x h x w, normalised for the first trunk."""
        features = self.first(images)
        grid = features.stride16.shape[-2:]
        stacked = [features.stride16] + [
            align_semantics(trunk(convert(images)).stride16, (grid[0], grid[1]))
            for trunk, convert in zip(self.others, self.conversions, strict=True)
        ]
        return features._replace(stride16=torch.cat(stacked, dim=1))

    def last_stage(self) -> nn.Module:
        return nn.ModuleList(trunk.last_stage() for trunk in self.parts)
