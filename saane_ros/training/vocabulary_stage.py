"""The vocabulary stage of a training run."""

from __future__ import annotations

from torch import Tensor

from saane_ros.embedding.assembly import build_network, own_centroids
from saane_ros.embedding.loading import preprocessing_of
from saane_ros.embedding.segmenting import Segmentation, load_segmentation
from saane_ros.errors import SaaneError
from saane_ros.model.dense_vlad import DenseVlad
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.vlad import VladHead
from saane_ros.training.places import training_views
from saane_ros.training.run import Run
from saane_ros.training.vocabulary import Learner, Vocabulary
from saane_ros.training.weight_files import save_weights
from saane_ros.weights.tensors import read_tensors


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
        _centroids(run, network),
    )
    learned = learner.run()
    holder = network if isinstance(network, DenseVlad) else network.head
    save_weights(holder, run.trained_file("head"))
    return learned


def _centroids(run: Run, network: SaaneNetwork | DenseVlad) -> Tensor | None:
    """Centroids to be taken from a file instead of clusters."""
    name = run.config.vocabulary.centroids
    if not name:
        return None
    head = None if isinstance(network, DenseVlad) else network.head
    if not isinstance(head, VladHead):
        raise SaaneError(
            f"{run.config.path} gives vocabulary.centroids to a {run.card.system} model: they are "
            "for sralnet, and for a netvlad that has the same words."
        )
    path = run.data / name
    return own_centroids(head, read_tensors(path), str(path))


def _segmentation(run: Run) -> Segmentation | None:
    """What tells shadows from representative features: needed by SRALNet, possible for NetVLAD."""
    options = run.config.vocabulary
    if run.card.system == "dense_vlad" or not options.segmentation:
        if run.card.system == "sralnet" and not options.centroids:
            raise SaaneError(
                f"{run.config.path} describes SRALNet and names neither vocabulary.segmentation "
                "nor vocabulary.centroids: give the model card whose classes tell moving from "
                "static features, or a file of centroids."
            )
        return None
    found = load_segmentation(options.segmentation, run.weights, str(run.device))
    if not found.dynamic:
        raise SaaneError(
            f"Model {options.segmentation} names no dynamic classes: give a card that does."
        )
    return found
