"""ESPNetv2: its sizes, the keys of its checkpoints, and blocks recomputed from their definition."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch.nn import functional

from saane_ros.embedding.network import enlarged_logits
from saane_ros.model.espnetv2 import NARROW, EspNetV2


@cache
def network() -> EspNetV2:
    torch.manual_seed(0)
    net = EspNetV2().eval()
    for name, values in net.named_buffers():
        if name.endswith("running_mean"):
            torch.nn.init.uniform_(values, -0.2, 0.2)
        if name.endswith("running_var"):
            torch.nn.init.uniform_(values, 0.5, 2.0)
    return net


# One key of each kind in the authors' checkpoint espnetv2_s_2.0_city_1024x512.pth.
SHAPES = {
    "base_net.level1.conv.weight": (32, 3, 3, 3),
    "base_net.level2_0.eesp.proj_1x1.conv.weight": (24, 8, 1, 1),
    "base_net.level2_0.eesp.spp_dw.3.conv.weight": (24, 1, 3, 3),
    "base_net.level2_0.eesp.module_act.weight": (96,),
    "base_net.level2_0.inp_reinf.1.conv.weight": (128, 3, 1, 1),
    "base_net.level3.2.br_after_cat.act.weight": (256,),
    "base_net.level4.6.conv_1x1_exp.bn.running_var": (512,),
    "bu_dec_l1.projection_layer.cbr.0.weight": (10, 512, 1, 1),
    "bu_dec_l1.merge_layer.0.br.1.weight": (50,),
    "bu_dec_l1.merge_layer.2.cbr.0.weight": (10, 5, 3, 3),
    "bu_dec_l1.br.br.0.weight": (64,),
    "bu_dec_l4.merge_layer.3.bias": (20,),
    "bu_dec_l4.stages.4.weight": (10, 1, 3, 3),
    "merge_enc_dec_l3.expansion_layer.cbr.0.weight": (48, 8, 3, 3),
    "merge_enc_dec_l4.wt_layer.1.weight": (32, 32, 1, 1),
    "bu_br_l4.1.weight": (32,),
}


def test_keys_and_parameters_are_those_of_the_checkpoint():
    state = network().state_dict()
    assert {key: tuple(state[key].shape) for key in SHAPES} == SHAPES
    assert len(state) == 526
    assert sum(values.numel() for values in network().parameters()) == 789_242
    dilations = [branch.conv.dilation[0] for branch in network().base_net.level4[0].spp_dw]
    assert tuple(dilations) == NARROW == (1, 1, 2, 3)


@pytest.mark.parametrize(
    ("size", "grid"), [((64, 96), (32, 48)), ((65, 83), (33, 42)), ((1, 3), (1, 2))]
)
def test_any_size_gives_a_half(size, grid):
    with torch.no_grad():
        features, logits = network()(torch.rand(1, 3, *size))
        again = network().bu_dec_l4(features)
    assert features.shape == (1, network().channels, *grid)
    assert logits.shape == (1, 20, *grid)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(again, logits)


def test_branches_are_summed_one_after_another():
    unit = network().base_net.level4[2]
    x = torch.randn(1, 512, 9, 11)
    with torch.no_grad():
        reduced = unit.proj_1x1(x)
        sums, so_far = [], torch.zeros_like(reduced)
        for branch, dilation in zip(unit.spp_dw, (1, 1, 2, 3), strict=True):
            padded = functional.pad(reduced, [dilation] * 4)
            y = torch.zeros_like(reduced)
            for i in range(3):
                for j in range(3):
                    rows = slice(i * dilation, i * dilation + 9)
                    columns = slice(j * dilation, j * dilation + 11)
                    y += (
                        branch.conv.weight[:, 0, i, j].view(1, -1, 1, 1)
                        * padded[..., rows, columns]
                    )
            so_far = so_far + y
            sums.append(so_far)
        expanded = unit.conv_1x1_exp(unit.br_after_cat(torch.cat(sums, dim=1)))
        torch.testing.assert_close(unit(x), unit.module_act(expanded + x), rtol=1e-4, atol=1e-4)


def test_the_pyramid_merges_the_scales_of_each_channel():
    pool = network().bu_dec_l2
    x = torch.randn(1, 64, 8, 12)
    with torch.no_grad():
        inner = pool.projection_layer(x)
        maps = []
        for stage, (height, width) in zip(
            pool.stages, [(16, 24), (12, 18), (8, 12), (5, 6), (5, 5)], strict=True
        ):
            if height >= 8:
                larger = functional.interpolate(
                    inner, (height, width), mode="bilinear", align_corners=True
                )
                maps.append(functional.adaptive_avg_pool2d(stage(larger), (8, 12)))
            else:
                y = stage(functional.adaptive_avg_pool2d(inner, (height, width)))
                maps.append(functional.interpolate(y, (8, 12), mode="bilinear", align_corners=True))
        joined = pool.merge_layer[0](torch.cat(maps, dim=1))
        # The five scales of channel 0, then those of channel 1, and so on.
        order = [scale * 10 + channel for channel in range(10) for scale in range(5)]
        merged = pool.merge_layer[3](pool.merge_layer[2](joined[:, order]))
        torch.testing.assert_close(pool(x), pool.br(merged), rtol=1e-4, atol=1e-5)


def test_images_of_another_normalisation_are_converted():
    pixels = torch.rand(1, 3, 64, 64)
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    other = EspNetV2(mean=(0.2, 0.3, 0.4), std=(0.1, 0.2, 0.5)).eval()
    other.load_state_dict(network().state_dict())
    with torch.no_grad():
        expected = network()((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)).logits
        shifted = pixels - torch.tensor((0.2, 0.3, 0.4)).view(3, 1, 1)
        found = other(shifted / torch.tensor((0.1, 0.2, 0.5)).view(3, 1, 1)).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_labels_are_enlarged_between_corners_as_in_training():
    logits = torch.rand(1, 20, 3, 4)
    found = enlarged_logits(network(), logits, (5, 7))
    torch.testing.assert_close(found[..., ::2, ::2], logits)
