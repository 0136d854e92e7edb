"""MixVPR (Ali-bey et al., WACV 2023): feature maps mixed as wholes by small perceptrons."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from saane_ros.errors import SaaneError
from saane_ros.model.gem import strongest_one
from saane_ros.model.heads import Head, HeadOutput

STRIDE = 16
"""Pixels a cell, of the third stage of a ResNet."""


class FeatureMixer(nn.Module):
    """X + W2 ReLU(W1 norm(X)), the same for every flattened map of n cells (Eq. 1)."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.LayerNorm(cells), nn.Linear(cells, cells), nn.ReLU(), nn.Linear(cells, cells)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """B x C x n."""
        return maps + self.mix(maps)


class MixVpr(Head):
    """Mixers, then a projection of the channels and one of the cells to a few rows.

    grid: cells of the features, which the perceptrons are built for and no other image fits.
    Attention: how long the part is that a mixed cell puts into the rows.
    """

    uses_semantics = False

    def __init__(
        self, inputs: int, grid: tuple[int, int], channels: int, rows: int, depth: int
    ) -> None:
        super().__init__()
        self.grid, cells = grid, grid[0] * grid[1]
        self.mix = nn.Sequential(*(FeatureMixer(cells) for _ in range(depth)))
        self.channel_proj = nn.Linear(inputs, channels)
        self.row_proj = nn.Linear(cells, rows)
        self.descriptor_size = channels * rows

    def forward(self, appearance: Tensor, semantic: Tensor | None = None) -> HeadOutput:
        self._require_grid(appearance)
        mixed = self.mix(appearance.flatten(2))
        cells = self.channel_proj(mixed.transpose(1, 2))
        rows = self.row_proj(cells.transpose(1, 2)).float()
        # The rows are sums over cells i of (column i of W) (cell i)^T, each of rank one.
        part = cells.float().norm(dim=2) * self.row_proj.weight.float().norm(dim=0)
        share = strongest_one(part.unflatten(1, self.grid)[:, None])
        return HeadOutput(functional.normalize(rows.flatten(1), dim=1), share)

    def require_cells(self, tensors: Mapping[str, Tensor], what: str) -> None:
        """SaaneError where weights were made for another number of cells than the card's images."""
        cells = self.grid[0] * self.grid[1]
        made = tensors["row_proj.weight"].shape[-1] if "row_proj.weight" in tensors else cells
        if made != cells:
            side = STRIDE * math.isqrt(made)
            raise SaaneError(
                f"{what} was made for {made} cells, as of {side} x {side} pixels, and the card's "
                f"preprocessing gives {self.grid[0]} x {self.grid[1]}: set it back."
            )

    def _require_grid(self, appearance: Tensor) -> None:
        found = tuple(appearance.shape[-2:])
        if found != self.grid:
            raise SaaneError(
                f"MixVPR was built for {self.grid[0]} x {self.grid[1]} cells of features and the "
                f"image has {found[0]} x {found[1]}: keep the card's preprocessing and trunk."
            )
