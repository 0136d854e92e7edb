"""The stages of a training run: segmentation with its trunk, the head, the shipped model."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from saane_ros.embedding.assembly import build_network, load_semantics, load_trunk
from saane_ros.embedding.loading import preprocessing_of
from saane_ros.errors import SaaneError
from saane_ros.files import sha256_of
from saane_ros.localization.calibration import fit_calibration, standardise
from saane_ros.model.heads import Head
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.semantics import LightPspNet
from saane_ros.paths import cache_folder
from saane_ros.simulation import CLASS_NAMES, DYNAMIC_CLASSES
from saane_ros.training.config import TrainingConfig
from saane_ros.training.embedding_trainer import EmbeddingTrainer
from saane_ros.training.export import card_in_training, export_model
from saane_ros.training.features import FeatureCache, cached_features
from saane_ros.training.places import PlaceImages, read_places
from saane_ros.training.segmentation_trainer import SegmentationTrainer
from saane_ros.training.town_images import labelled_images, render_training_towns
from saane_ros.training.validation import (
    Retrieval,
    condition_retrievals,
    describe_all,
    mean_recall,
)
from saane_ros.types import Calibration
from saane_ros.weights.cards import ModelCard

VALIDATION_LABELS = 300
"""Label maps that a validation of the segmentation looks at, spread over its towns."""


def model_card(config: TrainingConfig) -> ModelCard:
    """The card that the configuration describes, with the classes of the town."""
    return card_in_training(complete_model(config), Path("training.yaml"))


def complete_model(config: TrainingConfig) -> dict[str, Any]:
    """The configuration's model with the town's class names filled in."""
    semantics = {
        **config.model["semantics"],
        "classes": list(CLASS_NAMES),
        "dynamic": sorted(DYNAMIC_CLASSES),
    }
    return {**config.model, "semantics": semantics}


def town_folder(config: TrainingConfig) -> Path:
    """The rendered towns of this configuration in the cache folder, rendered where missing."""
    key = hashlib.sha256(repr(asdict(config.town)).encode()).hexdigest()[:12]
    folder = cache_folder() / "towns" / key
    render_training_towns(config.town, folder)
    return folder


def train_segmentation(config: TrainingConfig, out: Path, device: torch.device) -> float:
    """Train trunk and segmentation on the towns' labels; the best validation mIoU."""
    torch.manual_seed(config.segmentation.seed)
    card = model_card(config)
    network = build_network(card)
    if not isinstance(network.semantics, LightPspNet):
        raise SaaneError(f"Model {card.name} has no light_pspnet, which is what is trained here.")
    towns = town_folder(config)
    validation = labelled_images(towns / "validation")
    every = max(1, len(validation.images) // VALIDATION_LABELS)
    trainer = SegmentationTrainer(
        network.appearance,
        network.semantics,
        preprocessing_of(card),
        labelled_images(towns / "training"),
        labelled_images(towns / "validation", every),
        config.segmentation,
        out / "segmentation",
        device,
    )
    return trainer.run()


def train_embedding(config: TrainingConfig, out: Path, device: torch.device) -> float:
    """Train the head on frozen features of the towns; the best validation Recall@1."""
    network = _trained_trunks(config, out, device)
    training, cache = _features(config, network, out, "training")
    places, held_out = _features(config, network, out, "validation")
    searches = _searches(config, places)

    def validate(head: Head) -> dict[str, float]:
        tolerance = config.validation.tolerance
        return mean_recall(head, held_out, places, searches, tolerance, device)

    trainer = EmbeddingTrainer(
        network.head, cache, training, validate, config.embedding, out / "embedding", device
    )
    return trainer.run()


def export(config: TrainingConfig, out: Path, models: Path, device: torch.device) -> Path:
    """Write the trained model as card and weight files; the card's path."""
    network = _trained_trunks(config, out, device)
    head = out / "embedding" / "head.safetensors"
    if not head.is_file():
        raise SaaneError(f"{head} does not exist: run `saane train embedding` first.")
    network.head.load_state_dict(load_file(head))
    calibration = _calibrate(config, network, out, device)
    trained = {
        "trunk": out / "segmentation" / "trunk.safetensors",
        "segmentation": out / "segmentation" / "segmentation.safetensors",
        "head": head,
    }
    return export_model(complete_model(config), trained, calibration, models)


def _trained_trunks(config: TrainingConfig, out: Path, device: torch.device) -> SaaneNetwork:
    card = model_card(config)
    network = build_network(card)
    folder = out / "segmentation"
    for name in ("trunk.safetensors", "segmentation.safetensors"):
        if not (folder / name).is_file():
            raise SaaneError(
                f"{folder / name} does not exist: run `saane train segmentation` with the same "
                "--out first."
            )
    load_trunk(network.appearance, card, load_file(folder / "trunk.safetensors"))
    load_semantics(network.semantics, card, load_file(folder / "segmentation.safetensors"))
    return network.to(device).eval()


def _features(
    config: TrainingConfig, network: SaaneNetwork, out: Path, purpose: str
) -> tuple[PlaceImages, FeatureCache]:
    places = read_places(town_folder(config) / purpose / "images")
    weights = sorted((out / "segmentation").glob("*.safetensors"))
    trunks = "".join(map(sha256_of, weights))
    cache = cached_features(
        network,
        preprocessing_of(model_card(config)),
        places.paths,
        trunks,
        out / "features",
        f"features of {purpose} images",
    )
    return places, cache


def _searches(config: TrainingConfig, places: PlaceImages) -> list[Retrieval]:
    return condition_retrievals(
        places, config.validation.reference, list(config.validation.queries)
    )


def _calibrate(
    config: TrainingConfig, network: SaaneNetwork, out: Path, device: torch.device
) -> Calibration:
    """What distances mean, from genuine and other pairs of the validation towns."""
    places, cache = _features(config, network, out, "validation")
    descriptors = describe_all(network.head, cache, device)
    labels = np.array(places.labels)
    genuine, impostor = [], []
    for search in _searches(config, places):
        references = descriptors[search.references]
        for query in search.queries:
            z = standardise(np.linalg.norm(references - descriptors[query], axis=1))
            apart = np.abs(labels[search.references] - labels[query])
            genuine.append(z[apart == 0])
            impostor.append(z[apart > config.validation.tolerance])
    return fit_calibration(np.concatenate(genuine), np.concatenate(impostor))
