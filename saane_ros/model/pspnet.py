"""PSPNet on a dilated ResNet-50: the semantic network of the paper.

Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, in the two forms that have public ADE20K
weights (CSAILVision and semseg). SAANE, section 3: F^S is the tensor before the last convolution.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import Bottleneck, conv1x1

from saane_ros.model.averaging import averaged
from saane_ros.model.semantics_output import SemanticOutput

BINS = (1, 2, 3, 6)
STRIDE = 8


@dataclass(frozen=True)
class Variant:
    """How the public implementations differ: weights of one do not work in the other.

    first_dilations: of the first 3x3 convolution of layer3 and layer4 (the others have 2 and 4).
    align_corners: of every bilinear interpolation.  A side of the input must be a multiple of
    8 plus `side_offset`, so that the feature grid spans the image as in training.
    """

    first_dilations: tuple[int, int]
    align_corners: bool
    side_offset: int


VARIANTS = {
    "csail": Variant(first_dilations=(1, 2), align_corners=False, side_offset=0),
    "semseg": Variant(first_dilations=(2, 4), align_corners=True, side_offset=1),
}


class PspNet(nn.Module):
    """variant: a key of VARIANTS.  channels: of the features.  align_corners: see Variant."""

    def __init__(self, variant: str = "csail", classes: int = 150) -> None:
        super().__init__()
        self.variant = VARIANTS[variant]
        self.align_corners = self.variant.align_corners
        self.channels = 512
        self.stem = nn.Sequential(_conv(3, 64, 3, stride=2), _conv(64, 64, 3), _conv(64, 128, 3))
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        first3, first4 = self.variant.first_dilations
        self.layer1 = _stage(128, 64, 3)
        self.layer2 = _stage(256, 128, 4, stride=2)
        self.layer3 = _stage(512, 256, 6, first_dilation=first3, dilation=2)
        self.layer4 = _stage(1024, 512, 3, first_dilation=first4, dilation=4)
        self.ppm = nn.ModuleList(_conv(2048, 512, 1) for _ in BINS)
        self.bottleneck = _conv(2048 + 512 * len(BINS), 512, 3)
        self.dropout = nn.Dropout2d(0.1)
        self.classifier = nn.Conv2d(512, classes, 1)

    def forward(self, images: Tensor) -> SemanticOutput:
        """Normalised images B x 3 x h x w of any size to features and logits on one grid.

        Images whose sides do not fit are first resized to the nearest that do (`fitting_side`).
        features: B x 512 x H x W.  logits: B x classes x H x W.  With fitting sides H = h/8 for
        csail and (h-1)/8 + 1 for semseg, likewise W.
        """
        x = self.maxpool(self.stem(self._fitted(images)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        features = self.bottleneck(self.pyramid(x))
        return SemanticOutput(features, self.classifier(self.dropout(features)))

    def pyramid(self, features: Tensor) -> Tensor:
        """B x 2048 x H x W to B x 4096 x H x W: the features, then their means over 1, 2x2, 3x3
        and 6x6 regions, each projected to 512 channels and interpolated back."""
        levels = [
            self._resized(convolve(averaged(features, bins)), features)
            for bins, convolve in zip(BINS, self.ppm, strict=True)
        ]
        return torch.cat([features, *levels], dim=1)

    def fitting_side(self, side: int) -> int:
        """The nearest side in pixels that the variant was made for."""
        offset = self.variant.side_offset
        return max(STRIDE, round((side - offset) / STRIDE) * STRIDE) + offset

    def _fitted(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        size = (self.fitting_side(height), self.fitting_side(width))
        if size == (height, width):
            return images
        return functional.interpolate(
            images, size=size, mode="bilinear", align_corners=self.align_corners
        )

    def _resized(self, level: Tensor, like: Tensor) -> Tensor:
        return functional.interpolate(
            level, size=like.shape[-2:], mode="bilinear", align_corners=self.align_corners
        )


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    parts = {"conv": convolution, "bn": nn.BatchNorm2d(outputs), "relu": nn.ReLU(inplace=True)}
    return nn.Sequential(OrderedDict(parts))


def _stage(
    inputs: int, width: int, count: int, stride: int = 1, first_dilation: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Bottlenecks of `width` inner channels; a stage strides or dilates, never both."""
    outputs = width * Bottleneck.expansion
    downsample = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
    first = Bottleneck(inputs, width, stride, downsample, dilation=first_dilation)
    rest = (Bottleneck(outputs, width, dilation=dilation) for _ in range(count - 1))
    return nn.Sequential(first, *rest)
