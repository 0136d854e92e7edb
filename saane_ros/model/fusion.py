"""Modality fusion: one bias-free 1x1 convolution per modality (SAANE, Eq. 1)."""

from __future__ import annotations

from torch import Tensor, nn


class Projection(nn.Module):
    """The part of a fusion that one modality takes: B x inputs x H x W to B x outputs x H x W."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.appearance = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, appearance: Tensor) -> Tensor:
        return self.appearance(appearance)


class Fusion(nn.Module):
    """Projects both modalities to the same channels; their sum is the fused feature.

    The paper's equation is linear, so there is neither bias nor BatchNorm nor ReLU.
    """

    def __init__(self, appearance: int, semantic: int, outputs: int) -> None:
        super().__init__()
        self.appearance = nn.Conv2d(appearance, outputs, 1, bias=False)
        self.semantic = nn.Conv2d(semantic, outputs, 1, bias=False)

    def forward(self, appearance: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor]:
        """The two projections, each B x outputs x H x W; F^M of Eq. 1 is their sum."""
        return self.appearance(appearance), self.semantic(semantic)
