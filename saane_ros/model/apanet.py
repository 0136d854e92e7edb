"""APANet and APANet-MM: attention over the regions of a pyramid (Zhu et al., ACM MM 2018).

A reconstruction: the original's text and code are not fully known. Taken from its abstract, from
an unfinished public port and from how the SAANE paper uses it: no softmax over scores, which start
as the mean of a region's values; regions of fixed proportions, whose borders are rounded outwards.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.fusion import Fusion
from saane_ros.model.heads import Head, HeadOutput
from saane_ros.model.pooling import scaled_unit

SCALES = (1, 2, 3)


class Region(NamedTuple):
    """Rows top to bottom and columns left to right of a grid, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int


def pyramid_regions(grid: tuple[int, int], scales: tuple[int, ...] = SCALES) -> list[Region]:
    """n x n windows for every scale n, each 2/(n+1) of a side and half overlapped by the next."""
    found = []
    for n in scales:
        spans = [[_span(i, n, side) for i in range(n)] for side in grid]
        found += [Region(*rows, *columns) for rows in spans[0] for columns in spans[1]]
    return found


def _span(index: int, count: int, side: int) -> tuple[int, int]:
    step = side / (count + 1)
    return math.floor(index * step), min(side, math.ceil((index + 2) * step))


class CascadeAttention(nn.Module):
    """Two blocks: a query v_0 weighs the regions, their sum makes the query that weighs again."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.full((channels,), channels**-0.5))
        self.refine = nn.Linear(channels, channels)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Regions B x R x D to their weighted sum B x D and the weights B x R."""
        unit = functional.normalize(regions, dim=2, eps=1e-12)
        first = torch.einsum("brd,d->br", unit, self.query)
        query = self.refine(torch.einsum("br,brd->bd", first, regions))
        second = torch.einsum("brd,bd->br", unit, query)
        return torch.einsum("br,brd->bd", second, regions), second


class RegionAttention(nn.Module):
    """Max-pooled regions of a feature map behind a cascade."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cascade = CascadeAttention(channels)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features B x D x H x W to B x D and a map B x 1 x H x W in [0, 1]."""
        height, width = features.shape[-2:]
        regions = pyramid_regions((height, width))
        pooled = [
            features[:, :, r.top : r.bottom, r.left : r.right].amax(dim=(2, 3)) for r in regions
        ]
        summed, weights = self.cascade(torch.stack(pooled, dim=1))
        return summed, attention_map(weights, regions, (height, width))


def attention_map(weights: Tensor, regions: list[Region], grid: tuple[int, int]) -> Tensor:
    """The mean magnitude of the weights of the regions over each cell, the largest 1.

    A region counts as much with a negative weight as with a positive one.
    """
    covered = weights.new_zeros(len(regions), *grid)
    for index, r in enumerate(regions):
        covered[index, r.top : r.bottom, r.left : r.right] = 1
    total = torch.einsum("br,rhw->bhw", weights.abs(), covered)
    mean = (total / covered.sum(dim=0))[:, None]
    return mean / mean.amax(dim=(2, 3), keepdim=True).clamp(min=1e-12)


class ApaNet(Head):
    """One cascade over the appearance features, projected to `channels`."""

    uses_semantics = False

    def __init__(self, c_a: int, channels: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(c_a, channels, 1, bias=False)
        self.attention = RegionAttention(channels)
        self.descriptor_size = channels

    def forward(self, appearance: Tensor, semantic: Tensor | None = None) -> HeadOutput:
        summed, attention = self.attention(self.projection(appearance))
        return HeadOutput(scaled_unit(summed), attention)


class ApaNetMultiModal(Head):
    """One cascade per modality over the fused projections of SAANE's Eq. 1, their outputs added."""

    def __init__(self, c_a: int, c_s: int, channels: int) -> None:
        super().__init__()
        self.fusion1 = Fusion(c_a, c_s, channels)
        self.attention_appearance = RegionAttention(channels)
        self.attention_semantic = RegionAttention(channels)
        self.descriptor_size = channels

    def forward(self, appearance: Tensor, semantic: Tensor) -> HeadOutput:
        f_a, f_s = self.fusion1(appearance, semantic)
        summed_a, map_a = self.attention_appearance(f_a)
        summed_s, map_s = self.attention_semantic(f_s)
        return HeadOutput(scaled_unit(summed_a + summed_s), map_a, map_s)
