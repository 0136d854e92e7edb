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

PARTS = {"appearance": "trunk", "semantics": "segmentation", "head": "head", "filter": "filter"}
"""The parts of a card with weights, and the role of their weight file where they name none."""

UNKNOWN_DIGEST = "0" * 64


def roles_of(model: dict[str, Any]) -> dict[str, list[str]]:
    """The roles of the weight files of every part that has weights, by part.

    A part that names its files is believed: a PSPNet of two files has two roles. A Hugging Face
    segmentation has none, as its weights come with its checkpoint, and only learned class weights
    make a filter one.
    """
    return {part: roles for part in PARTS if part in model and (roles := _roles(model, part))}


def _roles(model: dict[str, Any], part: str) -> list[str]:
    fields = model[part]
    if fields.get("network") == "huggingface" or (
        part == "filter" and fields.get("mode") != "learned"
    ):
        return []
    named = fields.get("weights", PARTS[part])
    return [named] if isinstance(named, str) and named else list(named or [])


def trained_roles(model: dict[str, Any]) -> list[str]:
    """The roles of a training configuration whose weights are trained, not given."""
    given = model.get("weights", {})
    return [role for roles in roles_of(model).values() for role in roles if role not in given]


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
    for part in roles_of(model):
        card[part] = {"weights": PARTS[part], **card[part]}
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
