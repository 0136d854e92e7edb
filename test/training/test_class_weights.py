"""Learned class weights: the filtered VLAD is linear in them, and training finds what misleads."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scenes import smooth_scene

from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.semantics import LightPspNet
from saane_ros.model.sralnet import SralNet
from saane_ros.model.static_filter import StaticFilter
from saane_ros.model.vlad import VladSizes
from saane_ros.training.augmentation import Augmentation
from saane_ros.training.class_weights import (
    ClassWeightTraining,
    class_vlads,
    filtered_vlads,
    hard_triplet_loss,
    train_class_weights,
)
from saane_ros.training.place_views import PlaceViews, Row, expanded

NAMES = ("wall", "tree", "car")
CPU = torch.device("cpu")


def network() -> SaaneNetwork:
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", width=8)
    head = SralNet(VladSizes(inputs=trunk.channels16, words=4, shadows=1))
    torch.nn.init.normal_(head.centroids)
    semantics = LightPspNet(trunk.channels8, trunk.channels16, 16, len(NAMES))
    torch.nn.init.normal_(semantics.classifier.weight)
    filtering = StaticFilter(NAMES, ("car",), "learned")
    return SaaneNetwork(trunk, semantics, head, static_filter=filtering).eval()


def views(folder: Path) -> PlaceViews:
    rows = []
    for index in range(3):
        path = folder / f"{index}.png"
        cv2.imwrite(str(path), smooth_scene(index, 64, 96))
        rows.append(Row(str(index), "all", "once", path))
    return expanded([("places", rows, 1, 0)], Augmentation())


def test_the_sum_over_classes_is_the_network_with_its_filter(tmp_path: Path) -> None:
    net, places = network(), views(tmp_path)
    with torch.no_grad():
        net.static_filter.theta.copy_(torch.tensor([1.0, -0.5, -3.0]))
    preprocessing = Preprocessing(64, 96)
    vlads = class_vlads(net, preprocessing, places, CPU)
    assert vlads.shape == (3, 3, 4, 32)
    found = filtered_vlads(vlads.float(), net.static_filter.theta.sigmoid()).detach()
    pixels = preprocessing([places.read(i) for i in range(3)], CPU)
    with torch.no_grad():
        expected = net(pixels).descriptor
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=3e-3)


def test_a_class_that_misleads_loses_its_weight() -> None:
    """Walls show the place, trees the occasion; both begin as static."""
    generator = torch.Generator().manual_seed(0)
    walls = torch.randn(6, 1, 2, 8, generator=generator)
    trees = torch.randn(4, 1, 2, 8, generator=generator)
    labels = np.repeat(np.arange(6), 4)
    parts = [
        torch.cat([walls[p], 1.5 * trees[o], torch.zeros(1, 2, 8)])
        for p in range(6)
        for o in range(4)
    ]
    filtering = StaticFilter(NAMES, ("car",), "learned")
    options = ClassWeightTraining(steps=150, places=6, views=4)
    first, last = train_class_weights(filtering, torch.stack(parts).half(), labels, options)
    weights = filtering.theta.sigmoid().tolist()
    assert last < 0.5 * first
    assert weights[1] < 0.5 < weights[0]
    assert weights[2] == pytest.approx(0.0474, abs=1e-3)


def test_loss_takes_the_hardest_of_each_row() -> None:
    rows = torch.nn.functional.normalize(
        torch.randn(6, 5, generator=torch.Generator().manual_seed(1)), dim=1
    )
    labels = [0, 0, 1, 1, 2, 2]
    terms = []
    for i in range(6):
        squared = [float(((rows[i] - rows[j]) ** 2).sum()) for j in range(6)]
        farthest = max(squared[j] for j in range(6) if labels[j] == labels[i])
        nearest = min(squared[j] for j in range(6) if labels[j] != labels[i])
        terms.append(max(0.0, farthest - nearest + 0.1))
    loss = hard_triplet_loss(rows, torch.tensor(labels), 0.1)
    assert float(loss) == pytest.approx(sum(terms) / 6, abs=1e-5)


def test_places_seen_once_teach_nothing() -> None:
    filtering = StaticFilter(NAMES, ("car",), "learned")
    with pytest.raises(SaaneError, match="at least two places of two images"):
        train_class_weights(
            filtering, torch.zeros(3, 3, 2, 8), np.arange(3), ClassWeightTraining(steps=1)
        )
