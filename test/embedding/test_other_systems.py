"""Every other system as an embedder from its card: descriptors, maps, filters, and bad cards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from scenes import smooth_scene

from saane_ros.embedding.assembly import build_network
from saane_ros.embedding.loading import load_embedder
from saane_ros.errors import SaaneError
from saane_ros.files import sha256_of
from saane_ros.model.dense_vlad import DenseVlad
from saane_ros.weights.card_files import load_card

CLASSES = ["sky", "road", "car"]
SEMANTICS = {
    "network": "light_pspnet",
    "channels": 16,
    "classes": CLASSES,
    "dynamic": ["car"],
    "weights": "segmentation",
}
SYSTEMS: dict[str, dict[str, Any]] = {
    "netvlad": {"aggregation": {"words": 3, "whitening": 6}},
    "sralnet": {"aggregation": {"words": 3, "shadows": 2}},
    "dense_vlad": {"aggregation": {"words": 4}, "appearance": {"trunk": "dense_sift"}},
    "amosnet": {},
    "apanet": {},
    "apanet_mm": {"semantics": SEMANTICS},
}
SIZES = {
    "netvlad": 6,
    "sralnet": 3 * 32,
    "dense_vlad": 4 * 128,
    "amosnet": 8 * 30,
    "apanet": 8,
    "apanet_mm": 8,
}


def card_of(system: str, **sections: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "tiny",
        "system": system,
        "appearance": {"trunk": "resnet18", "width": 8, "weights": "trunk"},
        "head": {"channels": 8, "reduction": 4, "weights": "head"},
        "preprocessing": {"height": 64, "width": 96},
        "licence": "Apache-2.0",
        **SYSTEMS.get(system, {}),
        **sections,
    }
    roles = [v.get("weights") for v in values.values() if isinstance(v, dict)]
    values["weights"] = {
        role: {"file": f"{role}.safetensors", "sha256": "0" * 64} for role in roles if role
    }
    return values


def write_system(folder: Path, values: dict[str, Any]) -> Path:
    """A card with random weights."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    torch.manual_seed(0)
    network = build_network(load_card(path))
    if isinstance(network, DenseVlad):
        parts = {"head": network}
        torch.nn.init.normal_(network.centroids)
    else:
        parts = {
            "trunk": network.appearance,
            "segmentation": network.semantics,
            "head": network.head,
            "filter": network.static_filter,
        }
        if hasattr(network.head, "centroids"):
            torch.nn.init.normal_(network.head.centroids)
    for role, source in values["weights"].items():
        save_file(parts[role].state_dict(), folder / source["file"])
        source["sha256"] = sha256_of(folder / source["file"])
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_embeds_from_its_card(system: str, tmp_path: Path) -> None:
    path = write_system(tmp_path, card_of(system))
    embedder = load_embedder(str(path), device="cpu")
    assert embedder.descriptor_size == load_card(path).descriptor_size == SIZES[system]
    images = [smooth_scene(1), smooth_scene(2, 50, 70)]
    found = embedder.embed(images, attention=True, labels=True)
    norm = 10 if system.startswith("apanet") else 1
    for image, one in zip(images, found, strict=True):
        assert one.descriptor.dtype == np.float32
        assert np.linalg.norm(one.descriptor) == pytest.approx(norm, abs=1e-3)
        alone = embedder.embed([image])[0]
        np.testing.assert_allclose(alone.descriptor, one.descriptor, atol=1e-4)
    assert float(np.abs(found[0].descriptor - found[1].descriptor).max()) > 1e-3
    maps = {"sralnet": {"appearance"}, "apanet": {"appearance"}}
    expected = {"appearance", "semantic"} if system == "apanet_mm" else maps.get(system, set())
    assert set(found[0].attention) == expected
    for values in found[0].attention.values():
        assert values.shape == (4, 6)
        assert values.min() >= 0
        assert values.max() <= 1 + 1e-6


@pytest.mark.parametrize("system", ["netvlad", "sralnet", "apanet", "saane"])
@pytest.mark.parametrize("mode", ["binary", "soft", "learned"])
def test_a_filter_goes_on_any_of_them(system: str, mode: str, tmp_path: Path) -> None:
    weights = {"weights": "filter"} if mode == "learned" else {}
    values = card_of(system, semantics=SEMANTICS, filter={"mode": mode, **weights})
    path = write_system(tmp_path, values)
    filtered = load_embedder(str(path), device="cpu")
    image = smooth_scene(1)
    network = filtered.network
    pixels = filtered.preprocessing([image], torch.device("cpu"))
    with torch.no_grad():
        features = network.trunk_features(pixels)
        static = network.static_filter(features.logits, (4, 6))
        expected = network.head.filtered(features.appearance, features.semantic, static)
    one = filtered.embed([image], attention=True)[0]
    np.testing.assert_allclose(one.descriptor, expected.descriptor[0].numpy(), atol=1e-5)
    weight_map = static[0, 0].numpy()
    if system != "netvlad":
        weight_map = weight_map * expected.appearance_attention[0, 0].numpy()
    np.testing.assert_allclose(one.attention["appearance"], weight_map, atol=1e-5)
    values.pop("filter")
    if system != "saane":
        values.pop("semantics")
        values["weights"].pop("segmentation")
    values["weights"].pop("filter", None)
    path.write_text(yaml.safe_dump(values))
    plain = load_embedder(str(path), device="cpu")
    assert plain.fingerprint != filtered.fingerprint


def test_an_image_without_a_static_pixel_is_described_as_if_unfiltered(tmp_path: Path) -> None:
    path = write_system(tmp_path, card_of("netvlad", semantics=SEMANTICS, filter={}))
    embedder = load_embedder(str(path), device="cpu")
    classifier = embedder.network.semantics.classifier
    image = smooth_scene(1)
    found = []
    for moving in (-50.0, 50.0):
        with torch.no_grad():
            classifier.bias.copy_(torch.tensor([0.0, 0.0, moving]))
        found.append(embedder.embed([image], attention=True)[0])
    np.testing.assert_array_equal(found[0].descriptor, found[1].descriptor)
    assert float(found[1].attention["appearance"].min()) == 1


def test_a_vocabulary_of_another_descriptor_is_refused(tmp_path: Path) -> None:
    values = card_of("dense_vlad")
    path = write_system(tmp_path, values)
    save_file({"centroids": torch.zeros(4, 64)}, tmp_path / "head.safetensors")
    values["weights"]["head"]["sha256"] = sha256_of(tmp_path / "head.safetensors")
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(SaaneError, match=r"vocabulary of tiny .*centroids 4x64 instead of 4x128"):
        load_embedder(str(path), device="cpu")


def test_a_part_of_the_wiring_of_another_system_is_refused(tmp_path: Path) -> None:
    path = write_system(tmp_path, card_of("apanet"))
    with pytest.raises(SaaneError, match="tiny is of system apanet and has no part app"):
        load_embedder(str(path), device="cpu", system="app")


@pytest.mark.parametrize(
    ("system", "sections", "told"),
    [
        ("netvlad", {"aggregation": {"word": 3}}, "unknown key aggregation.word"),
        ("netvlad", {"aggregation": {"words": 0}}, "no words"),
        (
            "netvlad",
            {"aggregation": {"shadows": 2}},
            "aggregation.shadows is 2 with system netvlad",
        ),
        ("sralnet", {"aggregation": {}}, "aggregation.shadows is 0 with system sralnet"),
        (
            "netvlad",
            {"aggregation": {"layout": "hloc"}},
            "layout hloc is for netvlad with trunk vgg",
        ),
        ("apanet", {"aggregation": {}}, "system apanet has no aggregation"),
        (
            "dense_vlad",
            {"appearance": {"trunk": "resnet18", "weights": "trunk"}},
            "does not go with",
        ),
        ("apanet", {"appearance": {"trunk": "dense_sift"}}, "does not go with system apanet"),
        ("apanet", {"filter": {}}, "filter needs semantics"),
        ("apanet", {"semantics": SEMANTICS}, "system apanet has no semantics without a filter"),
        (
            "apanet",
            {"semantics": SEMANTICS, "filter": {"dynamic": ["lorry"]}},
            "filter.dynamic names lorry and semantics.classes are sky, road, car",
        ),
        (
            "apanet",
            {"semantics": SEMANTICS, "filter": {"weights": "filter"}},
            "filter.weights does not apply to mode binary",
        ),
        ("apanet_mm", {"semantics": None}, "system apanet_mm needs semantics"),
    ],
)
def test_mistakes_of_a_card_are_told(
    system: str, sections: dict[str, Any], told: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(card_of(system, **sections)))
    with pytest.raises(SaaneError, match=told):
        load_card(path)
