"""PSPNet: sizes, dilations and the pyramid, each against figures found another way."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from saane_ros.model.pspnet import PspNet


@cache
def network(variant: str) -> PspNet:
    torch.manual_seed(0)
    return PspNet(variant).eval()


def test_parameter_counts():
    stem = 9 * (3 * 64 + 64 * 64 + 64 * 128) + 2 * (64 + 64 + 128)
    stages, inputs = 0, 128
    for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(count):
            stages += inputs * width + 9 * width * width + 4 * width * width + 2 * 6 * width
            stages += (inputs * 4 * width + 2 * 4 * width) if block == 0 else 0
            inputs = 4 * width
    pyramid = 4 * (2048 * 512 + 2 * 512)
    head = 9 * 4096 * 512 + 2 * 512 + 512 * 150 + 150
    for variant in ("csail", "semseg"):
        parameters = sum(p.numel() for p in network(variant).parameters())
        assert parameters == stem + stages + pyramid + head == 46_782_550


# Dilation of the 3x3 convolution of every bottleneck, as in the two public implementations.
DILATIONS = {
    "csail": [[1] * 3, [1] * 4, [1, 2, 2, 2, 2, 2], [2, 4, 4]],
    "semseg": [[1] * 3, [1] * 4, [2] * 6, [4] * 3],
}


@pytest.mark.parametrize("variant", ["csail", "semseg"])
def test_dilations_and_strides(variant):
    net = network(variant)
    stages = [net.layer1, net.layer2, net.layer3, net.layer4]
    assert [[b.conv2.dilation[0] for b in stage] for stage in stages] == DILATIONS[variant]
    for stage in stages:
        for block in stage:
            assert block.conv2.padding == block.conv2.dilation
    strided = [n for n, m in net.named_modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]
    assert strided == ["stem.0.conv", "layer2.0.conv2", "layer2.0.downsample.0"]
    assert net.align_corners == (variant == "semseg")
    assert net.dropout.p == 0.1


@pytest.mark.parametrize(
    ("variant", "size", "grid"),
    [
        ("csail", (224, 224), (28, 28)),
        ("csail", (240, 320), (30, 40)),
        ("csail", (61, 83), (8, 10)),
        ("csail", (1, 3), (1, 1)),
        ("semseg", (225, 233), (29, 30)),
        ("semseg", (224, 60), (29, 8)),
        ("semseg", (1, 12), (2, 2)),
    ],
)
def test_any_size_gives_an_eighth(variant, size, grid):
    with torch.no_grad():
        features, logits = network(variant)(torch.rand(2, 3, *size))
    assert features.shape == (2, 512, *grid)
    assert logits.shape == (2, 150, *grid)
    assert float(features.min()) == 0.0
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(("variant", "offset"), [("csail", 0), ("semseg", 1)])
def test_fitting_sides_are_the_nearest_that_the_variant_takes(variant, offset):
    for side in range(1, 700):
        fitting = network(variant).fitting_side(side)
        assert (fitting - offset) % 8 == 0
        assert fitting - offset >= 8
        assert abs(fitting - side) <= 4 or side < 8
    assert network(variant).fitting_side(472 + offset) == 472 + offset


def test_features_are_what_the_classifier_sees():
    net = network("csail")
    with torch.no_grad():
        features, logits = net(torch.rand(1, 3, 64, 64))
        weight, bias = net.classifier.weight[:, :, 0, 0], net.classifier.bias
        by_hand = torch.einsum("kc,bchw->bkhw", weight, features) + bias[:, None, None]
    torch.testing.assert_close(logits, by_hand, rtol=1e-4, atol=1e-5)


def naive_pyramid(net: PspNet, features: torch.Tensor, align_corners: bool) -> torch.Tensor:
    """Pyramid pooling cell by cell, in double precision, from its definition."""
    _, channels, height, width = features.shape
    parts = [features[0]]
    for bins, block in zip((1, 2, 3, 6), net.ppm, strict=True):
        pooled = torch.empty(channels, bins, bins, dtype=torch.float64)
        for i in range(bins):
            for j in range(bins):
                top, bottom = i * height // bins, -(-(i + 1) * height // bins)
                left, right = j * width // bins, -(-(j + 1) * width // bins)
                pooled[:, i, j] = features[0, :, top:bottom, left:right].mean(dim=(1, 2))
        projected = torch.einsum("oc,cij->oij", block.conv.weight[:, :, 0, 0].double(), pooled)
        bn = block.bn
        scale = bn.weight.double() / (bn.running_var.double() + 1e-5).sqrt()
        shift = bn.bias.double() - bn.running_mean.double() * scale
        level = (projected * scale[:, None, None] + shift[:, None, None]).clamp_min(0)
        parts.append(naive_bilinear(level, height, width, align_corners))
    return torch.cat(parts)


def naive_bilinear(level: torch.Tensor, height: int, width: int, corners: bool) -> torch.Tensor:
    rows, columns = level.shape[1:]
    out = torch.empty(level.shape[0], height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            (y0, y1, fy), (x0, x1, fx) = (
                source(y, rows, height, corners),
                source(x, columns, width, corners),
            )
            top = level[:, y0, x0] * (1 - fx) + level[:, y0, x1] * fx
            bottom = level[:, y1, x0] * (1 - fx) + level[:, y1, x1] * fx
            out[:, y, x] = top * (1 - fy) + bottom * fy
    return out


def source(index: int, small: int, large: int, corners: bool) -> tuple[int, int, float]:
    if corners:
        position = index * (small - 1) / (large - 1)
    else:
        position = max((index + 0.5) * small / large - 0.5, 0.0)
    low = min(int(position), small - 1)
    return low, min(low + 1, small - 1), position - low


@pytest.mark.parametrize("variant", ["csail", "semseg"])
def test_the_pyramid_matches_its_definition(variant):
    net = network(variant)
    torch.manual_seed(2)
    for block in net.ppm:
        nn.init.uniform_(block.bn.running_mean, -0.1, 0.1)
        nn.init.uniform_(block.bn.running_var, 0.5, 2.0)
        nn.init.uniform_(block.bn.weight, 0.5, 2.0)
        nn.init.uniform_(block.bn.bias, -0.2, 0.5)
    features = torch.rand(1, 2048, 7, 10)
    with torch.no_grad():
        expected = naive_pyramid(net, features.double(), align_corners=variant == "semseg")
        actual = net.pyramid(features)[0]
    assert actual.shape == (4096, 7, 10)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        other = naive_pyramid(net, features.double(), align_corners=variant != "semseg")
    assert float((actual - other).abs().max()) > 0.01
