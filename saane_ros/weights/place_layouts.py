"""Published checkpoints of place recognition, brought to the names of our trunks and heads.

Most hold trunk and head in one file: the trunk under `backbone.`, the head under `aggregator.` or
loose. A file of ours, or a trunk's own, has neither and passes unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from saane_ros.errors import SaaneError
from saane_ros.weights.checkpoints import without_module_prefix

TRUNK = re.compile(r"(?:backbone\.(?:model\.|dino\.|net\.)?|features\.)(.+)")
RESNET = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""Places of a ResNet's layers where its authors keep them in a sequence."""

HEADS: dict[str, dict[str, str]] = {
    "gem": {"pool.": "gem.", "whiten.": "projection."},
    "cosplace": {"aggregation.1.": "gem.", "aggregation.3.": "projection."},
    "convap": {"aggregator.": ""},
    "mixvpr": {"aggregator.": ""},
    "boq": {"aggregator.": ""},
    "salad": {"aggregator.": ""},
    "megaloc": {"aggregator.agg.": "", "aggregator.": ""},
    "cricavpr": {"aggregation.1.": "gem.", "encoder.": "encoder."},
    "selavpr": {"aggregation.1.": "gem.", "LocalAdapt.": "branch."},
    "selavpr_pp": {"aggregation.1.": "gem.", "linear1.": "mix.", "linear2.": "projection."},
    "anyloc": {},
}
"""What a name of the head begins with in the file, and in ours."""

OTHER_STAGES = {
    "selavpr_pp": ("aggregation_hashing.", "linear3.", "linear4.", "backbone.adapters_hashing."),
}
"""Parts for a search by binary codes, which no descriptor is made of."""

MARKS = {
    "pool.p": "gem",
    "aggregation.3.weight": "cosplace",
    "aggregator.channel_pool.weight": "convap",
    "aggregator.row_proj.weight": "mixvpr",
    "aggregator.fc.weight": "boq",
    "aggregator.dust_bin": "salad",
    "aggregator.agg.dust_bin": "megaloc",
    "encoder.layers.0.linear1.weight": "cricavpr",
    "LocalAdapt.upconv1.weight": "selavpr",
    "linear2.weight": "selavpr_pp",
}
"""A key that only one system's checkpoint has."""


def place_trunk(
    tensors: Mapping[str, Tensor], system: str, trunk: str, what: str
) -> dict[str, Tensor]:
    """The trunk's tensors under the names of torchvision or of DINOv2's authors.

    trunk: as in a card. what: names the weights in the error for another system's checkpoint.
    """
    plain = _checked(tensors, system, what)
    matches = {key: TRUNK.fullmatch(key) for key in plain}
    if not any(matches.values()):
        return plain
    return {_layer(match[1], trunk): plain[key] for key, match in matches.items() if match}


def place_head(tensors: Mapping[str, Tensor], system: str, what: str) -> dict[str, Tensor]:
    """The head's tensors under our names; a foreign key stays, for strict loading to name it."""
    plain = _checked(tensors, system, what)
    found = {}
    for key, value in plain.items():
        if TRUNK.fullmatch(key):
            continue
        begun = next((start for start in HEADS[system] if key.startswith(start)), "")
        found[HEADS[system].get(begun, "") + key.removeprefix(begun)] = value
    if "mix.weight" in found and system == "selavpr_pp":
        # A fully connected layer over every cell is a 1x1 convolution.
        found["mix.weight"] = found["mix.weight"].reshape(*found["mix.weight"].shape[:2], 1, 1)
    return found


def _layer(name: str, trunk: str) -> str:
    place, _, rest = name.partition(".")
    if trunk == "vgg16" and place.isdigit():
        return f"features.{name}"
    return f"{RESNET[place]}.{rest}" if place in RESNET else name


def _checked(tensors: Mapping[str, Tensor], system: str, what: str) -> dict[str, Tensor]:
    """Without the prefix of several GPUs and the parts of other stages."""
    plain = without_module_prefix(tensors)
    looks = [name for mark, name in MARKS.items() if mark in plain]
    if looks and system not in looks:
        raise SaaneError(
            f"{what} is a checkpoint of {' or '.join(looks)} where the model card expects "
            f"{system}: give the file that the card names, or the card of that file."
        )
    dropped = OTHER_STAGES.get(system, ())
    return {key: value for key, value in plain.items() if not key.startswith(dropped)}
