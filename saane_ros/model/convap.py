"""Conv-AP (Ali-bey et al., Neurocomputing 2022): a 1x1 convolution, averaged over a coarse grid."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.averaging import averaged
from saane_ros.model.heads import Head, HeadOutput


class ConvAp(Head):
    """B x (channels * rows * rows), channel by channel, to unit length."""

    uses_semantics = False

    def __init__(self, inputs: int, channels: int, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.channel_pool = nn.Conv2d(inputs, channels, 1)
        self.descriptor_size = channels * rows * rows

    def forward(self, appearance: Tensor, semantic: Tensor | None = None) -> HeadOutput:
        cells = self.channel_pool(appearance).float()
        means = averaged(cells, self.rows)
        return HeadOutput(functional.normalize(means.flatten(1), dim=1))
