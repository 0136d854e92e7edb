"""A U-Net on a trunk that the appearance stream computes anyway.

Ronneberger et al. 2015, with the trunk as its encoder: each stage of the decoder doubles the grid,
takes the trunk's features of that grid beside its own, and convolves both twice.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from saane_ros.model.appearance import Trunk, TrunkFeatures
from saane_ros.model.semantics_output import SemanticOutput


class UNet(nn.Module):
    """Trunk features at strides 16, 8, 4 and 2 to a semantic tap and class logits at stride 2.

    channels: of the tap; the stages before it have four and two times as many.
    """

    levels = ("stride2", "stride4", "stride8", "stride16")

    def __init__(self, trunk: Trunk, channels: int, classes: int) -> None:
        super().__init__()
        self.channels = channels
        skips = (trunk.channels8, trunk.channels4, trunk.channels2)
        outputs = (4 * channels, 2 * channels, channels)
        inputs = (trunk.channels16, *outputs[:-1])
        self.stages = nn.ModuleList(
            _stage(below + skip, out)
            for below, skip, out in zip(inputs, skips, outputs, strict=True)
        )
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, trunk: TrunkFeatures) -> SemanticOutput:
        """features: B x channels x h/2 x w/2.  logits: B x classes x h/2 x w/2."""
        x = trunk.stride16
        for stage, skip in zip(
            self.stages, (trunk.stride8, trunk.stride4, trunk.stride2), strict=True
        ):
            enlarged = functional.interpolate(
                x, size=skip.shape[-2:], mode="bilinear", align_corners=False
            )
            x = stage(torch.cat([enlarged, skip], dim=1))
        return SemanticOutput(x, self.classifier(x))


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
