"""The classification stage of a training run."""

from __future__ import annotations

import numpy as np
import torch

from saane_ros.embedding.assembly import build_card_head, build_trunk, load_trunk
from saane_ros.embedding.loading import preprocessing_of
from saane_ros.errors import SaaneError
from saane_ros.model.amosnet import AmosNet, CameraClassifier
from saane_ros.training.camera_classification import ClassificationTrainer
from saane_ros.training.places import training_views
from saane_ros.training.run import Run
from saane_ros.training.weight_files import save_weights
from saane_ros.weights.cards import load_card
from saane_ros.weights.store import find_weights
from saane_ros.weights.tensors import read_tensors


def train_classification(run: Run) -> float:
    """Train an AMOSNet into the run's weight files of trunk and head; its running accuracy."""
    card, options = run.card, run.config.classification
    if card.system != "amosnet" or not options.trunk_of:
        raise SaaneError(
            f"{run.config.path} describes {card.system} from the trunk of "
            f"{options.trunk_of or 'no model'}: classification trains amosnet and needs "
            "classification.trunk_of, a model card."
        )
    trunk = build_trunk(card)
    given = load_card(options.trunk_of)
    files = find_weights(given, run.weights)
    load_trunk(trunk, given, read_tensors(files[given.appearance.weights].path))
    head = build_card_head(card, trunk.channels16, 0, options.seed)
    assert isinstance(head, AmosNet)
    views = training_views(run)
    torch.manual_seed(options.seed)
    classifier = CameraClassifier(trunk, head, len(np.unique(views.labels)))
    trainer = ClassificationTrainer(
        classifier, preprocessing_of(card), views, options, run.out / "classification", run.device
    )
    accuracy = trainer.run()
    for role, module in (("trunk", trunk), ("head", head)):
        save_weights(module, run.trained_file(role))
    return accuracy
