"""What a mask makes of a pasted vehicle, on drawn streets and on CamVid with its true labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scenes import smooth_scene

from saane_ros.data.images.labelled import LabelledImages, read_classes, read_label_folder
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.evaluation.pasted_objects import largest_part, masking_effect, pasted_pairs
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.netvlad import NetVlad
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.vlad import VladSizes

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
CONFIG = Path(__file__).resolve().parents[2] / "config" / "train"
SIZE = (64, 96)


def drawn(folder: Path, shares: list[float]) -> LabelledImages:
    """Images whose lower right is a vehicle (class 1) of so large a share."""
    images, labels = [], []
    for index, share in enumerate(shares):
        side = round((share * SIZE[0] * SIZE[1]) ** 0.5)
        classes = np.zeros(SIZE, np.uint8)
        image = smooth_scene(index, *SIZE)
        if side:
            classes[-side:, -side:] = 1
            image[-side:, -side:] = (250, 0, 250)
        images.append(folder / f"{index}.png")
        labels.append(folder / f"{index}.labels.png")
        cv2.imwrite(str(images[-1]), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        cv2.imwrite(str(labels[-1]), classes)
    return LabelledImages(tuple(images), tuple(labels), ("street", "car"))


def small_embedder() -> NetworkEmbedder:
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", width=8)
    head = NetVlad(VladSizes(inputs=trunk.channels16, words=4))
    torch.nn.init.normal_(head.centroids)
    torch.nn.init.normal_(head.assignment.weight, std=3)
    network = SaaneNetwork(trunk, None, head)
    cpu = torch.device("cpu")
    return NetworkEmbedder(network, Preprocessing(*SIZE), "small", "", (), cpu)


def test_vehicles_are_pasted_at_their_own_pixels(tmp_path: Path) -> None:
    images = drawn(tmp_path, [0.0, 0.2, 0.0, 0.01, 0.6])
    pairs = pasted_pairs(images, ["car"], 10, 0, Preprocessing(*SIZE))
    assert len(pairs) == 3  # one vehicle of a fitting size, three streets without
    for pair in pairs:
        assert 0.18 < pair.vehicle.mean() < 0.22
        assert (pair.changed[pair.vehicle] == (250, 0, 250)).all()
        np.testing.assert_array_equal(pair.changed[~pair.vehicle], pair.street[~pair.vehicle])


def test_only_the_largest_part_is_cut() -> None:
    mask = np.zeros((6, 8), bool)
    mask[0, 0] = mask[3:5, 2:6] = True
    part = largest_part(mask)
    assert part.sum() == 8
    assert not part[0, 0]


def test_figures_are_distances_of_descriptors(tmp_path: Path) -> None:
    embedder = small_embedder()
    pairs = pasted_pairs(drawn(tmp_path, [0.0, 0.2]), ["car"], 10, 0, Preprocessing(*SIZE))
    effect = masking_effect(embedder, pairs)
    street, changed = embedder.embed([pairs[0].street, pairs[0].changed])
    distance = np.linalg.norm(street.descriptor - changed.descriptor)
    assert effect.unmasked == pytest.approx(float(distance), abs=1e-5)
    assert effect.ratio == pytest.approx(effect.masked / effect.unmasked, abs=1e-6)


def test_images_without_vehicles_are_told(tmp_path: Path) -> None:
    with pytest.raises(SaaneError, match="0 images have a large car and 2 hardly any"):
        pasted_pairs(drawn(tmp_path, [0.0, 0.0]), ["car"], 10, 0, Preprocessing(*SIZE))


@pytest.mark.skipif(
    not (SHARED / "data/camvid").is_dir() or not (SHARED / "weights").is_dir(),
    reason="CamVid or the ResNet-18 weights are not beside the repository",
)
@pytest.mark.parametrize("model", ["netvlad-resnet18", "sralnet-resnet18"])
def test_masking_a_pasted_vehicle_brings_the_street_back(model: str) -> None:
    from saane_ros.embedding.loading import load_embedder

    classes = read_classes(CONFIG / "camvid.classes.yaml")
    images = read_label_folder(SHARED / "data/camvid/val", SHARED / "data/camvid/valannot", classes)
    embedder = load_embedder(model, str(SHARED / "weights"), device="cpu")
    pairs = pasted_pairs(images, ["Car"], 12, 0, Preprocessing(240, 320))
    effect = masking_effect(embedder, pairs)
    assert effect.ratio < 0.97
    assert effect.nearer > 0.8
