"""AMOSNet's training: it learns to tell places apart, and a cut run ends as an uncut one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scenes import smooth_scene

from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.model.amosnet import AmosNet, CameraClassifier
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.heads import HeadSizes
from saane_ros.training.augmentation import Augmentation
from saane_ros.training.camera_classification import ClassificationTrainer, ClassificationTraining
from saane_ros.training.place_views import PlaceViews, Row, expanded

OPTIONS = ClassificationTraining(steps=60, batch=8, learning_rate=0.03, save_every=30)
PLACES = 4


@pytest.fixture
def views(tmp_path: Path) -> PlaceViews:
    """Four places, each seen by three lights."""
    rows = []
    for place in range(PLACES):
        for light in range(3):
            path = tmp_path / f"{place}-{light}.png"
            dimmed = smooth_scene(place, 48, 64) * (0.5 + 0.25 * light)
            cv2.imwrite(str(path), dimmed.astype(np.uint8))
            rows.append(Row(str(place), "all", str(light), path))
    return expanded([("places", rows, 1, 0)], Augmentation())


def trainer(views: PlaceViews, out: Path, steps: int = OPTIONS.steps) -> ClassificationTrainer:
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", width=8)
    head = AmosNet(HeadSizes(c_a=trunk.channels16, channels=8))
    model = CameraClassifier(trunk, head, PLACES)
    cpu = torch.device("cpu")
    options = replace(OPTIONS, steps=steps)
    return ClassificationTrainer(model, Preprocessing(48, 64), views, options, out, cpu)


def test_places_are_told_apart_by_trained_layers_throughout(
    views: PlaceViews, tmp_path: Path
) -> None:
    learning = trainer(views, tmp_path / "out")
    before = {k: v.clone() for k, v in learning.model.named_parameters()}
    statistics = learning.model.trunk.bn1.running_mean.clone()
    assert learning.run() > 0.8
    pixels = learning.preprocessing([views.read(i) for i in range(len(views))], learning.device)
    with torch.no_grad():
        told = learning.model(pixels).argmax(dim=1)
    assert (told.numpy() == views.labels).mean() > 0.9
    assert all(not torch.equal(v, before[k]) for k, v in learning.model.named_parameters())
    assert torch.equal(learning.model.trunk.bn1.running_mean, statistics)


def test_a_run_that_was_cut_ends_as_one_that_was_not(views: PlaceViews, tmp_path: Path) -> None:
    whole = trainer(views, tmp_path / "whole", steps=8)
    whole.run()
    trainer(views, tmp_path / "cut", steps=5).run()
    rest = trainer(views, tmp_path / "cut", steps=8)
    rest.run()
    for name, values in whole.model.state_dict().items():
        assert torch.equal(values, rest.model.state_dict()[name]), name
