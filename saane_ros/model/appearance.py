"""Appearance features: a ResNet up to its third stage, or its fourth.

SAANE, section 3: F^A is the output of the third residual block of an ImageNet ResNet-50.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


class TrunkFeatures(NamedTuple):
    """The output of every stage, B x channels x h/stride x w/stride: conv1 and layer1 to layer3.

    stride16: the grid that heads take, whatever its stride: 14 of a DINOv2, 32 of a layer4.
    token: B x channels, the class token of a vision transformer.
    """

    stride2: Tensor
    stride4: Tensor
    stride8: Tensor
    stride16: Tensor
    token: Tensor | None = None


class Trunk(nn.Module, ABC):
    """What other blocks know of a trunk: the channels of its features by stride."""

    channels2: int
    channels4: int
    channels8: int
    channels16: int

    @abstractmethod
    def last_stage(self) -> nn.Module:
        """The layers behind the features at stride 8, which fine-tuning trains."""


class ResNetTrunk(Trunk):
    """conv1 to layer3 under torchvision's own parameter names.

    width: channels of the first stage, 64 in torchvision; less for small boards.
    stride_on: the convolution of a bottleneck that strides. "conv2" is torchvision's v1.5;
        "conv1" the original v1, as in weights converted from Caffe or Keras.
    tap: "layer4" for the features behind one stage more, at stride 32, instead of layer3's.
    """

    def __init__(
        self, name: str = "resnet50", width: int = 64, stride_on: str = "conv2", tap: str = ""
    ) -> None:
        super().__init__()
        block = Bottleneck if name == "resnet50" else BasicBlock
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        blocks = DEPTHS[name]
        inputs = width
        self.layer1 = _stage(block, inputs, width, blocks[0], stride=1)
        inputs = width * block.expansion
        self.layer2 = _stage(block, inputs, 2 * width, blocks[1], stride=2)
        self.layer3 = _stage(block, 2 * inputs, 4 * width, blocks[2], stride=2)
        self.channels2, self.channels4, self.channels8 = width, inputs, 2 * inputs
        self.channels16 = 4 * inputs
        self.layer4: nn.Module = nn.Identity()
        if tap == "layer4":
            self.layer4 = _stage(block, 4 * inputs, 8 * width, blocks[3], stride=2)
            self.channels16 = 8 * inputs
        if stride_on == "conv1":
            _move_stride_to_conv1(self.layer2, self.layer3)

    def forward(self, images: Tensor) -> TrunkFeatures:
        """Images B x 3 x h x w, normalised, to the features of all stages."""
        stride2 = self.relu(self.bn1(self.conv1(images)))
        stride4 = self.layer1(self.maxpool(stride2))
        stride8 = self.layer2(stride4)
        return TrunkFeatures(stride2, stride4, stride8, self.layer4(self.layer3(stride8)))

    def last_stage(self) -> nn.Module:
        return nn.ModuleList([self.layer3, self.layer4])


def _move_stride_to_conv1(*stages: nn.Sequential) -> None:
    for stage in stages:
        first = stage[0]
        if isinstance(first, Bottleneck):
            first.conv1.stride, first.conv2.stride = (2, 2), (1, 1)


def _stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, width: int, count: int, stride: int
) -> nn.Sequential:
    outputs = width * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
    first = _block(block, inputs, width, stride, downsample)
    rest = [_block(block, outputs, width, 1, None) for _ in range(count - 1)]
    return nn.Sequential(first, *rest)


def _block(
    block: type[BasicBlock] | type[Bottleneck],
    inputs: int,
    width: int,
    stride: int,
    downsample: nn.Module | None,
) -> nn.Module:
    if block is BasicBlock:
        return BasicBlock(inputs, width, stride, downsample)
    return Bottleneck(inputs, width, stride, downsample)
