"""Starting a head exactly at the untrained trunk's own pooled descriptor.

PyTorch's defaults begin with a random mixture of channels; from there a small training set never
wins back what the mixture lost. From the trunk's own descriptor training can only add.
"""

from __future__ import annotations

import torch
from torch import nn

from saane_ros.model.attention import ChannelAttention, SpatialAttention
from saane_ros.model.fusion import Fusion, Projection
from saane_ros.model.heads import Head


@torch.no_grad()
def start_at_trunk(head: Head) -> None:
    """Appearance projections become orthogonal, semantics silent, every gate flat."""
    for name, module in head.named_modules():
        last_fusion = name == "fusion2" or (name == "fusion1" and not hasattr(head, "fusion2"))
        if isinstance(module, (Projection, Fusion)):
            _orthogonal(module.appearance)
        if isinstance(module, Fusion) and last_fusion:
            nn.init.zeros_(module.semantic.weight)
        if isinstance(module, ChannelAttention):
            nn.init.zeros_(module.excite.weight)
            nn.init.zeros_(module.excite.bias)
        if isinstance(module, SpatialAttention):
            nn.init.zeros_(module.convolution.weight)


def _orthogonal(convolution: nn.Conv2d) -> None:
    outputs, inputs = convolution.weight.shape[:2]
    if outputs == inputs:
        nn.init.dirac_(convolution.weight)
    else:
        nn.init.orthogonal_(convolution.weight)
