"""Channel and spatial attention (SAANE, Eq. 2 and 3), after CBAM (Woo et al. 2018).

CBAM's code has a BatchNorm behind the 7x7 convolution and feeds [max, mean]; SAANE's equations
have no BatchNorm and write [mean; max], and that is what stands here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """M_c = sigmoid(phi(mean_xy F) + phi(max_xy F)), phi a two-layer MLP (Eq. 2)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Features B x C x H x W to weights B x C x 1 x 1 in (0, 1)."""
        mean = self._phi(features.mean(dim=(2, 3)))
        peak = self._phi(features.amax(dim=(2, 3)))
        return torch.sigmoid(mean + peak)[:, :, None, None]

    def _phi(self, summary: Tensor) -> Tensor:
        return self.excite(torch.relu(self.squeeze(summary)))


class SpatialAttention(nn.Module):
    """S = sigmoid(W * [mean_c F; max_c F]) with one 7x7 convolution (inside Eq. 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features B x C x H x W to a map B x 1 x H x W in (0, 1)."""
        summary = torch.cat(
            [features.mean(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)], dim=1
        )
        return torch.sigmoid(self.convolution(summary))
