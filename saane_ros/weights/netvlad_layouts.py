"""The three public layouts of NetVLAD checkpoints, brought to the names of our trunk and head.

They differ in names and in how a VLAD is flattened, hence in the columns of a whitening matrix:
ours, Nanne/pytorch-NetVlad and QVPR/Patch-NetVLAD flatten cluster by cluster (K x D), the
MatConvNet files that cvg/Hierarchical-Localization reads flatten value by value (D x K).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from saane_ros.errors import SaaneError

CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Places of VGG-16's convolutions in torchvision's `features` and in MatConvNet's layers."""

POOLING, WHITENING = "net.layers.30", "net.layers.33"
"""MatConvNet's NetVLAD layer and its whitening."""


@dataclass(frozen=True)
class Layout:
    """told: in words, with the flatten order.  mark: keys that only this layout has."""

    told: str
    mark: re.Pattern[str]


LAYOUTS = {
    "own": Layout("ours (K x D)", re.compile(r"assignment\.|centroids$|whitening\.")),
    "nanne": Layout("pytorch-NetVlad (K x D)", re.compile(r"pool\.|encoder\.")),
    "patch_netvlad": Layout("Patch-NetVLAD (K x D)", re.compile(r"WPCA\.")),
    "hloc": Layout("MatConvNet (D x K)", re.compile(r"net\.")),
}


def netvlad_trunk(tensors: Mapping[str, Tensor], layout: str, what: str) -> dict[str, Tensor]:
    """The VGG-16 of a public checkpoint under torchvision's names."""
    tensors = _checked(tensors, layout, what)
    if layout == "hloc":
        found = {}
        for index in CONVOLUTIONS:
            weight, bias = (_matconvnet(tensors, f"net.layers.{index}", i, what) for i in (0, 1))
            # MatConvNet: height x width x inputs x outputs.
            found[f"features.{index}.weight"] = weight.permute(3, 2, 0, 1).contiguous()
            found[f"features.{index}.bias"] = bias.flatten()
        return found
    return {
        f"features.{key.removeprefix('encoder.')}": value
        for key, value in tensors.items()
        if key.startswith("encoder.")
    }


def netvlad_head(tensors: Mapping[str, Tensor], layout: str, what: str) -> dict[str, Tensor]:
    """Assignment, centroids and whitening of a public checkpoint under our names, K x D."""
    tensors = _checked(tensors, layout, what)
    if layout == "hloc":
        return _hloc_head(tensors, what)
    names = {
        "pool.conv.weight": "assignment.weight",
        "pool.conv.bias": "assignment.bias",
        "pool.centroids": "centroids",
        "WPCA.0.weight": "whitening.weight",
        "WPCA.0.bias": "whitening.bias",
    }
    found = {names.get(k, k): v for k, v in tensors.items() if not k.startswith("encoder.")}
    if "whitening.weight" in found:
        found["whitening.weight"] = found["whitening.weight"].flatten(1)
    return _with_bias(found)


def _hloc_head(tensors: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """MatConvNet keeps D x K matrices and minus the centres."""
    weight = _matconvnet(tensors, POOLING, 0, what)
    channels, words = weight.shape
    found = {
        "assignment.weight": weight.T[:, :, None, None].contiguous(),
        "centroids": -_matconvnet(tensors, POOLING, 1, what).T.contiguous(),
    }
    if f"{WHITENING}.weights.0" in tensors:
        matrix = _matconvnet(tensors, WHITENING, 0, what).flatten(0, -2).T
        found["whitening.weight"] = cluster_major(matrix, words, channels, what)
        found["whitening.bias"] = _matconvnet(tensors, WHITENING, 1, what).flatten()
    return _with_bias(found)


def cluster_major(matrix: Tensor, words: int, channels: int, what: str) -> Tensor:
    """Columns of a whitening matrix P x (D * K), d * K + k, moved to P x (K * D), k * D + d."""
    if matrix.ndim != 2 or matrix.shape[1] != words * channels:
        raise SaaneError(
            f"The whitening of {what} is {'x'.join(map(str, matrix.shape))} and needs "
            f"{words} x {channels} = {words * channels} columns: it belongs to another layer."
        )
    return matrix.unflatten(1, (channels, words)).transpose(1, 2).flatten(1).contiguous()


def _with_bias(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published models have no bias ("vlad"): zero then."""
    if "assignment.bias" not in found and "assignment.weight" in found:
        found["assignment.bias"] = torch.zeros(len(found["assignment.weight"]))
    return found


def _checked(tensors: Mapping[str, Tensor], layout: str, what: str) -> dict[str, Tensor]:
    """Without DataParallel's prefixes; a checkpoint of another layout is refused."""
    plain = {key.replace("module.", ""): value for key, value in tensors.items()}
    looks = layout_of(plain)
    if looks != layout:
        found = LAYOUTS[looks].told if looks else f"unknown ({', '.join(list(plain)[:3])}, ...)"
        raise SaaneError(
            f"{what} is a checkpoint of the layout {found} where the model card expects "
            f"{LAYOUTS[layout].told}: set aggregation.layout to the file's"
            f"{f', {looks}' if looks else ''}, or its whitening would meet a VLAD in another order."
        )
    return plain


def layout_of(tensors: Mapping[str, Tensor]) -> str:
    """The layout that a checkpoint's names speak of, empty where they speak of none."""
    for name in ("hloc", "patch_netvlad", "nanne", "own"):
        if any(LAYOUTS[name].mark.match(key) for key in tensors):
            return name
    return ""


def _matconvnet(tensors: Mapping[str, Tensor], layer: str, index: int, what: str) -> Tensor:
    key = f"{layer}.weights.{index}"
    if key not in tensors:
        raise SaaneError(f"{what} has no {key}: it is no MatConvNet NetVLAD on VGG-16.")
    return tensors[key].float()
