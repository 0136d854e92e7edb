"""Generalised mean pooling (Radenovic et al., TPAMI 2018) and the descriptors built on it.

CosPlace: Berton et al., CVPR 2022; EigenPlaces, the same layer: Berton et al., ICCV 2023.
SelaVPR: Lu et al., ICLR 2024; SelaVPR++: Lu et al., TPAMI 2025.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.heads import Head, HeadOutput

SMALLEST = 1e-6
"""Values below are raised to it, as every author of the layer does."""


class GeM(nn.Module):
    """(mean of x^p)^(1/p) over the cells, p learned: 1 is the mean, a large p the maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features B x C x H x W to B x C, and each cell's share in it, B x 1 x H x W, sum 1.

        The share is that of the cell's x^p in the channel's sum, the mean over channels.
        """
        p = self.p.float()
        powers = features.float().clamp(min=SMALLEST).pow(p)
        share = powers / powers.sum(dim=(2, 3), keepdim=True)
        return powers.mean(dim=(2, 3)).pow(1 / p), share.mean(dim=1, keepdim=True)


class GemHead(Head):
    """GeM, to unit length; then, where `output` is not 0, a learned whitening, to unit length."""

    uses_semantics = False

    def __init__(self, inputs: int, output: int = 0) -> None:
        super().__init__()
        self.gem = GeM()
        self.projection = nn.Linear(inputs, output) if output else nn.Identity()
        self.descriptor_size = output or inputs

    def forward(self, appearance: Tensor, semantic: Tensor | None = None) -> HeadOutput:
        pooled, share = self.gem(self.local_features(appearance))
        return HeadOutput(self.projected(self.normalised(pooled)), strongest_one(share))

    def local_features(self, appearance: Tensor) -> Tensor:
        """What is pooled, B x C x H x W."""
        return appearance

    def normalised(self, pooled: Tensor) -> Tensor:
        return functional.normalize(pooled, dim=1)

    def projected(self, pooled: Tensor) -> Tensor:
        """B x C to unit descriptors, float32 also from half-precision weights."""
        if isinstance(self.projection, nn.Linear):
            pooled = self.projection(pooled.to(self.projection.weight.dtype)).float()
        return functional.normalize(pooled, dim=1)


class CosPlace(GemHead):
    """Every cell to unit length before GeM, a fully connected layer behind it.

    output: 0 for SelaVPR (`local_branch.py`), which has none.  mix: SelaVPR++ alone, a layer that
    every cell goes through first.
    """

    def __init__(self, inputs: int, output: int = 0, mix: bool = False) -> None:
        super().__init__(inputs, output)
        self.mix = nn.Conv2d(inputs, inputs, 1) if mix else nn.Identity()

    def local_features(self, appearance: Tensor) -> Tensor:
        return functional.normalize(self.mix(appearance).float(), dim=1)

    def normalised(self, pooled: Tensor) -> Tensor:
        return pooled


def strongest_one(weights: Tensor) -> Tensor:
    """Weights of the cells, B x 1 x H x W and not negative, scaled so that the largest is 1."""
    largest = weights.amax(dim=(2, 3), keepdim=True)
    return weights / largest.clamp(min=torch.finfo(weights.dtype).tiny)
