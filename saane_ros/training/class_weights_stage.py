"""The stage of a training run that learns a static filter's class weights."""

from __future__ import annotations

from dataclasses import replace

import torch

from saane_ros.embedding.assembly import build_network, fill_network
from saane_ros.embedding.loading import preprocessing_of
from saane_ros.errors import SaaneError
from saane_ros.model.saane import SaaneNetwork
from saane_ros.training.class_weights import class_vlads, train_class_weights
from saane_ros.training.places import training_views
from saane_ros.training.run import Run
from saane_ros.training.weight_files import save_tensors


def train_filter(run: Run) -> tuple[dict[str, float], tuple[float, float]]:
    """Learn the weights into the filter's file; weight by class, and first and last loss."""
    card = run.card
    if card.filter is None or card.filter.mode != "learned":
        raise SaaneError(
            f"{run.config.path} has no filter of mode learned: add filter: {{mode: learned}}."
        )
    network = build_network(replace(card, filter=replace(card.filter, weights=None)), run.weights)
    assert isinstance(network, SaaneNetwork)
    assert network.static_filter is not None
    given = run.given_weights()
    fill_network(network, replace(card, filter=None), given)
    network.to(run.device).eval()
    views = training_views(run)
    torch.manual_seed(run.config.class_weights.seed)
    vlads = class_vlads(network, preprocessing_of(card), views, run.device)
    losses = train_class_weights(
        network.static_filter.cpu(), vlads, views.labels, run.config.class_weights
    )
    theta = network.static_filter.theta.detach()
    save_tensors({"theta": theta}, run.trained_file("filter"))
    assert card.semantics is not None
    names = card.semantics.classes
    return dict(zip(names, theta.sigmoid().tolist(), strict=True)), losses
