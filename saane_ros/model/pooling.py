"""Spatial pyramid pooling and the descriptor's normalisation (SAANE, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.averaging import averaged

DESCRIPTOR_NORM = 10.0

POOLS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "max": functional.adaptive_max_pool2d,
    "avg": averaged,
}


class SpatialPyramidPooling(nn.Module):
    """Pools onto n x n grids and concatenates, row-major, in the order of `levels`.

    pool: "max" as in the pyramids that the paper builds on, or "avg".
    """

    def __init__(self, levels: tuple[int, ...] = (4, 3, 2, 1), pool: str = "max") -> None:
        super().__init__()
        self.levels = levels
        self.pool = POOLS[pool]

    @property
    def cells(self) -> int:
        return sum(level * level for level in self.levels)

    def forward(self, features: Tensor, static: Tensor | None = None) -> Tensor:
        """Features B x C x H x W to B x (C * cells).

        static: weights of the cells, B x 1 x H x W. A cell of weight 0 is no candidate for a
        maximum, which its zeros would win among negative features; a field without any other
        cell is 0.
        """
        if static is not None and self.pool is functional.adaptive_max_pool2d:
            absent = torch.finfo(features.dtype).min
            pooled = self._levels(features.masked_fill(static == 0, absent))
            return pooled.masked_fill(pooled == absent, 0)
        return self._levels(features)

    def _levels(self, features: Tensor) -> Tensor:
        return torch.cat([self.pool(features, n).flatten(1) for n in self.levels], dim=1)


def scaled_unit(descriptors: Tensor) -> Tensor:
    """Descriptors B x D at Euclidean norm 10, float32 also from half-precision features."""
    return DESCRIPTOR_NORM * functional.normalize(descriptors.float(), dim=1, eps=1e-12)
