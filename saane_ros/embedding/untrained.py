"""The untrained baseline: an ImageNet trunk and the pyramid, nothing learned in between.

What a trained head has to beat. Written `trunk:<trunk>:<pool>`, such as `trunk:resnet18:max`; the
trunk may also be the name of a model card, whose trunk (or trunks) it is then.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from saane_ros.embedding.assembly import build_trunk, load_trunk
from saane_ros.embedding.loading import pick_device, pick_precision, preprocessing_of
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.files import sha256_of
from saane_ros.model.appearance import ResNetTrunk, Trunk
from saane_ros.model.heads import Fused, HeadSizes, PyramidHead
from saane_ros.model.pooling import POOLS
from saane_ros.model.saane import SaaneNetwork
from saane_ros.weights.card_files import list_cards, load_card, models_folder
from saane_ros.weights.checkpoints import load_strict, trunk_tensors
from saane_ros.weights.store import download_folder, find_weights
from saane_ros.weights.tensors import read_tensors

PREFIX = "trunk:"
TRUNKS = {
    "resnet18": ("resnet18", "conv2"),
    "resnet50": ("resnet50", "conv2"),
    "resnet50_msra": ("resnet50", "conv1"),
}
"""Names to (architecture, striding convolution); MSRA's is the original v1."""
SIDE = 224


class TrunkPooling(PyramidHead):
    """F^A -> pyramid, without a projection."""

    uses_semantics = False

    def fused(self, appearance: Tensor, semantic: Tensor | None) -> Fused:
        return Fused(appearance)


def load_untrained(
    spec: str, weights: str = "", device: str = "auto", precision: str = "auto", threads: int = 0
) -> NetworkEmbedder:
    """The embedder of `trunk:<trunk>:<pool>` at 224 x 224.

    weights: the trunk's file, or a folder with a file whose name begins with the trunk's.
    """
    parts = spec.removeprefix(PREFIX).split(":")
    names = [card.name for card in list_cards()]
    if len(parts) != 2 or parts[0] not in (*TRUNKS, *names) or parts[1] not in POOLS:
        raise SaaneError(
            f"The untrained model {spec!r} is unknown: give {PREFIX}<trunk>:<pool> with a trunk of "
            f"{', '.join(TRUNKS)} or the name of a model, and a pool of {', '.join(POOLS)}."
        )
    if threads:
        torch.set_num_threads(threads)
    name, pool = parts
    found = _known_trunk(name, weights) if name in TRUNKS else _trunk_of_card(name, weights)
    sizes = HeadSizes(c_a=found.trunk.channels16, channels=found.trunk.channels16, pool=pool)
    chosen = pick_device(device)
    return NetworkEmbedder(
        SaaneNetwork(found.trunk, None, TrunkPooling(sizes)),
        found.preprocessing,
        spec,
        hashlib.sha256(f"{name} {pool} {found.digest}".encode()).hexdigest()[:16],
        (),
        chosen,
        pick_precision(precision, chosen),
    )


class _Found(NamedTuple):
    trunk: Trunk
    preprocessing: Preprocessing
    digest: str


def _known_trunk(name: str, weights: str) -> _Found:
    file = find_trunk(name, weights)
    architecture, stride_on = TRUNKS[name]
    trunk = ResNetTrunk(architecture, stride_on=stride_on)
    load_strict(trunk, trunk_tensors(read_tensors(file)), f"The trunk {file}")
    return _Found(trunk, Preprocessing(SIDE, SIDE), sha256_of(file))


def _trunk_of_card(name: str, weights: str) -> _Found:
    card = load_card(name)
    trunk = build_trunk(card)
    own = {key: card.weights[key] for key in card.trunk_weights}
    files = find_weights(replace(card, weights=own), weights)
    load_trunk(trunk, card, {key: read_tensors(file.path) for key, file in files.items()})
    digest = " ".join(file.sha256 for file in files.values())
    return _Found(trunk, preprocessing_of(card), digest)


def find_trunk(name: str, weights: str = "") -> Path:
    """A trunk's weight file: the one given, or the first by its name in the known folders."""
    given = Path(weights).expanduser()
    if weights and given.is_file():
        return given
    folders = ([given] if weights else []) + [models_folder(), download_folder()]
    longer = tuple(other for other in TRUNKS if other != name and other.startswith(name))
    for folder in folders:
        for pattern in (f"{name}[-_.]*.safetensors", f"{name}[-_.]*.pth"):
            for path in sorted(folder.glob(pattern)):
                if not path.name.startswith(longer):
                    return path
    raise SaaneError(
        f"No weights of the trunk {name} ({name}_*.safetensors or torchvision's {name}-*.pth) are "
        f"in {', '.join(map(str, folders))}: give their file or folder with --weights."
    )
