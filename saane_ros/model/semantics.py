"""A light PSPNet on a trunk that the appearance stream computes anyway.

For CPUs and embedded boards: pyramid pooling (Zhao et al. 2017) over layer3, refined by layer2.
The full PSPNet of the paper is in `pspnet.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.appearance import TrunkFeatures
from saane_ros.model.averaging import averaged
from saane_ros.model.semantics_output import SemanticOutput

BINS = (1, 2, 3, 6)


class LightPspNet(nn.Module):
    """Trunk features to a semantic tap and class logits, both at stride 8.

    squeeze: channels to which a wide stride 16 is reduced first, 0 to keep it.
    """

    levels = ("stride8", "stride16")

    def __init__(
        self, channels8: int, channels16: int, channels: int, classes: int, squeeze: int = 0
    ) -> None:
        super().__init__()
        self.channels = channels
        self.squeeze = _conv(channels16, squeeze, 1) if squeeze else nn.Identity()
        channels16 = squeeze or channels16
        branch = channels16 // len(BINS)
        self.pyramid = nn.ModuleList(_conv(channels16, branch, 1) for _ in BINS)
        self.context = _conv(channels16 + branch * len(BINS), channels, 3)
        self.lateral = _conv(channels8, channels, 1)
        self.bottleneck = _conv(channels, channels, 3)
        self.dropout = nn.Dropout2d(0.1)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, trunk: TrunkFeatures) -> SemanticOutput:
        """features: B x channels x h/8 x w/8.  logits: B x classes x h/8 x w/8."""
        deep, fine = self.squeeze(trunk.stride16), trunk.stride8
        levels = [
            _resize(convolve(averaged(deep, bins)), deep.shape[-2:])
            for bins, convolve in zip(BINS, self.pyramid, strict=True)
        ]
        context = self.context(torch.cat([deep, *levels], dim=1))
        features = self.bottleneck(_resize(context, fine.shape[-2:]) + self.lateral(fine))
        return SemanticOutput(features, self.classifier(self.dropout(features)))


def _conv(inputs: int, outputs: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _resize(features: Tensor, size: torch.Size) -> Tensor:
    return functional.interpolate(features, size=size, mode="bilinear", align_corners=False)
