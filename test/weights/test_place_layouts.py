"""Published checkpoints of place recognition fill the networks of their cards, key by key."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from published_checkpoints import empty_checkpoint, layout_names
from torch import Tensor, nn

from saane_ros.embedding.assembly import build_network, fill_network
from saane_ros.errors import SaaneError
from saane_ros.model.vit_trunk import timm_names
from saane_ros.weights.card_files import load_card
from saane_ros.weights.cards import ModelCard
from saane_ros.weights.place_layouts import place_head, place_trunk
from saane_ros.weights.tensors import read_tensors

# Where one tensor of each kind must arrive, by hand; none for what no descriptor is made of.
ARRIVALS = {
    "cosplace-resnet18": {
        "backbone.0.weight": "conv1.weight",
        "backbone.1.running_var": "bn1.running_var",
        "backbone.7.1.conv2.weight": "layer4.1.conv2.weight",
        "aggregation.1.p": "gem.p",
        "aggregation.3.bias": "projection.bias",
    },
    "cosplace-vgg16": {"backbone.28.weight": "features.28.weight", "aggregation.1.p": "gem.p"},
    "gem-resnet50-gl18": {
        "features.6.5.conv3.weight": "layer3.5.conv3.weight",
        "pool.p": "gem.p",
        "whiten.weight": "projection.weight",
    },
    "convap-resnet50": {
        "backbone.model.layer4.2.bn3.bias": "layer4.2.bn3.bias",
        "aggregator.channel_pool.weight": "channel_pool.weight",
    },
    "mixvpr-resnet50": {
        "backbone.model.layer3.5.bn3.bias": "layer3.5.bn3.bias",
        "aggregator.mix.3.mix.1.weight": "mix.3.mix.1.weight",
        "aggregator.row_proj.bias": "row_proj.bias",
    },
    "boq-resnet50": {
        "backbone.net.6.5.conv3.weight": "layer3.5.conv3.weight",
        "aggregator.boqs.1.queries": "boqs.1.queries",
        "aggregator.fc.bias": "fc.bias",
    },
    "boq-dinov2-vitb14": {
        "backbone.dino.mask_token": "",
        "backbone.dino.norm.weight": "",
        "backbone.dino.blocks.11.mlp.fc2.bias": "network.blocks.11.mlp.fc2.bias",
        "aggregator.proj_c.weight": "proj_c.weight",
    },
    "salad-dinov2-vitb14": {
        "backbone.model.pos_embed": "network.pos_embed",
        "backbone.model.norm.weight": "network.norm.weight",
        "aggregator.dust_bin": "dust_bin",
        "aggregator.score.3.bias": "score.3.bias",
    },
    "megaloc-dinov2-vitb14": {
        "backbone.cls_token": "network.cls_token",
        "aggregator.agg.cluster_features.0.weight": "cluster_features.0.weight",
        "aggregator.linear.weight": "linear.weight",
    },
    "cricavpr-dinov2-vitb14": {
        "backbone.blocks.3.adapter.branch2.1.bn.running_mean": (
            "network.blocks.3.adapter.branch2.1.bn.running_mean"
        ),
        "encoder.layers.1.self_attn.in_proj_bias": "encoder.layers.1.self_attn.in_proj_bias",
        "aggregation.1.p": "gem.p",
    },
    "selavpr-dinov2-vitl14": {
        "backbone.blocks.23.adapter2.D_fc1.bias": "network.blocks.23.adapter2.D_fc1.bias",
        "LocalAdapt.upconv1.weight": "branch.upconv1.weight",
    },
    "selavpr-pp-dinov2-vitl14": {
        "backbone.adapters.15.branch3.0.conv.weight": "adapters.15.branch3.0.conv.weight",
        "linear2.bias": "projection.bias",
    },
}


def meta_network(card: ModelCard) -> nn.Module:
    with torch.device("meta"):
        return build_network(card)


def filled(card: ModelCard, tensors: dict[str, Tensor]) -> nn.Module:
    network = meta_network(card)
    fill_network(network, card, dict.fromkeys(card.weights, tensors))
    return network


def parts(name: str, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What reaches trunk and head, under the names of both."""
    card = load_card(name)
    trunk = place_trunk(tensors, card.system, card.appearance.trunk, "it")
    network = meta_network(card)
    if hasattr(network.appearance, "own_tensors"):
        trunk = network.appearance.own_tensors(trunk)
    return trunk, place_head(tensors, card.system, "it")


@pytest.mark.parametrize("name", layout_names())
def test_a_checkpoint_fills_the_network_of_its_card(name):
    card = load_card(name)
    filled(card, empty_checkpoint(name))
    several = {f"module.{key}": value for key, value in empty_checkpoint(name).items()}
    filled(card, several)
    cut = empty_checkpoint(name)
    cut.pop(
        next(key for key in cut if key.endswith("norm1.weight") or "conv1" in key or "28" in key)
    )
    with pytest.raises(SaaneError, match=r"does not fit the network: 1 keys missing"):
        filled(card, cut)
    more = {**empty_checkpoint(name), "stranger.weight": torch.empty(1, device="meta")}
    with pytest.raises(
        SaaneError, match=r"1 keys the network does not have \((network\.)?stranger"
    ):
        filled(card, more)


def test_anyloc_takes_what_it_needs_of_the_giant():
    """Its tap is behind 31 of 40 blocks, whose gated MLPs have other names in timm."""
    card = load_card("anyloc-dinov2-vitg14-urban")
    trunk, network = empty_checkpoint("dinov2-vitg14"), meta_network(card)
    centres = {"centroids": torch.empty(32, 1536, device="meta")}
    fill_network(network, card, {"trunk": trunk, "centres": centres})
    found = network.appearance.own_tensors(trunk)
    assert found["network.blocks.31.mlp.fc1.weight"] is trunk["blocks.31.mlp.w12.weight"]
    assert len(network.appearance.network.blocks) == 32
    wrong = {"centroids": torch.empty(64, 1536, device="meta")}
    with pytest.raises(SaaneError, match=r"head of anyloc.*centroids 64x1536 instead of 32x1536"):
        fill_network(network, card, {"trunk": trunk, "centres": wrong})


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16"])
def test_eigenplaces_has_the_layout_of_cosplace(name):
    filled(load_card(f"eigenplaces-{name}"), empty_checkpoint(f"cosplace-{name}"))


@pytest.mark.parametrize("name", ARRIVALS)
def test_every_tensor_arrives_once_and_in_its_place(name):
    tensors = empty_checkpoint(name)
    trunk, head = parts(name, tensors)
    arrived = {id(value): key for part in (trunk, head) for key, value in part.items()}
    for key, arrival in ARRIVALS[name].items():
        assert arrived.get(id(tensors[key]), "") == arrival, key
    assert len(arrived) == len(trunk) + len(head)
    lost = [key for key, value in tensors.items() if id(value) not in arrived]
    dropped = ("mask_token", "backbone.dino.norm.", "linear1.weight")
    assert all(any(part in key for part in dropped) for key in lost), lost


def test_a_layer_over_every_cell_becomes_a_convolution():
    weight = torch.randn(5, 5)
    tensors = {"linear1.weight": weight, "linear1.bias": torch.zeros(5), "linear3.bias": weight}
    head = place_head(tensors, "selavpr_pp", "it")
    assert head.keys() == {"mix.weight", "mix.bias"}
    assert torch.equal(head["mix.weight"][:, :, 0, 0], weight)


def test_the_file_for_binary_codes_fits_too():
    tensors = empty_checkpoint("selavpr-pp-dinov2-vitb14")
    hashing = {
        key.replace("backbone.adapters.", "backbone.adapters_hashing."): value
        for key, value in tensors.items()
        if key.startswith("backbone.adapters.")
    }
    extra = {
        "linear3.weight": torch.empty(768, 768, device="meta"),
        "aggregation_hashing.1.p": None,
    }
    filled(load_card("selavpr-pp-dinov2-vitb14"), {**tensors, **hashing, **extra})


@pytest.mark.parametrize(
    ("file", "card", "told"),
    [
        (
            "salad-dinov2-vitb14",
            "megaloc-dinov2-vitb14",
            "is a checkpoint of salad where .* megaloc",
        ),
        (
            "boq-dinov2-vitb14",
            "salad-dinov2-vitb14",
            "is a checkpoint of boq where .* expects salad",
        ),
        ("boq-resnet50", "boq-dinov2-vitb14", r"trunk of boq-dinov2.* does not fit.*conv1\.weight"),
        ("cosplace-resnet18", "cosplace-resnet50", "of cosplace-resnet50 does not fit"),
        ("selavpr-dinov2-vitl14", "cricavpr-dinov2-vitb14", "is a checkpoint of selavpr where"),
        ("selavpr-pp-dinov2-vitb14", "selavpr-pp-dinov2-vitl14", "does not fit .*keys missing"),
        ("mixvpr-resnet50", "convap-resnet50", "is a checkpoint of mixvpr where"),
    ],
)
def test_a_checkpoint_of_another_variant_is_told(file, card, told):
    with pytest.raises(SaaneError, match=told):
        filled(load_card(card), empty_checkpoint(file))


def test_a_mixvpr_of_another_resolution_is_told():
    card = load_card("mixvpr-resnet50")
    larger = replace(card, preprocessing=replace(card.preprocessing, height=480, width=640))
    with pytest.raises(SaaneError, match=r"for 400 cells, as of 320 x 320 pixels, .* 30 x 40"):
        filled(larger, empty_checkpoint("mixvpr-resnet50"))


def test_a_transformer_of_another_resolution_is_told():
    tensors = empty_checkpoint("salad-dinov2-vitb14")
    tensors["backbone.model.pos_embed"] = torch.empty(1, 1 + 16 * 16, 768, device="meta")
    with pytest.raises(SaaneError, match=r"is for 16 x 16 patches and .* for 37 x 37"):
        filled(load_card("salad-dinov2-vitb14"), tensors)


def test_registers_take_their_class_token_with_its_position():
    tensors = {
        "cls_token": torch.randn(1, 1, 6),
        "pos_embed": torch.randn(1, 5, 6),
        "register_tokens": torch.randn(1, 4, 6),
        "mask_token": torch.randn(1, 6),
        "blocks.0.mlp.w12.weight": torch.randn(4, 6),
    }
    found = timm_names(tensors)
    assert found.keys() == {"cls_token", "pos_embed", "reg_token", "blocks.0.mlp.fc1.weight"}
    torch.testing.assert_close(
        found["cls_token"][0, 0], tensors["cls_token"][0, 0] + tensors["pos_embed"][0, 0]
    )
    assert torch.equal(found["pos_embed"], tensors["pos_embed"][:, 1:])


def test_numbers_of_a_training_beside_the_tensors_are_read_over(tmp_path):
    """As checkpoints are written whose authors keep recalls, NumPy's, beside the state dict."""
    tensors = {"module.a": torch.randn(2, 3)}
    training = {"recalls": np.array([81.5, 90.0]), "best_r5": np.float64(90), "epoch_num": 3}
    torch.save({"model_state_dict": tensors, **training}, tmp_path / "a.pth")
    found = read_tensors(tmp_path / "a.pth")
    assert found.keys() == tensors.keys()
    assert torch.equal(found["module.a"], tensors["module.a"])


def test_a_tensor_alone_is_one_of_centres(tmp_path):
    centres = torch.randn(32, 8)
    torch.save(centres, tmp_path / "c_centers.pt")
    assert torch.equal(read_tensors(tmp_path / "c_centers.pt")["centroids"], centres)
