"""SRALNet against loops, NetVLAD as its limit without shadows, and its initialisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from naive_vlad import naive_vlad
from torch.nn import functional

from saane_ros.errors import SaaneError
from saane_ros.model.netvlad import NetVlad, initialise_netvlad
from saane_ros.model.sralnet import SralNet, initialise_sralnet, nearest_shadows
from saane_ros.model.vlad import VladHead, VladSizes


def random_head(shadows: int = 2, residual_gate: bool = False) -> SralNet:
    torch.manual_seed(0)
    head = SralNet(VladSizes(inputs=6, words=3, shadows=shadows, residual_gate=residual_gate))
    torch.nn.init.normal_(head.assignment.weight, std=3)
    torch.nn.init.normal_(head.centroids)
    return head.eval()


def features() -> torch.Tensor:
    return torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(1))


def unit_rows(count: int, seed: int) -> torch.Tensor:
    rows = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(rows, dim=1)


@pytest.mark.parametrize("residual_gate", [False, True])
@pytest.mark.parametrize("filtered", [False, True])
def test_layer_and_attention_equal_a_recomputation_with_loops(
    filtered: bool, residual_gate: bool
) -> None:
    head, x = random_head(residual_gate=residual_gate), features()
    static = (torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    with torch.no_grad():
        output = head.filtered(x, None, static) if filtered else head(x)
    for image in range(2):
        expected, saliency = naive_vlad(
            x[image].double().numpy(),
            head.assignment.weight[:, :, 0, 0].detach().double().numpy(),
            head.assignment.bias.detach().double().numpy(),
            head.centroids.detach().double().numpy(),
            shadows=2,
            static=static[image, 0].double().numpy() if filtered else None,
            residual_gate=residual_gate,
        )
        np.testing.assert_allclose(output.descriptor[image].numpy(), expected, atol=2e-6)
        np.testing.assert_allclose(
            output.appearance_attention[image, 0].numpy(), saliency, atol=1e-6
        )
    assert 0 < float(output.appearance_attention.min()) < float(output.appearance_attention.max())


def test_without_shadows_it_is_netvlad() -> None:
    centres, near, x = unit_rows(3, 3), unit_rows(50, 4), features()
    sral = SralNet(VladSizes(inputs=6, words=3, shadows=0))
    plain = NetVlad(VladSizes(inputs=6, words=3))
    initialise_sralnet(sral, centres, unit_rows(9, 5), near)
    initialise_netvlad(plain, centres, near, "distance")
    with torch.no_grad():
        output = sral(x)
        torch.testing.assert_close(output.descriptor, plain(x).descriptor)
    torch.testing.assert_close(output.appearance_attention, torch.ones(2, 1, 4, 5))


def test_shadows_are_the_nearest_candidates_in_order() -> None:
    representatives, candidates = unit_rows(3, 3), unit_rows(20, 5)
    found = nearest_shadows(representatives, candidates, 4)
    for k in range(3):
        distances = [float((c - representatives[k]).norm()) for c in candidates]
        order = sorted(range(20), key=distances.__getitem__)[:4]
        torch.testing.assert_close(found[k], candidates[order])


def test_initialised_saliency_is_low_at_a_shadow_and_high_at_its_representative() -> None:
    representatives, candidates = unit_rows(3, 3), unit_rows(20, 5)
    head = SralNet(VladSizes(inputs=6, words=3, shadows=2))
    initialise_sralnet(head, representatives, candidates, unit_rows(50, 4))
    shadows = nearest_shadows(representatives, candidates, 2)
    cells = torch.cat([representatives, shadows.flatten(0, 1)]).T[None, :, :, None]
    with torch.no_grad():
        saliency = head(cells).appearance_attention[0, 0, :, 0]
    assert float(saliency[:3].min()) > 0.5
    assert float(saliency[3:].max()) < 0.5
    assert torch.equal(head.centroids.detach(), representatives)


def test_too_few_shadow_candidates_are_told() -> None:
    head = SralNet(VladSizes(inputs=6, words=3, shadows=4))
    with pytest.raises(SaaneError, match=r"4 shadows per cluster need .* 2 were found"):
        initialise_sralnet(head, unit_rows(3, 3), unit_rows(2, 5), unit_rows(50, 4))


def test_a_vlad_head_needs_a_rule_for_the_weights_of_its_cells() -> None:
    with pytest.raises(TypeError, match="weigh"):
        VladHead(VladSizes(inputs=6, words=3))
