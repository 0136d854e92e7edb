"""Strict loading: every deviation named, fp16 files, ResNets cut behind layer3."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50

from saane_ros.errors import SaaneError
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.weights.checkpoints import load_strict, merged, trunk_tensors
from saane_ros.weights.tensors import read_tensors

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "weights"


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def random_like(module: nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.rand(value.shape, generator=generator).to(value.dtype)
        for key, value in module.state_dict().items()
    }


def test_every_value_arrives_and_half_precision_becomes_the_modules_own():
    module, tensors = small(), random_like(small())
    halves = {key: t.half() if t.is_floating_point() else t for key, t in tensors.items()}
    load_strict(module, halves, "The net")
    for key, value in module.state_dict().items():
        assert value.dtype == tensors[key].dtype
        assert torch.equal(value, halves[key].to(value.dtype))


def test_all_deviations_are_named_and_nothing_is_loaded():
    module = small()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    tensors = random_like(module)
    tensors["2.weight"] = torch.ones(1)
    del tensors["1.running_var"]
    tensors["0.weight"] = torch.ones(4, 3, 1, 1)
    with pytest.raises(SaaneError) as caught:
        load_strict(module, tensors, "The net of town")
    assert str(caught.value).startswith(
        "The net of town does not fit the network: 1 keys the network does not have (2.weight), "
        "1 keys missing (1.running_var), 1 tensors of the wrong shape "
        "(0.weight 4x3x1x1 instead of 4x3x3x3)"
    )
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])


def test_many_deviations_are_counted_and_the_first_named():
    module = nn.Sequential(*(nn.Linear(1, 1) for _ in range(20)))
    with pytest.raises(SaaneError, match=r"40 keys missing \(0\.weight, .* and 28 more\)"):
        load_strict(module, {}, "The net")


def test_only_the_batch_counter_may_be_absent():
    module, tensors = small(), random_like(small())
    del tensors["1.num_batches_tracked"]
    load_strict(module, tensors, "The net")
    assert int(module.state_dict()["1.num_batches_tracked"]) == 0
    assert torch.equal(module[1].running_mean, tensors["1.running_mean"])


def test_files_of_one_checkpoint_are_merged_and_clashes_named():
    a, b = {"a": torch.ones(1)}, {"b": torch.zeros(1)}
    assert list(merged([a, b], "It")) == ["a", "b"]
    with pytest.raises(SaaneError, match=r"It comes in files that share keys \(a\)"):
        merged([a, b, a], "It")


@pytest.mark.parametrize(("name", "whole"), [("resnet18", resnet18), ("resnet50", resnet50)])
def test_torchvision_weights_are_cut_behind_layer3(name, whole):
    torch.manual_seed(0)
    reference = whole(weights=None).eval()
    saved = {f"module.{key}": value for key, value in reference.state_dict().items()}
    trunk = ResNetTrunk(name).eval()
    load_strict(trunk, trunk_tensors(saved), "The trunk")
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(images))))
        expected = reference.layer3(reference.layer2(reference.layer1(x)))
        assert torch.equal(trunk(images).stride16, expected)


def test_the_original_resnet50_loads_from_half_precision():
    path = SHARED / "resnet50_msra_imagenet_layer3.fp16.safetensors"
    if not path.exists():
        pytest.skip(f"needs {path.name} in the shared weights")
    tensors = read_tensors(path)
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float16}
    trunk = ResNetTrunk("resnet50", stride_on="conv1").eval()
    load_strict(trunk, trunk_tensors(tensors), "The trunk")
    assert {p.dtype for p in trunk.parameters()} == {torch.float32}
    assert trunk.layer2[0].conv1.stride == (2, 2)
    assert trunk.layer2[0].conv2.stride == (1, 1)
    assert sum(p.numel() for p in trunk.parameters()) == 8_543_296
    for key, value in trunk.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value, tensors[key].float()), key
    reference = resnet50(weights=None).eval()
    reference.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
    for stage in (reference.layer2, reference.layer3):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(images))))
        expected = reference.layer3(reference.layer2(reference.layer1(x)))
        assert torch.equal(trunk(images).stride16, expected)
    assert float((expected > 0).float().mean()) > 0.05


def test_the_folded_resnet18_loads():
    path = SHARED / "resnet18_imagenet_layer3.safetensors"
    if not path.exists():
        pytest.skip(f"needs {path.name} in the shared weights")
    trunk = ResNetTrunk("resnet18").eval()
    load_strict(trunk, trunk_tensors(read_tensors(path)), "The trunk")
    with torch.no_grad():
        assert trunk(torch.zeros(1, 3, 32, 32)).stride16.shape == (1, 256, 2, 2)
