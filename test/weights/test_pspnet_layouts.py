"""Both public ADE20K PSPNet layouts fill our PspNet."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
import torch
from pspnet_files import SHAPES, checkpoint

from saane_ros.errors import SaaneError
from saane_ros.model.pspnet import PspNet
from saane_ros.weights.checkpoints import load_strict
from saane_ros.weights.pspnet_layouts import pspnet_tensors
from saane_ros.weights.tensors import read_tensors

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "reference"
# Where one tensor of each kind must arrive, by hand.
ARRIVALS = {
    "csail": {
        "conv1.weight": "stem.0.conv.weight",
        "bn3.running_var": "stem.2.bn.running_var",
        "layer1.0.conv1.weight": "layer1.0.conv1.weight",
        "layer4.0.downsample.1.bias": "layer4.0.downsample.1.bias",
        "ppm.0.1.weight": "ppm.0.conv.weight",
        "ppm.3.2.running_mean": "ppm.3.bn.running_mean",
        "conv_last.0.weight": "bottleneck.conv.weight",
        "conv_last.1.bias": "bottleneck.bn.bias",
        "conv_last.4.bias": "classifier.bias",
    },
    "semseg": {
        "layer0.0.weight": "stem.0.conv.weight",
        "layer0.7.running_var": "stem.2.bn.running_var",
        "layer3.5.conv2.weight": "layer3.5.conv2.weight",
        "ppm.features.1.1.weight": "ppm.1.conv.weight",
        "ppm.features.2.2.running_mean": "ppm.2.bn.running_mean",
        "cls.0.weight": "bottleneck.conv.weight",
        "cls.1.bias": "bottleneck.bn.bias",
        "cls.4.weight": "classifier.weight",
    },
}


@cache
def network(variant: str) -> PspNet:
    return PspNet(variant)


def load(variant: str, tensors: dict[str, torch.Tensor]) -> None:
    load_strict(network(variant), pspnet_tensors(tensors, variant, "The file"), "The file")


@pytest.mark.parametrize(
    ("variant", "files", "count"),
    [("csail", ("csail_enc", "csail_dec"), 495 + 58), ("semseg", ("semseg",), 370)],
)
def test_the_key_lists_are_those_of_the_public_code(variant, files, count):
    assert len(SHAPES[variant]) == count
    lines: list[str] = []
    for file in files:
        path = REFERENCE / f"{file}_keys.tsv"
        if not path.exists():
            pytest.skip(f"needs {path.name} in the shared reference folder")
        lines += path.read_text().splitlines()
    listed = {key: ast.literal_eval(shape) for key, shape in (x.split("\t") for x in lines)}
    assert listed == SHAPES[variant]


@pytest.mark.parametrize("variant", ["csail", "semseg"])
def test_a_checkpoint_fills_the_network_completely(variant):
    tensors = checkpoint(variant)
    load(variant, tensors)
    state = network(variant).state_dict()
    for key, arrival in ARRIVALS[variant].items():
        assert torch.equal(state[arrival], tensors[key]), key
    floating = [value for value in state.values() if value.is_floating_point()]
    assert all(0 <= float(value.min()) <= float(value.max()) <= 1 for value in floating)
    # Every tensor that is not for training alone has its own place: equal sums, nothing twice.
    used = [
        value
        for key, value in tensors.items()
        if not key.startswith(("aux", "cbr_deepsup", "conv_last_deepsup"))
        and not key.endswith(("_tmp_running_mean", "_tmp_running_var", "_running_iter"))
    ]
    assert len(used) == len(state)
    arrived = sum(float(value.double().sum()) for value in state.values())
    assert sum(float(value.double().sum()) for value in used) == pytest.approx(arrived, rel=1e-12)


def test_prefix_wrapping_and_missing_counters_are_understood(tmp_path):
    tensors = {
        f"module.{key}": value
        for key, value in checkpoint("semseg").items()
        if not key.endswith("num_batches_tracked")
    }
    torch.save({"epoch": 100, "state_dict": tensors, "optimizer": {}}, tmp_path / "train.pth")
    load("semseg", read_tensors(tmp_path / "train.pth"))
    weight = network("semseg").state_dict()["stem.1.conv.weight"]
    assert torch.equal(weight, tensors["module.layer0.3.weight"])


def test_our_own_names_pass_unchanged():
    load("csail", checkpoint("csail"))
    own = network("csail").state_dict()
    assert pspnet_tensors(own, "csail", "The file").keys() == own.keys()
    load("csail", own)


@pytest.mark.parametrize("variant", ["csail", "semseg"])
@pytest.mark.parametrize("arrival", range(8))
def test_each_deviation_is_named(variant, arrival):
    key, canonical = list(ARRIVALS[variant].items())[arrival]
    tensors = dict(checkpoint(variant))
    value = tensors.pop(key)
    with pytest.raises(SaaneError, match=rf"1 keys missing \({canonical}\)"):
        load(variant, tensors)
    with pytest.raises(SaaneError, match=rf"tensors of the wrong shape \({canonical} "):
        load(variant, {**tensors, key: value.flatten()[:1].reshape(1, 1)})
    with pytest.raises(SaaneError, match=r"keys the network does not have \(surplus\.weight\)"):
        load(variant, {**tensors, key: value, "surplus.weight": value})


def test_the_other_layout_is_refused_by_name():
    with pytest.raises(SaaneError, match="of the semseg layout where the model card says csail"):
        load("csail", checkpoint("semseg"))
    with pytest.raises(SaaneError, match="of the csail layout where the model card says semseg"):
        load("semseg", checkpoint("csail"))
