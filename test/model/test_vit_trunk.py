"""Vision transformers as trunks: grids of patches, positions, taps, adapters and bad sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import timm
import torch
from torch.nn import functional

from saane_ros.errors import SaaneError
from saane_ros.model.adapters import MultiScaleAdapter
from saane_ros.model.vit_trunk import VitTrunk, is_vit
from saane_ros.weights.checkpoints import load_strict

SMALL, REGISTERS = "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"
TINY3 = "vit_tiny_patch16_dinov3_qkvb"


def random_trunk(name: str, tap: str = "", adapters: str = "") -> VitTrunk:
    torch.manual_seed(0)
    trunk = VitTrunk(name, tap, adapters).eval()
    for key, value in trunk.state_dict().items():
        if key.endswith(("gamma", "gamma_1", "gamma_2")):
            value.uniform_(0.2, 0.5)
        elif "pos_embed" in key or "token" in key:
            value.normal_(0, 0.3)
    return trunk


@pytest.mark.parametrize(("name", "patch"), [(SMALL, 14), (REGISTERS, 14), (TINY3, 16)])
def test_patches_come_as_a_grid_row_by_row(name, patch):
    """Against timm's own tokens at the size that its positional embedding is made for."""
    size = (3 * patch, 5 * patch)
    trunk = random_trunk(name)
    extra = {} if patch == 16 else {"img_size": size}
    whole = timm.create_model(name, pretrained=False, **extra).eval()
    own = {k.removeprefix("network."): v for k, v in trunk.state_dict().items()}
    if patch == 14:
        own["pos_embed"] = trunk._positions((3, 5))
    load_strict(whole, own, "timm's")
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        tokens = whole.forward_features(images)
        found = trunk(images)
    prefix = whole.num_prefix_tokens
    for row in range(3):
        for column in range(5):
            cell = found.stride16[:, :, row, column]
            expected = tokens[:, prefix + 5 * row + column]
            torch.testing.assert_close(cell, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.token, tokens[:, 0], atol=1e-5, rtol=1e-5)
    assert (found.stride2, found.stride4, found.stride8) == (None, None, None)
    assert trunk.channels16 == found.stride16.shape[1]


def cubic(t: float) -> float:
    """Keys' kernel with a = -0.75, which bicubic interpolation is made of."""
    a, t = -0.75, abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def stretched(square: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A grid side x side x C stretched by (rows + 0.1) / side and (columns + 0.1) / side."""
    side = len(square)
    found = np.zeros((rows, columns, square.shape[2]))
    for i in range(rows):
        for j in range(columns):
            y = (i + 0.5) * side / (rows + 0.1) - 0.5
            x = (j + 0.5) * side / (columns + 0.1) - 0.5
            for p in range(math.floor(y) - 1, math.floor(y) + 3):
                for q in range(math.floor(x) - 1, math.floor(x) + 3):
                    inside = square[min(max(p, 0), side - 1), min(max(q, 0), side - 1)]
                    found[i, j] += cubic(y - p) * cubic(x - q) * inside
    return found


def test_positions_are_stretched_as_dinov2_does():
    trunk = random_trunk(SMALL)
    embedding = trunk.network.pos_embed[0].detach().double().numpy()
    found = trunk._positions((4, 7))[0].detach().numpy()
    np.testing.assert_allclose(found[0], embedding[0], atol=1e-6)
    expected = stretched(embedding[1:].reshape(37, 37, -1), 4, 7).reshape(28, -1)
    np.testing.assert_allclose(found[1:], expected, atol=1e-4)
    own = trunk._positions((37, 37))
    assert torch.equal(own, trunk.network.pos_embed)


def test_a_tap_is_the_block_without_the_norm_and_nothing_behind_it_is_kept():
    whole, cut = random_trunk(SMALL), VitTrunk(SMALL, "blocks.4").eval()
    load_strict(
        cut,
        cut.own_tensors({k.removeprefix("network."): v for k, v in whole.state_dict().items()}),
        "it",
    )
    assert len(cut.network.blocks) == 5
    assert not any("network.norm." in key for key in cut.state_dict())
    seen: list[torch.Tensor] = []
    whole.network.blocks[4].register_forward_hook(lambda m, i, output: seen.append(output))
    images = torch.randn(1, 3, 28, 42)
    with torch.no_grad():
        whole(images)
        found = cut(images)
    torch.testing.assert_close(found.stride16.flatten(2).mT, seen[0][:, 1:])
    torch.testing.assert_close(found.token, seen[0][:, 0])


@pytest.mark.parametrize(("facet", "third"), [("query", 0), ("key", 1), ("value", 2)])
def test_a_facet_is_its_third_of_the_attention(facet, third):
    trunk = random_trunk(SMALL, f"blocks.3.attn.{facet}")
    seen: list[torch.Tensor] = []
    trunk.network.blocks[3].attn.qkv.register_forward_hook(lambda m, i, o: seen.append(o))
    with torch.no_grad():
        found = trunk(torch.randn(1, 3, 28, 28))
    expected = seen[0][:, 1:, 384 * third : 384 * (third + 1)]
    assert torch.equal(found.stride16.flatten(2).mT, expected)
    assert found.token is None


def block(trunk: VitTrunk, tokens: torch.Tensor, index: int, serial, parallel) -> torch.Tensor:
    """One block of DINOv2 with what is added behind the attention and beside the MLP."""
    one = trunk.network.blocks[index]
    tokens = tokens + one.ls1.gamma * serial(one, one.attn(one.norm1(tokens)))
    normed = one.norm2(tokens)
    return tokens + one.ls2.gamma * (one.mlp(normed) + 0.2 * parallel(one, normed))


def bottleneck(adapter, tokens: torch.Tensor) -> torch.Tensor:
    low = torch.relu(tokens @ adapter.D_fc1.weight.T + adapter.D_fc1.bias)
    return low @ adapter.D_fc2.weight.T + adapter.D_fc2.bias


def multi_scale(adapter: MultiScaleAdapter, tokens: torch.Tensor, grid) -> torch.Tensor:
    """Convolutions by loops over the offsets of their kernels."""

    def conv(layer, cells):
        side = layer.conv.weight.shape[-1]
        padded = functional.pad(cells, [side // 2] * 4)
        total = layer.conv.bias[:, None, None].expand(-1, *grid).clone()
        for i in range(side):
            for j in range(side):
                window = padded[:, i : i + grid[0], j : j + grid[1]]
                total += torch.einsum("oc,chw->ohw", layer.conv.weight[:, :, i, j], window)
        norm = layer.bn
        scale = norm.weight / torch.sqrt(norm.running_var + 0.001)
        return torch.relu(
            (total - norm.running_mean[:, None, None]) * scale[:, None, None]
            + norm.bias[:, None, None]
        )

    low = torch.relu(tokens[0] @ adapter.D_fc1.weight.T + adapter.D_fc1.bias)
    cells = low[1:].T.reshape(-1, *grid)
    mixed = torch.cat(
        [
            conv(adapter.branch1, cells),
            conv(adapter.branch2[1], conv(adapter.branch2[0], cells)),
            conv(adapter.branch3[1], conv(adapter.branch3[0], cells)),
        ]
    )
    changed = low + torch.cat([low[:1], mixed.flatten(1).T])
    return (changed @ adapter.D_fc2.weight.T + adapter.D_fc2.bias)[None]


def test_weights_with_registers_and_without_are_told_apart():
    for name, other, told in (
        (SMALL, REGISTERS, f"have registers and timm's {SMALL} has none: .* trunk {REGISTERS}."),
        (REGISTERS, SMALL, f"no registers and timm's {REGISTERS} has some: .* trunk {SMALL}."),
    ):
        whole = timm.create_model(other, pretrained=False).state_dict()
        if other == REGISTERS:  # as DINOv2's authors name and keep them
            whole["register_tokens"] = whole.pop("reg_token")
            whole["pos_embed"] = torch.cat([whole["cls_token"], whole["pos_embed"]], dim=1)
        with pytest.raises(SaaneError, match=told):
            VitTrunk(name).own_tensors(whole)
        VitTrunk(other).own_tensors(whole)


@pytest.mark.parametrize("kind", ["selavpr", "cricavpr", "selavpr_pp"])
@torch.no_grad()
def test_adapters_add_what_their_papers_say(kind):
    trunk = random_trunk(SMALL, adapters=kind)
    for module in trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    grid = (2, 3)
    images = torch.randn(1, 3, 28, 42)
    tokens = trunk._tokens(images, grid)
    side = tokens
    for index in range(12):
        if kind == "selavpr":
            tokens = block(
                trunk,
                tokens,
                index,
                lambda one, seen: seen + bottleneck(one.adapter1, seen),
                lambda one, normed: bottleneck(one.adapter2, normed),
            )
        elif kind == "cricavpr":
            tokens = block(
                trunk,
                tokens,
                index,
                lambda one, seen: seen,
                lambda one, normed: multi_scale(one.adapter, normed, grid),
            )
        else:
            tokens = block(trunk, tokens, index, lambda one, seen: seen, lambda one, normed: 0)
            side = side + multi_scale(trunk.adapters[index], side + tokens, grid)
    expected = trunk.network.norm(side if kind == "selavpr_pp" else tokens)
    found = trunk(images)
    torch.testing.assert_close(found.stride16.flatten(2).mT, expected[:, 1:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.token, expected[:, 0], atol=1e-4, rtol=1e-4)


def test_side_adapters_begin_behind_the_blocks_that_have_none():
    """Of 24 blocks the last 16 have one, and the second stream starts at the eighth's output."""
    with torch.device("meta"):
        trunk = VitTrunk("vit_large_patch14_dinov2", adapters="selavpr_pp")
    assert (len(trunk.network.blocks), len(trunk.adapters)) == (24, 16)
    torch.manual_seed(1)
    small = random_trunk(SMALL, adapters="selavpr_pp")
    tokens = small._tokens(torch.randn(1, 3, 28, 28), (2, 2))
    blocks = [torch.nn.Identity() for _ in range(3)]
    blocks.append(torch.nn.Linear(384, 384))
    side = small.adapters
    del side[2:]
    with torch.no_grad():
        found = side(tokens, blocks, (2, 2))
        first = tokens + side[0](2 * tokens, (2, 2))
        expected = first + side[1](first + blocks[3](tokens), (2, 2))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ((10, 28), "10 x 28 pixels is smaller than one patch of 14 x 14"),
        ((28, 13), "smaller than one patch"),
        ((480, 640), "does not divide into patches of 14: .* of 476 x 644"),
    ],
)
def test_images_that_patches_do_not_fill_are_refused(size, told):
    with pytest.raises(SaaneError, match=told):
        VitTrunk(SMALL, "blocks.0")(torch.zeros(1, 3, *size))


@pytest.mark.parametrize(
    ("name", "tap", "adapters", "told"),
    [
        ("vit_tiny_patch16_224", "", "", "no vision transformer of DINOv2"),
        ("vit_micro_patch14_dinov2", "", "", "has no model"),
        (SMALL, "blocks.12", "", r"no tap 'blocks\.12': give blocks\.0 to blocks\.11, or"),
        (SMALL, "norm", "", "no tap 'norm'"),
        (TINY3, "blocks.3.attn.value", "", r"give blocks\.0 to blocks\.11\."),
        (TINY3, "", "selavpr", "takes no adapters of selavpr"),
        (SMALL, "blocks.3.attn.key", "cricavpr", "without a tap inside a block"),
    ],
)
def test_unsuitable_transformers_are_told(name, tap, adapters, told):
    with pytest.raises(SaaneError, match=told):
        VitTrunk(name, tap, adapters)


def test_names_of_transformers_are_known():
    assert is_vit("vit_huge_plus_patch16_dinov3")
    assert is_vit(REGISTERS)
    assert not is_vit("convnext_tiny.dinov3_lvd1689m")
    assert not is_vit("vit_base_patch16_224")


def test_fine_tuning_trains_the_last_blocks_and_the_norm():
    trunk = VitTrunk(SMALL)
    trained = {id(p) for p in trunk.last_stage().parameters()}
    names = [name for name, p in trunk.named_parameters() if id(p) in trained]
    blocks = {name.split(".")[2] for name in names if "blocks" in name}
    assert blocks == {"8", "9", "10", "11"}
    assert "network.norm.weight" in names
