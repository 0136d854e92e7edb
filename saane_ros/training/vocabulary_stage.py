"""The vocabulary stage of a training run."""

from __future__ import annotations

from saane_ros.embedding.assembly import build_network
from saane_ros.embedding.loading import preprocessing_of
from saane_ros.embedding.segmenting import Segmentation, load_segmentation
from saane_ros.errors import SaaneError
from saane_ros.model.dense_vlad import DenseVlad
from saane_ros.model.saane import SaaneNetwork
from saane_ros.training.places import training_views
from saane_ros.training.run import Run
from saane_ros.training.vocabulary import Learner, Vocabulary
from saane_ros.training.weight_files import save_weights


def train_vocabulary(run: Run) -> Vocabulary:
    """Learn words and whitening from the configuration's places into the head's weight file."""
    card = run.card
    if card.aggregation is None:
        raise SaaneError(
            f"{run.config.path} describes a {card.system} model, which has no vocabulary: give one "
            "of netvlad, sralnet or dense_vlad."
        )
    network: SaaneNetwork | DenseVlad = (
        build_network(card) if card.system == "dense_vlad" else run.network()
    )
    learner = Learner(
        network,
        preprocessing_of(card),
        training_views(run),
        run.config.vocabulary,
        run.device,
        _segmentation(run),
    )
    learned = learner.run()
    holder = network if isinstance(network, DenseVlad) else network.head
    save_weights(holder, run.trained_file("head"))
    return learned


def _segmentation(run: Run) -> Segmentation | None:
    """What tells shadows from representative features: needed by SRALNet alone."""
    name = run.config.vocabulary.segmentation
    if run.card.system != "sralnet":
        return None
    if not name:
        raise SaaneError(
            f"{run.config.path} describes SRALNet and names no vocabulary.segmentation: give the "
            "model card whose classes tell moving from static features."
        )
    found = load_segmentation(name, run.weights, str(run.device))
    if not found.dynamic:
        raise SaaneError(f"Model {name} names no dynamic classes: give a card that does.")
    return found
