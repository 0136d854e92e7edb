"""A trained model as it ships: half-precision weight files and a card that knows their digests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import load_file

from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file, sha256_of
from saane_ros.training.weight_files import save_tensors
from saane_ros.weights.card_files import parse_card
from saane_ros.weights.cards import ModelCard

PARTS = {"appearance": "trunk", "semantics": "segmentation", "head": "head"}
"""The part of a card that uses the weight file of a role."""

UNKNOWN_DIGEST = "0" * 64


def parts_of(model: dict[str, Any]) -> dict[str, str]:
    """PARTS, and the filter where its class weights are learned."""
    learned = model.get("filter", {}).get("mode") == "learned"
    return {**PARTS, "filter": "filter"} if learned else PARTS


def trained_roles(model: dict[str, Any]) -> list[str]:
    """The roles of a training configuration whose weights are trained, not given."""
    given = model.get("weights", {})
    present = [
        role
        for part, role in parts_of(model).items()
        if part in model and model[part].get("weights") != ""
    ]
    return [role for role in present if role not in given]


def card_in_training(model: dict[str, Any], path: Path) -> ModelCard:
    """The card of a training configuration, whose trained weight files do not exist yet."""
    return parse_card(_card_text(model, dict.fromkeys(trained_roles(model), UNKNOWN_DIGEST)), path)


def export_model(
    model: dict[str, Any],
    trained: dict[str, Path],
    models: Path,
) -> Path:
    """Write `<name>.<role>.safetensors` for every trained part and `<name>.yaml`; the card's path.

    model: the card as in the training configuration.  trained: the weight file of each role.
    """
    digests = {}
    for role in trained_roles(model):
        if not trained[role].is_file():
            raise SaaneError(f"{trained[role]} does not exist: train that stage first.")
        target = models / _file_name(model, role)
        _write_half(trained[role], target)
        digests[role] = sha256_of(target)
    path = models / f"{model['name']}.yaml"
    with replacing_file(path) as temporary:
        temporary.write_text(_card_text(model, digests), encoding="utf-8")
    return path


def _card_text(model: dict[str, Any], digests: dict[str, str]) -> str:
    card = dict(model)
    for part, role in parts_of(model).items():
        if part in card:
            card[part] = {"weights": role, **card[part]}
    trained = {
        role: {
            "file": _file_name(model, role),
            "sha256": digest,
            **{key: model[key] for key in ("licence", "trained_on") if key in model},
        }
        for role, digest in digests.items()
    }
    card["weights"] = {**model.get("weights", {}), **trained}
    return yaml.safe_dump(card, sort_keys=False, width=100)


def _file_name(model: dict[str, Any], role: str) -> str:
    return f"{model['name']}.{role}.safetensors"


def _write_half(source: Path, target: Path) -> None:
    """Half precision halves the size; BatchNorm's batch counter is of no use any more."""
    tensors = {
        key: value.half()
        for key, value in load_file(source).items()
        if not key.endswith("num_batches_tracked")
    }
    save_tensors(tensors, target)
