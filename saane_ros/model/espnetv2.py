"""ESPNetv2 for segmentation, at the scale of its public Cityscapes weights (2.0).

Mehta et al., ESPNetv2: A Light-weight, Power Efficient, and General Purpose Convolutional Neural
Network, CVPR 2019, with the decoder of the authors' EdgeNets. Parameters have the names of their
checkpoints.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from math import ceil, gcd

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.averaging import averaged
from saane_ros.model.normalisation import IMAGENET_MEAN, IMAGENET_STD, Renormalisation
from saane_ros.model.semantics_output import SemanticOutput

BRANCHES = 4
ENCODER = (32, 128, 256, 512)
"""Channels at strides 2, 4, 8 and 16."""
DECODER = (64, 48, 32)
"""Channels at strides 16, 8 and 4, each before it is enlarged twofold."""
WIDE, NARROW = (1, 2, 3, 4), (1, 1, 2, 3)
"""Dilations of the branches; narrow ones where the grid is coarse."""
SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)
LEAST_SIDE = 5
"""Cells a side below which no scale of the pyramid goes."""


class EspNetV2(nn.Module):
    """Encoder to stride 16 and a bottom-up decoder to stride 2; 0.79 M parameters.

    mean, std: how the images that it gets are normalised.  channels: of the features.
    """

    align_corners = True

    def __init__(
        self,
        classes: int = 20,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.channels = DECODER[-1]
        self.renormalisation = Renormalisation(mean, std, IMAGENET_MEAN, IMAGENET_STD)
        self.base_net = Encoder()
        inner = max(1, min(classes // 2, 16))
        self.bu_dec_l1 = PyramidPool(ENCODER[3], inner, DECODER[0])
        self.bu_dec_l2 = PyramidPool(DECODER[0], inner, DECODER[1])
        self.bu_dec_l3 = PyramidPool(DECODER[1], inner, DECODER[2])
        self.bu_dec_l4 = PyramidPool(DECODER[2], inner, classes, last=True)
        self.merge_enc_dec_l2 = GatedConv(ENCODER[2], DECODER[0])
        self.merge_enc_dec_l3 = GatedConv(ENCODER[1], DECODER[1])
        self.merge_enc_dec_l4 = GatedConv(ENCODER[0], DECODER[2])
        self.bu_br_l2 = nn.Sequential(*_activation(DECODER[0]))
        self.bu_br_l3 = nn.Sequential(*_activation(DECODER[1]))
        self.bu_br_l4 = nn.Sequential(*_activation(DECODER[2]))

    def forward(self, images: Tensor) -> SemanticOutput:
        """Images B x 3 x h x w of any size; made for 512 x 1024.

        features: B x 32 x h/2 x w/2, what the block that scores classes sees.
        logits: B x classes x h/2 x w/2.
        """
        stride2, stride4, stride8, stride16 = self.base_net(self.renormalisation(images))
        x = self.bu_dec_l1(stride16)
        x = self.bu_dec_l2(self.bu_br_l2(_added(self.merge_enc_dec_l2(stride8), x)))
        x = self.bu_dec_l3(self.bu_br_l3(_added(self.merge_enc_dec_l3(stride4), x)))
        features = self.bu_br_l4(_added(self.merge_enc_dec_l4(stride2), x))
        return SemanticOutput(features, self.bu_dec_l4(features))


class Encoder(nn.Module):
    """The classification network up to stride 16."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third, fourth = ENCODER
        self.level1 = _conv(3, first, 3, stride=2)
        self.level2_0 = DownSampler(first, second)
        self.level3_0 = DownSampler(second, third)
        self.level3 = nn.ModuleList(Eesp(third, third, WIDE) for _ in range(3))
        self.level4_0 = DownSampler(third, fourth)
        self.level4 = nn.ModuleList(Eesp(fourth, fourth, NARROW) for _ in range(7))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """B x 3 x h x w to the features at strides 2, 4, 8 and 16."""
        stride2 = self.level1(images)
        image = _halved(_halved(images))
        stride4 = self.level2_0(stride2, image)
        image = _halved(image)
        stride8 = self.level3_0(stride4, image)
        for unit in self.level3:
            stride8 = unit(stride8)
        stride16 = self.level4_0(stride8, _halved(image))
        for unit in self.level4:
            stride16 = unit(stride16)
        return stride2, stride4, stride8, stride16


class Eesp(nn.Module):
    """Depthwise dilated convolutions side by side, each added to those before it (Fig. 1c).

    Its output is added to its input; `merged` is the part before.
    """

    def __init__(
        self, inputs: int, outputs: int, dilations: tuple[int, ...], stride: int = 1
    ) -> None:
        super().__init__()
        branch = outputs // BRANCHES
        self.proj_1x1 = _conv(inputs, branch, 1, groups=BRANCHES)
        self.spp_dw = nn.ModuleList(_dilated(branch, dilation, stride) for dilation in dilations)
        self.br_after_cat = nn.Sequential(_named(bn=nn.BatchNorm2d(outputs), act=nn.PReLU(outputs)))
        self.conv_1x1_exp = _conv(outputs, outputs, 1, groups=BRANCHES, activated=False)
        self.module_act = nn.PReLU(outputs)

    def merged(self, x: Tensor) -> Tensor:
        reduced = self.proj_1x1(x)
        fused = accumulate(convolve(reduced) for convolve in self.spp_dw)
        return self.conv_1x1_exp(self.br_after_cat(torch.cat(list(fused), dim=1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.module_act(self.merged(x) + x)


class DownSampler(nn.Module):
    """Half the grid: averages beside an EESP unit, and the image itself once more (Fig. 2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.eesp = Eesp(inputs, outputs - inputs, WIDE, stride=2)
        self.inp_reinf = nn.Sequential(_conv(3, 3, 3), _conv(3, outputs, 1, activated=False))
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """image: B x 3, already on the grid of the output."""
        halved = torch.cat([_halved(x), self.eesp.merged(x)], dim=1)
        return self.act(halved + self.inp_reinf(image))


class PyramidPool(nn.Module):
    """Depthwise convolutions of the map at several scales, merged.

    last: it scores classes, so its outputs have a bias and no activation.
    """

    def __init__(self, inputs: int, inner: int, outputs: int, last: bool = False) -> None:
        super().__init__()
        self.projection_layer = _wrapped("cbr", inputs, inner, 1)
        self.stages = nn.ModuleList(
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False) for _ in SCALES
        )
        self.merge_layer = nn.Sequential(
            nn.Sequential(_named(br=nn.Sequential(*_activation(inner * len(SCALES))))),
            nn.ChannelShuffle(len(SCALES)),
            _wrapped("cbr", inner * len(SCALES), inner, 3, groups=inner),
            nn.Conv2d(inner, outputs, 1, bias=last),
        )
        if not last:
            self.br = nn.Sequential(_named(br=nn.Sequential(*_activation(outputs))))
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        x = self.projection_layer(x)
        pairs = zip(SCALES, self.stages, strict=True)
        x = self.merge_layer(torch.cat([_at_scale(x, scale, stage) for scale, stage in pairs], 1))
        return x if self.last else self.br(x)


class GatedConv(nn.Module):
    """A grouped convolution whose channels are weighed by the mean of its input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.wt_layer = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, outputs, 1, bias=False), nn.Sigmoid()
        )
        self.expansion_layer = _wrapped("cbr", inputs, outputs, 3, groups=gcd(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.expansion_layer(x) * self.wt_layer(x)


def _at_scale(x: Tensor, scale: float, convolve: nn.Module) -> Tensor:
    """Convolve at another size and come back: pooled where it shrinks, else interpolated."""
    size = (x.shape[-2], x.shape[-1])
    if scale == 1:
        return convolve(x)
    height, width = (max(LEAST_SIDE, ceil(side * scale)) for side in size)
    if scale < 1:
        pooled = averaged(x, (height, width))
        return _enlarged(convolve(pooled), size)
    return averaged(convolve(_enlarged(x, (height, width))), size)


def _added(fine: Tensor, coarse: Tensor) -> Tensor:
    return fine + _enlarged(coarse, fine.shape[-2:])


def _enlarged(x: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


def _halved(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, stride=2, padding=1)


def _named(**parts: nn.Module) -> OrderedDict[str, nn.Module]:
    return OrderedDict(parts)


def _activation(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.PReLU(channels)


def _dilated(channels: int, dilation: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(
        channels, channels, 3, stride, dilation, dilation, groups=channels, bias=False
    )
    return nn.Sequential(_named(conv=convolution))


def _conv(
    inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1, activated: bool = True
) -> nn.Sequential:
    """Convolution and BatchNorm with names, as in the encoder."""
    convolution = nn.Conv2d(
        inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False
    )
    parts = _named(conv=convolution, bn=nn.BatchNorm2d(outputs))
    return nn.Sequential(parts | _named(act=nn.PReLU(outputs)) if activated else parts)


def _wrapped(name: str, inputs: int, outputs: int, size: int, groups: int = 1) -> nn.Sequential:
    """The same with numbers under one name, as in the decoder."""
    return nn.Sequential(
        OrderedDict({name: nn.Sequential(*_conv(inputs, outputs, size, groups=groups))})
    )
