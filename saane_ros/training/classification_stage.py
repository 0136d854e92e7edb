"""The classification stage of a training run."""

from __future__ import annotations

import numpy as np
import torch

from saane_ros.embedding.assembly import build_card_head, build_trunk, load_trunk
from saane_ros.embedding.loading import preprocessing_of
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.model.amosnet import AmosNet, CameraClassifier
from saane_ros.training.camera_classification import ClassificationTrainer, Measure, described
from saane_ros.training.initialisation import start_at_trunk
from saane_ros.training.places import held_out_views, require_disjoint, searches, training_views
from saane_ros.training.run import Run
from saane_ros.training.validation import search_figures
from saane_ros.weights.card_files import load_card
from saane_ros.weights.store import find_weights
from saane_ros.weights.tensors import read_tensors


def train_classification(run: Run) -> float:
    """Train an AMOSNet; the best by held-out places goes into the run's files of trunk and head.

    Its 1x1 convolution starts orthogonal, so that the pyramid starts at the trunk's own. Returns
    the best score.
    """
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
    load_trunk(trunk, given, {key: read_tensors(file.path) for key, file in files.items()})
    head = build_card_head(card, trunk.channels16, 0, options.seed)
    assert isinstance(head, AmosNet)
    torch.manual_seed(options.seed)
    start_at_trunk(head, options.seed)
    views = training_views(run)
    preprocessing = preprocessing_of(card)
    trainer = ClassificationTrainer(
        CameraClassifier(trunk, head, len(np.unique(views.labels)), options.loss),
        preprocessing,
        views,
        _held_out_measure(run, preprocessing),
        options,
        run.out / "classification",
        {role: run.trained_file(role) for role in ("trunk", "head")},
        run.device,
        [source.weight for source in run.config.places],
    )
    return trainer.run()


def _held_out_measure(run: Run, preprocessing: Preprocessing) -> Measure:
    """Searches among the held-out places, whose images are read once."""
    views, options = held_out_views(run), run.config.classification
    require_disjoint(training_views(run), views)
    wanted = searches(run, views)
    images = [preprocessing.resize(views.read(row)) for row in range(len(views))]

    def measure(model: CameraClassifier) -> dict[str, float]:
        batches = (
            preprocessing(images[start : start + options.batch], run.device)
            for start in range(0, len(images), options.batch)
        )
        descriptors = described(model, batches, run.device, options.bf16)
        return search_figures(descriptors.numpy(), views.labels, wanted)

    return measure
