"""AMOSNet's training: it learns to tell places apart, and a cut run ends as an uncut one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scenes import smooth_scene
from torch.nn import functional

from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.model.amosnet import SCALE, AmosNet, CameraClassifier, Loss
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.heads import HeadSizes
from saane_ros.training.augmentation import Augmentation
from saane_ros.training.camera_classification import (
    ClassificationTrainer,
    ClassificationTraining,
    PlaceDraw,
)
from saane_ros.training.place_views import PlaceViews, Row, expanded

OPTIONS = ClassificationTraining(
    steps=60, batch=8, learning_rate=0.05, trunk_rate=0.5, augment=False, validate_every=30
)
PLACES = 4
CPU = torch.device("cpu")


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


def pixels_of(learning: ClassificationTrainer) -> torch.Tensor:
    views = learning.views
    return learning.preprocessing([views.read(i) for i in range(len(views))], CPU)


def trainer(
    views: PlaceViews, out: Path, options: ClassificationTraining = OPTIONS
) -> ClassificationTrainer:
    """Its score is the share of views that are told right."""
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", width=8)
    head = AmosNet(HeadSizes(c_a=trunk.channels16, channels=8))
    files = {"trunk": out / "trunk.safetensors", "head": out / "head.safetensors"}

    @torch.no_grad()
    def measure(model: CameraClassifier) -> dict[str, float]:
        told = model(pixels_of(learning)).argmax(dim=1).numpy()
        return {"score": float((told == views.labels).mean())}

    learning = ClassificationTrainer(
        CameraClassifier(trunk, head, PLACES, options.loss),
        Preprocessing(48, 64),
        views,
        measure,
        options,
        out,
        files,
        CPU,
    )
    return learning


@pytest.mark.parametrize("loss", ["softmax", "cosine"])
def test_places_are_told_apart_by_trained_layers_throughout(
    loss: Loss, views: PlaceViews, tmp_path: Path
) -> None:
    learning = trainer(views, tmp_path / "out", replace(OPTIONS, loss=loss))
    before = {k: v.clone() for k, v in learning.model.named_parameters()}
    statistics = learning.model.trunk.bn1.running_mean.clone()
    assert learning.run() > 0.9
    assert learning.history[-1]["loss"] < 0.6 * np.log(PLACES)
    assert all(not torch.equal(v, before[k]) for k, v in learning.model.named_parameters())
    assert torch.equal(learning.model.trunk.bn1.running_mean, statistics)


def test_a_run_that_was_cut_ends_as_one_that_was_not(views: PlaceViews, tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=8, validate_every=5, augment=True)
    whole = trainer(views, tmp_path / "whole", options)
    whole.run()
    cut = trainer(views, tmp_path / "cut", options)
    plain_step = cut.step

    def step(number: int) -> float:
        if number == 6:
            raise KeyboardInterrupt
        return plain_step(number)

    cut.step = step  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    rest = trainer(views, tmp_path / "cut", options)
    rest.run()
    for name, values in whole.model.state_dict().items():
        assert torch.equal(values, rest.model.state_dict()[name]), name
    assert [row["step"] for row in rest.history] == [0, 5, 8]


def test_a_softmax_begins_undecided_and_weighs_the_pooled_pyramid(
    views: PlaceViews, tmp_path: Path
) -> None:
    learning = trainer(views, tmp_path / "out")
    learning.begin()
    model, pixels = learning.model, pixels_of(learning)[:3]
    with torch.no_grad():
        assert torch.equal(model(pixels), torch.zeros(3, PLACES))
        torch.nn.init.normal_(model.classifier.weight)
        torch.nn.init.normal_(model.classifier.bias)
        features = model.head.projection(model.trunk(pixels).stride16)
        cells = [
            functional.adaptive_max_pool2d(features, level).flatten(1) for level in (4, 3, 2, 1)
        ]
        pyramid = torch.cat(cells, dim=1)
        wanted = pyramid @ model.classifier.weight.T + model.classifier.bias
        torch.testing.assert_close(model(pixels), wanted)
        torch.testing.assert_close(model.describe(pixels), functional.normalize(pyramid, dim=1))


def test_class_weights_begin_at_a_view_of_their_class(views: PlaceViews, tmp_path: Path) -> None:
    """Where cosines are learned, which have no bias."""
    learning = trainer(views, tmp_path / "out", replace(OPTIONS, loss="cosine"))
    learning.begin()
    assert learning.model.classifier.bias is None
    first = [int(np.flatnonzero(views.labels == place)[0]) for place in range(PLACES)]
    with torch.no_grad():
        logits = learning.model(pixels_of(learning))[first]
    torch.testing.assert_close(logits.diagonal(), torch.full((PLACES,), SCALE))
    assert (logits <= SCALE + 1e-3).all()


def test_the_trunk_moves_by_its_own_rate_and_blends_are_judged(
    views: PlaceViews, tmp_path: Path
) -> None:
    options = replace(OPTIONS, steps=2, validate_every=1, trunk_rate=0.0, blends=(0.5,))
    learning = trainer(views, tmp_path / "out", options)
    scores = iter([0.1, 0.2, 0.3, 0.4])
    learning.measure = lambda model: {"score": next(scores)}
    start = {k: v.clone() for k, v in learning.model.state_dict().items()}
    assert learning.run() == 0.4
    end = learning.model.state_dict()
    for name, value in learning.model.trunk.state_dict().items():
        assert torch.equal(value, start[f"trunk.{name}"]), name
    kept = load_file(tmp_path / "out" / "head.safetensors")
    for name, value in kept.items():
        assert not torch.equal(end[f"head.{name}"], start[f"head.{name}"])
        half = (start[f"head.{name}"] + end[f"head.{name}"]) / 2
        torch.testing.assert_close(value, half)
    assert learning.history[-1] == {"blend": 0.5, "score": 0.4}


def test_sources_are_drawn_by_weight_and_their_places_alike(tmp_path: Path) -> None:
    """One source of one place with five views, one of three places, three times as often."""
    few = [Row("a", "g", str(i), tmp_path / f"a{i}.png") for i in range(5)]
    many = [Row(place, "g", "0", tmp_path / f"{place}.png") for place in "bcd"]
    views = expanded([("few", few, 1, 0), ("many", many, 1, 0)], Augmentation())
    rows = PlaceDraw(views, [1.0, 3.0]).rows(8000, np.random.default_rng(0))
    shares = np.bincount(views.labels[rows], minlength=4) / 8000
    np.testing.assert_allclose(shares, [0.25] * 4, atol=0.02)
    seen = np.bincount(rows[views.labels[rows] == 0], minlength=5)
    np.testing.assert_allclose(seen / seen.sum(), [0.2] * 5, atol=0.03)
