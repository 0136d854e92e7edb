"""Images normalised for one network, as another one wants them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Renormalisation(nn.Module):
    """The affine step from images normalised by `mean` and `std` to those by `to_mean`, `to_std`.

    Without weights of its own: nothing of it is in a state dict.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        to_mean: Sequence[float],
        to_std: Sequence[float],
    ) -> None:
        super().__init__()
        here, spread, there, to_spread = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std, to_mean, to_std)
        )
        self.register_buffer("scale", spread / to_spread, persistent=False)
        self.register_buffer("shift", (here - there) / to_spread, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images B x 3 x h x w, normalised anew."""
        return images * self.scale + self.shift
