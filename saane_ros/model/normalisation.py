"""Images normalised for one network, converted for another that was trained otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Renormalised(nn.Module):
    """(x * std + mean - other mean) / other std, per channel, of images B x 3 x h x w."""

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        other_mean: Sequence[float],
        other_std: Sequence[float],
    ) -> None:
        super().__init__()
        from_mean, from_std, to_mean, to_std = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std, other_mean, other_std)
        )
        self.register_buffer("scale", from_std / to_std, persistent=False)
        self.register_buffer("shift", (from_mean - to_mean) / to_std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale + self.shift
