"""MOSAIC R4: a segmentation network for phones, as MLPerf Mobile v2.0 runs it.

Wang and Howard, MOSAIC: Mobile Segmentation via decoding Aggregated Information and encoded
Context, 2021. Layers are those of the published file, BatchNorm folded into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.averaging import averaged
from saane_ros.model.normalisation import IMAGENET_MEAN, IMAGENET_STD, Renormalisation
from saane_ros.model.semantics_output import SemanticOutput

OWN = (0.5, 0.5, 0.5)
"""Its images are value / 127.5 - 1: mean and std are both a half."""
GRIDS = (4, 8, 16)
"""Regions a side over which the context is averaged."""
KERNELS = (3, 5)


class Mosaic(nn.Module):
    """A MobileNet encoder, pooled context and a light decoder; 1.86 M parameters with 32 classes.

    mean, std: how the images that it gets are normalised.  channels: of the features.
    """

    def __init__(
        self,
        classes: int = 32,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.channels = 128
        self.renormalisation = Renormalisation(mean, std, OWN, OWN)
        self.stem = SameConv(3, 32, 3, stride=2)
        self.blocks = nn.ModuleList(Bottleneck(plan) for plan in PLANS)
        self.head = SameConv(96, 448, 1)
        self.spp = nn.ModuleList(Region(grid) for grid in GRIDS)
        self.context = SameConv(448 + len(GRIDS) * len(KERNELS) * 64, self.channels, 1)
        self.skip4 = SameConv(PLANS[SKIP4].middle, classes, 1)
        self.dec_conv = SameConv(self.channels + PLANS[SKIP8].middle, 64, 1)
        self.dec_dw = SameConv(64, 64, 3, groups=64)
        self.dec_pw = SameConv(64, classes, 1)

    def forward(self, images: Tensor) -> SemanticOutput:
        """Images B x 3 x h x w of any size; made for 256 to 512 pixels a side.

        features: B x 128 x h/16 x w/16, the context before the decoder.
        logits: B x classes x h/4 x w/4, none below 0.
        """
        x = self.stem(self.renormalisation(images))
        middles: list[Tensor] = []
        for block in self.blocks:
            x, middle = block(x)
            middles.append(middle)
        x = self.head(x)
        levels = [resized_from_origin(region(x), x.shape[-2:]) for region in self.spp]
        context = self.context(torch.cat([*levels, x], dim=1))
        return SemanticOutput(context, self._decoded(context, middles[SKIP8], middles[SKIP4]))

    def _decoded(self, context: Tensor, skip8: Tensor, skip4: Tensor) -> Tensor:
        x = torch.cat([resized_from_origin(context, skip8.shape[-2:]), skip8], dim=1)
        x = self.dec_pw(self.dec_dw(self.dec_conv(x)))
        return self.skip4(skip4) + resized_from_origin(x, skip4.shape[-2:])


class Plan(NamedTuple):
    """Channels of an inverted bottleneck, its depthwise kernel, stride and dilation."""

    inputs: int
    middle: int
    outputs: int
    size: int = 3
    stride: int = 1
    dilation: int = 1


PLANS = (
    Plan(32, 96, 32, stride=2),
    Plan(32, 64, 32),
    Plan(32, 160, 64, size=5, stride=2),
    Plan(64, 192, 64),
    Plan(64, 128, 64),
    Plan(64, 192, 64),
    Plan(64, 384, 128, size=5, stride=2),
    *[Plan(128, 384, 128)] * 3,
    Plan(128, 768, 160),
    Plan(160, 640, 160),
    Plan(160, 960, 192),
    Plan(192, 384, 96, size=5, dilation=2),
    *[Plan(96, 384, 96, size=5, dilation=2)] * 2,
)
SKIP4, SKIP8 = 1, 5
"""The blocks whose depthwise features, at stride 4 and 8, the decoder takes up again."""


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's padding "SAME", and a ReLU unless `activated` is false.

    With a stride it pads as the size asks, the odd row or column at the end.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        activated: bool = True,
    ) -> None:
        super().__init__(inputs, outputs, size, stride, dilation=dilation, groups=groups)
        self.reach, self.activated = dilation * (size - 1) + 1, activated

    def forward(self, x: Tensor) -> Tensor:
        stride = self.stride[0]
        padding: list[int] = []
        for side in (x.shape[-1], x.shape[-2]):
            missing = max(0, (-(-side // stride) - 1) * stride + self.reach - side)
            padding += (missing // 2, missing - missing // 2)
        y = super().forward(functional.pad(x, padding) if any(padding) else x)
        return functional.relu(y) if self.activated else y


class Bottleneck(nn.Module):
    """Expanded, convolved channel by channel, projected; added to its input where both fit."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        middle = plan.middle
        self.expand = SameConv(plan.inputs, middle, 1)
        self.depthwise = SameConv(middle, middle, plan.size, plan.stride, middle, plan.dilation)
        self.project = SameConv(middle, plan.outputs, 1, activated=False)
        self.adds = plan.stride == 1 and plan.inputs == plan.outputs

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and the depthwise features before they are projected."""
        middle = self.depthwise(self.expand(x))
        y = self.project(middle)
        return (x + y if self.adds else y), middle


class Region(nn.ModuleList):
    """Means over grid x grid regions; each half of the channels has a kernel of its own."""

    def __init__(self, grid: int) -> None:
        super().__init__(
            nn.Sequential(SameConv(224, 224, size, groups=224), SameConv(224, 64, 1))
            for size in KERNELS
        )
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """B x 448 x H x W to B x 128 x grid x grid."""
        halves = averaged(x, self.grid).chunk(len(KERNELS), dim=1)
        return torch.cat([branch(half) for branch, half in zip(self, halves, strict=True)], dim=1)


def resized_from_origin(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, with cell i of h at row i H / h of H: the first TensorFlow's, without centres.

    One more row and column on either side make it an interpolation between corners.
    """
    height, width = size
    if tuple(x.shape[-2:]) == (height, width):
        return x
    padded = functional.pad(x, (0, 1, 0, 1), mode="replicate")
    larger = (height + 1, width + 1)
    whole = functional.interpolate(padded, size=larger, mode="bilinear", align_corners=True)
    return whole[..., :height, :width]
