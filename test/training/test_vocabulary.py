"""Vocabularies and whitening, learned from small images and checked by their definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from scenes import smooth_scene

from saane_ros.cli import main
from saane_ros.embedding.loading import load_embedder
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.dense_sift import DenseGrid
from saane_ros.model.dense_vlad import DenseVlad
from saane_ros.model.netvlad import NetVlad
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.sralnet import SralNet
from saane_ros.model.vlad import VladSizes
from saane_ros.training.vocabulary import Learner, VocabularyTraining, moving_cells, spread
from saane_ros.training.whitening import pca_projection, pca_whitening
from saane_ros.types import Rgb

OPTIONS = VocabularyTraining(images=8, per_image=12, iterations=10)
CPU = torch.device("cpu")


class Scenes:
    key = "scenes"

    def __init__(self, count: int = 12) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Rgb:
        noise = np.random.default_rng(index).integers(0, 60, (120, 160, 3))
        return (smooth_scene(index) // 2 + noise).astype(np.uint8)


@pytest.mark.parametrize("count", [40, 9])
def test_whitened_descriptors_have_unit_covariance(count: int) -> None:
    generator = np.random.default_rng(0)
    values = (generator.normal(size=(count, 12)) * np.linspace(3, 1, 12) + 5).astype(np.float32)
    weight, bias = pca_whitening(values, 6)
    assert weight.shape == (6, 12)
    whitened = values @ weight.numpy().T + bias.numpy()
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(6), atol=1e-3)
    # The directions are those of the largest variance: numpy's own, whatever their sign.
    covariance = np.cov(values.astype(np.float64).T)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    expected = (vectors[:, ::-1] / np.sqrt(eigenvalues[::-1].clip(1e-12)))[:, :6].T
    for found, wanted in zip(weight.numpy(), expected, strict=True):
        np.testing.assert_allclose(found * np.sign(found @ wanted), wanted, rtol=1e-2, atol=1e-3)


def test_a_whitening_needs_more_images_than_values() -> None:
    with pytest.raises(SaaneError, match="6 descriptors of 12 values have fewer than 6 directions"):
        pca_whitening(np.random.default_rng(0).normal(size=(6, 12)).astype(np.float32), 6)


def test_projection_keeps_the_largest_directions() -> None:
    features = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    features = features * torch.tensor([1.0, 5.0, 0.1, 3.0, 0.1]) + 2
    weight, bias = pca_projection(features, 2)
    np.testing.assert_allclose((weight @ weight.T).numpy(), np.eye(2), atol=1e-5)
    assert weight.abs().argmax(dim=1).tolist() == [1, 3]
    np.testing.assert_allclose((features @ weight.T + bias).mean(dim=0).numpy(), 0, atol=1e-5)


def test_rows_are_spread_over_all() -> None:
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(3, 10) == [0, 1, 2]


def dense_network(whitening: int = 0) -> DenseVlad:
    return DenseVlad(6, whitening, (0.0,) * 3, (1.0,) * 3, DenseGrid(bins=(4,), step=8))


def learn(network: SaaneNetwork | DenseVlad, options: VocabularyTraining = OPTIONS) -> object:
    preprocessing = Preprocessing(64, 96, (0.0,) * 3, (1.0,) * 3)
    return Learner(network, preprocessing, Scenes(), options, CPU).run()


def test_dense_words_are_unit_means_of_their_features_and_come_out_the_same_again() -> None:
    first, second = dense_network(whitening=4), dense_network(whitening=4)
    learned = learn(first)
    learn(second)
    assert (learned.images, learned.features, learned.whitened_from) == (8, 96, 12)
    for name, values in first.state_dict().items():
        assert torch.equal(values, second.state_dict()[name]), name
    words = first.centroids.numpy()
    np.testing.assert_allclose(np.linalg.norm(words, axis=1), 1, atol=1e-5)
    assert len(np.unique(words.round(4), axis=0)) == 6
    pixels = Preprocessing(64, 96, (0.0,) * 3, (1.0,) * 3)([Scenes().read(0)], CPU)
    assert first(pixels).descriptor.shape == (1, 4)


def small_netvlad(**sizes: int) -> SaaneNetwork:
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", width=8)
    head = NetVlad(VladSizes(inputs=trunk.channels16, words=5, **sizes))
    return SaaneNetwork(trunk, None, head)


def test_netvlad_is_filled_and_its_whitening_fits_what_it_gives() -> None:
    network = small_netvlad(project=8, whitening=4)
    learned = learn(network)
    assert learned.alpha > 0
    whitening = network.head.whitening
    network.head.whitening = torch.nn.Identity()
    preprocessing = Preprocessing(64, 96, (0.0,) * 3, (1.0,) * 3)
    with torch.no_grad():
        plain = torch.cat(
            [network(preprocessing([Scenes().read(i)], CPU)).descriptor for i in range(12)]
        )
        whitened = plain @ whitening.weight.T + whitening.bias
    np.testing.assert_allclose(np.cov(whitened.numpy().T), np.eye(4), atol=2e-2)
    assert float(network.head.centroids.detach().norm(dim=1).max()) <= 1 + 1e-5


def test_too_few_features_are_told() -> None:
    with pytest.raises(SaaneError, match=r"6 clusters need at least as many .* 4 were found"):
        learn(dense_network(), replace(OPTIONS, images=2, per_image=2))


class BlueMoves:
    """Stands in for a segmentation by the colour of a pixel: bluish ones move."""

    class_names = ("still", "moving")
    dynamic = ("moving",)

    def __init__(self, blur: int = 1, more: int = 0) -> None:
        self.blur, self.more = (blur, blur), more

    def logits(self, images: Sequence[Rgb]) -> torch.Tensor:
        blurred = [cv2.blur(image, self.blur).astype(int) for image in images]
        bluish = [image[:, :, 2] > image[:, :, 0] + self.more for image in blurred]
        return torch.from_numpy(np.stack([np.stack([~b, b]) for b in bluish])).float()


def test_cells_are_moving_by_their_largest_logit() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[:2, 2:4, 2] = 200
    image[3, 5, 2] = 200
    moving = moving_cells(BlueMoves(), image, (2, 3)).reshape(2, 3)
    # Of two classes with one certain pixel each, the first of the list stands.
    assert moving.tolist() == [[False, True, False], [False, False, False]]


def test_shadows_come_from_moving_things() -> None:
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", width=8)
    head = SralNet(VladSizes(inputs=trunk.channels16, words=3, shadows=2))
    options = replace(OPTIONS, images=12, per_image=24, candidates=4)
    preprocessing = Preprocessing(64, 96, (0.0,) * 3, (1.0,) * 3)
    network = SaaneNetwork(trunk, None, head)
    learned = Learner(network, preprocessing, Scenes(), options, CPU, BlueMoves(25)).run()
    assert learned.alpha > 0
    np.testing.assert_allclose(head.centroids.detach().norm(dim=1).numpy(), 1, atol=1e-5)
    weights = head.assignment.weight.detach()[:, :, 0, 0].unflatten(0, (3, 3))
    centres = weights / (2 * learned.alpha)
    torch.testing.assert_close(centres[:, 0], head.centroids.detach(), atol=1e-4, rtol=1e-4)
    distances = (centres[:, 1:] - centres[:, :1]).norm(dim=2)
    assert (distances[:, 0] <= distances[:, 1] + 1e-5).all()


def test_the_command_learns_exports_and_its_card_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(6):
        folder = tmp_path / "photos" / f"camera{index % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        image = cv2.cvtColor(Scenes().read(index), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{index}.png"), image)
    config = tmp_path / "words.yaml"
    values = {
        "model": {
            "name": "words",
            "system": "dense_vlad",
            "appearance": {"trunk": "dense_sift", "weights": ""},
            "head": {},
            "aggregation": {"words": 4, "whitening": 3},
            "preprocessing": {"height": 48, "width": 64},
            "licence": "MIT",
            "trained_on": "scenes",
        },
        "places": [{"kind": "cameras", "folder": "photos"}],
        "vocabulary": {"images": 6, "per_image": 20, "iterations": 5},
    }
    config.write_text(yaml.safe_dump(values))
    common = ["--config", str(config), "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["train", "vocabulary", *common]) == 0
    assert "120 local features of 6 images" in capsys.readouterr().out
    assert main(["train", "export", *common, "--models", str(tmp_path)]) == 0
    embedder = load_embedder(str(tmp_path / "words.yaml"), device="cpu")
    (found,) = embedder.embed([Scenes().read(0)])
    assert found.descriptor.shape == (3,)
    values["model"]["system"] = "apanet"
    del values["model"]["aggregation"]
    values["model"]["appearance"] = {"trunk": "resnet18"}
    config.write_text(yaml.safe_dump(values))
    assert main(["train", "vocabulary", *common]) == 1
    assert "apanet model, which has no vocabulary" in capsys.readouterr().err


def test_too_little_that_moves_is_told() -> None:
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", width=8)
    head = SralNet(VladSizes(inputs=trunk.channels16, words=3, shadows=2))
    network = SaaneNetwork(trunk, None, head)
    learner = Learner(network, Preprocessing(64, 96), Scenes(), OPTIONS, CPU, BlueMoves(1, 999))
    with pytest.raises(SaaneError, match="0 of 96 local features lie on moving things"):
        learner.run()


def test_given_centroids_replace_the_clusters() -> None:
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", width=8)
    head = SralNet(VladSizes(inputs=trunk.channels16, words=3, shadows=2))
    network = SaaneNetwork(trunk, None, head)
    given = torch.nn.functional.normalize(torch.randn(3, 3, trunk.channels16), dim=2)
    preprocessing = Preprocessing(64, 96, (0.0,) * 3, (1.0,) * 3)
    learned = Learner(network, preprocessing, Scenes(), OPTIONS, CPU, centroids=given).run()
    weights = head.assignment.weight.detach()[:, :, 0, 0].unflatten(0, (3, 3))
    torch.testing.assert_close(weights / (2 * learned.alpha), given, atol=1e-5, rtol=1e-4)
    assert torch.equal(head.centroids.detach(), given[:, 0])
