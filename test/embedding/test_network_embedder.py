"""The embedder of a card against its parts, on the CPU."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from scenes import smooth_scene

from saane_ros.embedding.assembly import build_network
from saane_ros.embedding.loading import load_embedder
from saane_ros.embedding.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
)
from saane_ros.errors import SaaneError
from saane_ros.files import sha256_of
from saane_ros.messages.encoded import halvings
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.weights.card_files import load_card

CLASSES = ["sky", "road", "car"]


def write_model(folder: Path, system: str = "saane", seed: int = 0) -> Path:
    """A small random model with its weight files, as a card that `load_embedder` takes."""
    card = {
        "name": "tiny",
        "system": system,
        "appearance": {"trunk": "resnet18", "width": 8, "weights": "trunk"},
        "semantics": {
            "network": "light_pspnet",
            "channels": 16,
            "classes": CLASSES,
            "weights": "segmentation",
        },
        "head": {"channels": 16, "reduction": 4, "weights": "head"},
        "preprocessing": {"height": 64, "width": 96},
        "licence": "Apache-2.0",
        "weights": {
            role: {"file": f"{role}.safetensors", "sha256": "0" * 64}
            for role in ("trunk", "segmentation", "head")
        },
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(card))
    torch.manual_seed(seed)
    network = build_network(load_card(path))
    torch.nn.init.normal_(network.head.fusion1.appearance.weight)
    for role, module in zip(
        ("trunk", "segmentation", "head"),
        (network.appearance, network.semantics, network.head),
        strict=True,
    ):
        save_file(module.state_dict(), folder / f"{role}.safetensors")
        card["weights"][role]["sha256"] = sha256_of(folder / f"{role}.safetensors")
    path.write_text(yaml.safe_dump(card))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path)


def test_descriptor_is_what_the_blocks_give(model: Path) -> None:
    embedder = load_embedder(str(model), device="cpu")
    image = smooth_scene(1)
    small = cv2.resize(image, (96, 64), interpolation=cv2.INTER_AREA).astype(np.float64) / 255
    normalised = (small - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    batch = torch.from_numpy(normalised.transpose(2, 0, 1)[None]).float()
    network = embedder.network
    with torch.no_grad():
        trunk = network.appearance(batch)
        semantic = network.semantics(trunk).features
        pooled = semantic.reshape(1, 16, 4, 2, 6, 2).mean(dim=(3, 5))
        expected = network.head(trunk.stride16, pooled).descriptor[0]
    embedding = embedder.embed([image])[0]
    np.testing.assert_allclose(embedding.descriptor, expected.numpy(), atol=1e-4)
    assert embedder.descriptor_size == embedding.descriptor.size == 16 * 30
    assert np.linalg.norm(embedding.descriptor) == pytest.approx(10, abs=1e-4)


def test_attention_and_labels_come_only_where_asked_for(model: Path) -> None:
    embedder = load_embedder(str(model), device="cpu")
    plain = embedder.embed([smooth_scene(1)])[0]
    full = embedder.embed([smooth_scene(1)], attention=True, labels=True)[0]
    assert plain.attention == {}
    assert plain.labels is None
    assert {name: m.shape for name, m in full.attention.items()} == {
        "appearance": (4, 6),
        "semantic": (4, 6),
    }
    assert full.labels is not None
    assert full.labels.shape == (64, 96)
    assert full.labels.max() < len(embedder.class_names) == 3
    np.testing.assert_array_equal(plain.descriptor, full.descriptor)


def test_images_of_several_sizes_embed_as_they_do_alone(model: Path) -> None:
    embedder = load_embedder(str(model), device="cpu")
    images = [smooth_scene(1), smooth_scene(2, 240, 320), smooth_scene(3, 48, 64)]
    together = embedder.embed(images)
    for image, embedding in zip(images, together, strict=True):
        alone = embedder.embed([image])[0]
        np.testing.assert_allclose(alone.descriptor, embedding.descriptor, atol=1e-4)


def test_switching_attention_and_semantics_off_keeps_the_first_projection(model: Path) -> None:
    full = load_embedder(str(model), device="cpu")
    app = load_embedder(str(model), device="cpu", system="app")
    weight = full.network.head.fusion1.appearance.weight
    assert torch.equal(app.network.head.fusion1.appearance.weight, weight)
    assert sum(p.numel() for p in app.network.head.parameters()) == weight.numel()
    assert app.fingerprint != full.fingerprint


def test_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    prints = []
    for seed in (0, 0, 1):
        folder = tmp_path / str(len(prints))
        folder.mkdir()
        prints.append(load_embedder(str(write_model(folder, seed=seed)), device="cpu").fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_trunks_stay_frozen_and_in_evaluation_mode(model: Path) -> None:
    network = load_embedder(str(model), device="cpu").network.train()
    assert not network.appearance.training
    assert not network.semantics.training
    assert network.head.training
    assert not any(p.requires_grad for p in network.appearance.parameters())


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "meta"])
def test_a_device_that_is_not_there_is_named(model: Path, device: str) -> None:
    with pytest.raises(SaaneError, match=device):
        load_embedder(str(model), device=device)


def test_trunk_has_torchvisions_names_and_values() -> None:
    from torchvision.models import resnet50

    torch.manual_seed(0)
    reference = resnet50().eval()
    wanted = {k: v for k, v in reference.state_dict().items() if not k.startswith(("layer4", "fc"))}
    trunk = ResNetTrunk("resnet50").eval()
    trunk.load_state_dict(wanted)
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        y = reference.maxpool(reference.relu(reference.bn1(reference.conv1(x))))
        y = reference.layer3(reference.layer2(reference.layer1(y)))
        torch.testing.assert_close(trunk(x).stride16, y)
    assert trunk.channels16 == 1024
    first = ResNetTrunk("resnet50", stride_on="conv1").layer2[0]
    assert first.conv1.stride == (2, 2)
    assert first.conv2.stride == (1, 1)


def test_preprocessing_keeps_pixels_of_the_right_size() -> None:
    image = smooth_scene(4, 64, 96)
    tensor = Preprocessing(64, 96, (0, 0, 0), (1, 1, 1))([image], torch.device("cpu"))
    np.testing.assert_allclose(tensor[0].numpy().transpose(1, 2, 0) * 255, image, atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    source=st.tuples(st.integers(32, 300), st.integers(32, 300)),
    target=st.tuples(st.integers(28, 100), st.integers(28, 100)),
    method=st.sampled_from(["bilinear", "bicubic"]),
)
def test_authors_interpolations_are_pillows(
    seed: int, source: tuple[int, int], target: tuple[int, int], method: str
) -> None:
    """Their code resizes by torchvision, which leaves pictures to Pillow."""
    assume(not halvings(*source, target))
    image = smooth_scene(seed, *source)
    image.flags.writeable = False
    sized = Preprocessing(*target, interpolation=method).resize(image)
    filter_ = Image.Resampling[method.upper()]
    expected = Image.fromarray(image).resize(target[::-1], filter_)
    apart = np.abs(sized.astype(int) - np.asarray(expected).astype(int))
    assert apart.max() <= 2
    assert apart.mean() < 0.2


def test_interpolation_is_a_part_of_the_fingerprint_and_what_was_before_it_stays(
    model: Path,
) -> None:
    def of(**preprocessing: str) -> str:
        card = yaml.safe_load(model.read_text())
        card["preprocessing"] |= preprocessing
        model.write_text(yaml.safe_dump(card))
        return load_embedder(str(model), device="cpu").fingerprint

    before = of()
    assert of(interpolation="bicubic") != before
    assert of(interpolation="area") == before
    with pytest.raises(SaaneError, match="interpolation is 'cubic'"):
        of(interpolation="cubic")


def test_labels_at_the_networks_size_stay_classes_and_beside_their_pixels() -> None:
    labels = np.array([[0, 1], [2, 255]], np.uint8).repeat(10, 0).repeat(15, 1)
    image = labels[..., None].repeat(3, 2)
    sized, small = Preprocessing(4, 8).resize_labelled(image, labels)
    expected = np.array([[0, 1], [2, 255]], np.uint8).repeat(2, 0).repeat(4, 1)
    np.testing.assert_array_equal(small, expected)
    np.testing.assert_array_equal(sized[[0, 0, 3, 3], [0, 7, 0, 7]][:, 0], [0, 1, 2, 255])
