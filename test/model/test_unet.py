"""The U-Net on a trunk: grids, parameters and where its gradients go."""

from __future__ import annotations

import pytest
import torch

from saane_ros.model.appearance import ResNetTrunk, Trunk
from saane_ros.model.unet import UNet
from saane_ros.model.vgg import VggTrunk


@pytest.mark.parametrize(
    "trunk", [ResNetTrunk("resnet18", 16), ResNetTrunk("resnet50"), VggTrunk()]
)
def test_logits_come_at_half_the_size_of_any_image(trunk: Trunk) -> None:
    network = UNet(trunk.eval(), channels=8, classes=5).eval()
    with torch.no_grad():
        output = network(trunk(torch.rand(1, 3, 50, 70)))
    assert output.features.shape == (1, 8, 25, 35)
    assert output.logits.shape == (1, 5, 25, 35)


def test_parameters_are_those_of_six_convolutions_and_a_classifier() -> None:
    trunk = ResNetTrunk("resnet18")
    c, k = 16, 11
    expected = 0
    for below, skip, out in ((256, 128, 4 * c), (4 * c, 64, 2 * c), (2 * c, 64, c)):
        expected += 9 * (below + skip) * out + 9 * out * out + 4 * out
    expected += c * k + k
    network = UNet(trunk, channels=c, classes=k)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_every_skip_connection_reaches_the_logits() -> None:
    trunk = ResNetTrunk("resnet18", 16).eval()
    network = UNet(trunk, channels=4, classes=3).eval()
    with torch.no_grad():
        features = trunk(torch.rand(1, 3, 64, 64))
    leaves = type(features)(*(f.clone().requires_grad_() for f in features[:4]))
    network(leaves).logits.square().sum().backward()
    assert all(float(leaf.grad.abs().sum()) > 0 for leaf in leaves[:4])
