"""Small trained layers in or beside the frozen blocks of a DINOv2.

SelaVPR: Lu et al., ICLR 2024, section 3.2. CricaVPR: Lu et al., CVPR 2024, section 3.3.
SelaVPR++: Lu et al., TPAMI 2025, section III-B. Parameters have their published names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

PARALLEL_SCALE = 0.2
"""How much an adapter parallel to the MLP counts, in SelaVPR and CricaVPR."""
SIDE_BLOCKS = 16
"""SelaVPR++ has side adapters behind the last so many blocks."""

Grid = tuple[int, int]


class Bottleneck(nn.Module):
    """Down to half the width, ReLU, up again."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.D_fc1 = nn.Linear(width, width // 2)
        self.D_fc2 = nn.Linear(width // 2, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """B x n x C."""
        return self.D_fc2(self.D_fc1(tokens).relu())


class MultiScaleAdapter(nn.Module):
    """A bottleneck whose patch tokens are convolved by 1x1, 3x3 and 5x5 on their grid.

    Half of the bottleneck's channels come from 1x1, a quarter from each of the others.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // 2
        half, quarter, squeezed = inner // 2, inner // 4, inner // 16
        self.D_fc1 = nn.Linear(width, inner)
        self.D_fc2 = nn.Linear(inner, width)
        self.branch1 = NormedConv(inner, half, 1)
        self.branch2 = nn.Sequential(
            NormedConv(inner, squeezed, 1), NormedConv(squeezed, quarter, 3)
        )
        self.branch3 = nn.Sequential(
            NormedConv(inner, squeezed, 1), NormedConv(squeezed, quarter, 5)
        )

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Class token and patches of a grid, B x (1 + rows * columns) x C."""
        low = self.D_fc1(tokens).relu()
        cells = low[:, 1:].transpose(1, 2).unflatten(2, grid)
        mixed = torch.cat([branch(cells) for branch in self._branches()], dim=1)
        changed = torch.cat([low[:, :1], mixed.flatten(2).transpose(1, 2)], dim=1)
        return self.D_fc2(changed + low)

    def _branches(self) -> tuple[nn.Module, ...]:
        return self.branch1, self.branch2, self.branch3


class NormedConv(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, side, padding=side // 2)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, cells: Tensor) -> Tensor:
        return self.bn(self.conv(cells)).relu()


class AdaptedBlock(nn.Module):
    """A block of timm's DINOv2, its parts under their own names, with room for adapters."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm1, self.attn, self.ls1 = block.norm1, block.attn, block.ls1
        self.norm2, self.mlp, self.ls2 = block.norm2, block.mlp, block.ls2


class SelaBlock(AdaptedBlock):
    """One adapter behind the attention, one beside the MLP."""

    def __init__(self, block: Any, width: int) -> None:
        super().__init__(block)
        self.adapter1, self.adapter2 = Bottleneck(width), Bottleneck(width)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        attended = self.attn(self.norm1(tokens))
        tokens = tokens + self.ls1(attended + self.adapter1(attended))
        normed = self.norm2(tokens)
        return tokens + self.ls2(self.mlp(normed) + PARALLEL_SCALE * self.adapter2(normed))


class CricaBlock(AdaptedBlock):
    """A multi-scale adapter beside the MLP."""

    def __init__(self, block: Any, width: int) -> None:
        super().__init__(block)
        self.adapter = MultiScaleAdapter(width)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        normed = self.norm2(tokens)
        return tokens + self.ls2(self.mlp(normed) + PARALLEL_SCALE * self.adapter(normed, grid))


BLOCKS: dict[str, type[SelaBlock] | type[CricaBlock]] = {
    "selavpr": SelaBlock,
    "cricavpr": CricaBlock,
}


class SideAdapters(nn.ModuleList):
    """A second stream of tokens beside untouched blocks: y <- y + adapter(y + x) behind each.

    It begins at the embedded patches, or where there are more blocks than adapters, behind the
    last block without one.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(MultiScaleAdapter(width) for _ in range(min(depth, SIDE_BLOCKS)))

    def forward(self, tokens: Tensor, blocks: Iterable[nn.Module], grid: Grid) -> Tensor:
        before = list(blocks)
        for block in before[: -len(self)]:
            tokens = block(tokens)
        side = tokens
        for block, adapter in zip(before[-len(self) :], self, strict=True):
            tokens = block(tokens)
            side = side + adapter(side + tokens, grid)
        return side
