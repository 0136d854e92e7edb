"""One training run: its configuration, its folders, and the networks as far as they are trained."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from saane_ros.data.images.labelled import LabelClasses, read_classes
from saane_ros.embedding.assembly import (
    Tensors,
    build_card_head,
    build_semantics,
    build_trunk,
    fill_trunks,
)
from saane_ros.errors import SaaneError
from saane_ros.model.appearance import Trunk
from saane_ros.model.saane import SaaneNetwork
from saane_ros.paths import cache_folder
from saane_ros.simulation import CLASS_NAMES, DYNAMIC_CLASSES
from saane_ros.training.config import TrainingConfig
from saane_ros.training.export import card_in_training
from saane_ros.training.town_images import render_training_towns
from saane_ros.weights.cards import ModelCard
from saane_ros.weights.store import find_weights
from saane_ros.weights.tensors import read_tensors


@dataclass(frozen=True)
class Run:
    """out: folder of checkpoints and features.  data: folder that the configuration's paths are in.

    weights: folder looked into first for the weight files that the configuration names.
    labels: folder that `saane train pseudo-labels` wrote, looked into first for label maps.
    first: whether this is the first of several processes, whose caches the others read.
    """

    config: TrainingConfig
    out: Path
    data: Path = Path()
    weights: str = ""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    labels: Path | None = None
    first: bool = True

    @property
    def model(self) -> dict[str, Any]:
        """The configuration's model with the class names of what its segmentation learns from."""
        semantics = self.config.model.get("semantics")
        if semantics is None or "classes" in semantics or semantics["network"] == "huggingface":
            return self.config.model
        known = self.classes
        filled = {**semantics, "classes": list(known.classes), "dynamic": list(known.dynamic)}
        return {**self.config.model, "semantics": filled}

    @property
    def shipped(self) -> dict[str, Any]:
        """The model without the given trunk where weak supervision makes another one of it."""
        given = self.model.get("weights", {})
        if not self.config.weak.train_trunk:
            return self.model
        kept = {role: source for role, source in given.items() if role != "trunk"}
        return {**self.model, "weights": kept}

    @property
    def classes(self) -> LabelClasses:
        if self.config.labels is None:
            return LabelClasses(CLASS_NAMES, tuple(sorted(DYNAMIC_CLASSES)))
        return read_classes(self.config.path.parent / self.config.labels.classes)

    @property
    def card(self) -> ModelCard:
        """The card that the configuration describes; digests of trained files are not known yet."""
        return card_in_training(self.model, self.config.path)

    def towns(self, purpose: str) -> Path:
        """The "training" or "validation" towns in the cache folder, rendered where missing."""
        if self.config.town is None:
            raise SaaneError(
                f"{self.config.path} uses towns and has no section `town`: add it, or `labels`, "
                "`places` and `held_out` of another kind."
            )
        key = hashlib.sha256(repr(asdict(self.config.town)).encode()).hexdigest()[:12]
        folder = cache_folder() / "towns" / key
        render_training_towns(self.config.town, folder)
        return folder / purpose

    def given_weights(self) -> dict[str, Tensors]:
        """The tensors of the weight files that are not trained here, by key."""
        given = self.config.model.get("weights", {})
        card = self.card
        known = replace(card, weights={key: card.weights[key] for key in given})
        found = find_weights(known, self.weights)
        return {key: read_tensors(file.path) for key, file in found.items()}

    def trained_file(self, role: str) -> Path:
        """Where a trained part is kept; role: trunk, segmentation or head."""
        stage = "embedding" if role == "head" else "segmentation"
        return self.out / stage / f"{role}.safetensors"

    def fine_tuned_trunk(self) -> dict[str, Tensors]:
        """The trunk that weak supervision left, by its key; none where it keeps the given one.

        What learns behind that trunk learns from it, not from the one that it began as.
        """
        if not self.config.weak.train_trunk:
            return {}
        file = self.trained_file("trunk")
        if not file.is_file():
            raise SaaneError(
                f"{file} does not exist: run `saane train weak` with the same --out first."
            )
        return {self.card.local_features.weights: load_file(file)}

    def frozen_trunks(self) -> tuple[Trunk, nn.Module | None]:
        """Appearance trunk and semantic network with their weights, given or trained before."""
        card = self.card
        files = self.given_weights()
        needed = [*card.trunk_weights, *(card.semantics.weights if card.semantics else ())]
        for role in needed:
            if role in files:
                continue
            file = self.trained_file(role)
            if not file.is_file():
                raise SaaneError(
                    f"{file} does not exist: run `saane train segmentation` with the same --out "
                    "first."
                )
            files[role] = load_file(file)
        trunk = build_trunk(card)
        semantics = build_semantics(card, trunk, self.weights)
        fill_trunks(trunk, semantics, card, files)
        return trunk, semantics

    def network(self, system: str | None = None, seed: int | None = None) -> SaaneNetwork:
        """Frozen trunks with a new head, of another system or from another seed if given."""
        trunk, semantics = self.frozen_trunks()
        card = self.card if system is None else replace(self.card, system=system)  # type: ignore[arg-type]
        c_s = 0 if semantics is None else int(semantics.channels)  # type: ignore[arg-type]
        head = build_card_head(card, trunk.channels16, c_s, seed)
        short_side = card.semantics.short_side if card.semantics else None
        return SaaneNetwork(trunk, semantics, head, short_side).to(self.device)
