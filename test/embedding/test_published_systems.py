"""The published systems as embedders from their cards, from files as their authors write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scenes import smooth_scene

from saane_ros.embedding.assembly import build_network
from saane_ros.embedding.loading import load_embedder
from saane_ros.errors import SaaneError
from saane_ros.files import sha256_of
from saane_ros.model.mixvpr import MixVpr
from saane_ros.weights.card_files import list_cards, load_card, parse_card
from saane_ros.weights.cards import fingerprint

VIT = {"trunk": "timm/vit_small_patch14_dinov2", "weights": "net"}
RESNET = {"trunk": "resnet18", "weights": "net"}
PLACES = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
# system: (appearance, layer, prefix of the trunk, names of the head in the file, size)
SYSTEMS: dict[str, tuple[dict[str, Any], dict[str, int], str, dict[str, str], int]] = {
    "gem": (
        {**RESNET, "tap": "layer4"},
        {"output": 6},
        "features.",
        {"gem.": "pool.", "projection.": "whiten."},
        6,
    ),
    "cosplace": (
        {**RESNET, "tap": "layer4"},
        {"output": 6},
        "backbone.",
        {"gem.": "aggregation.1.", "projection.": "aggregation.3."},
        6,
    ),
    "convap": (
        {**RESNET, "tap": "layer4"},
        {"channels": 5, "rows": 2},
        "backbone.model.",
        {"": "aggregator."},
        20,
    ),
    "mixvpr": (
        RESNET,
        {"channels": 8, "rows": 3, "depth": 2},
        "backbone.model.",
        {"": "aggregator."},
        24,
    ),
    "boq": (
        {**VIT, "tap": "blocks.11"},
        {"channels": 64, "queries": 4, "depth": 2, "rows": 3},
        "backbone.dino.",
        {"": "aggregator."},
        192,
    ),
    "salad": (
        VIT,
        {"clusters": 4, "channels": 5, "token": 6},
        "backbone.model.",
        {"": "aggregator."},
        26,
    ),
    "megaloc": (
        VIT,
        {"clusters": 4, "channels": 5, "token": 6, "output": 9},
        "backbone.",
        {"linear.": "aggregator.linear.", "": "aggregator.agg."},
        9,
    ),
    "cricavpr": (
        {**VIT, "adapters": "cricavpr"},
        {},
        "backbone.",
        {"gem.": "aggregation.1.", "": ""},
        14 * 384,
    ),
    "selavpr": (
        {**VIT, "adapters": "selavpr"},
        {},
        "backbone.",
        {"gem.": "aggregation.1.", "branch.": "LocalAdapt."},
        384,
    ),
    "selavpr_pp": (
        {**VIT, "adapters": "selavpr_pp"},
        {"output": 7},
        "backbone.",
        {"gem.": "aggregation.1.", "mix.": "linear1.", "projection.": "linear2."},
        7,
    ),
}
WITHOUT_MAP = ("convap", "anyloc")


def card_of(system: str, /, **changes: Any) -> dict[str, Any]:
    appearance, layer, *_ = SYSTEMS[system]
    patches = "vit" in appearance["trunk"]
    return {
        "name": "tiny",
        "system": system,
        "appearance": dict(appearance),
        "head": {"weights": "net"},
        **({"layer": dict(layer)} if layer else {}),
        "preprocessing": {"height": 56 if patches else 64, "width": 70 if patches else 96},
        "licence": "MIT",
        "weights": {"net": {"file": "net.pth", "sha256": "0" * 64}},
        **changes,
    }


def published(system: str, network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The network's tensors as the authors name them in their file."""
    _, _, prefix, names, _ = SYSTEMS[system]
    sequence = system in ("gem", "cosplace")
    found = {}
    for key, value in network.appearance.state_dict().items():
        key = key.removeprefix("network.")
        if sequence:
            layer, _, rest = key.partition(".")
            key = f"{PLACES[layer]}.{rest}"
        found[prefix + key] = value
    for key, value in network.head.state_dict().items():
        start = next(start for start in names if key.startswith(start))
        flat = value[:, :, 0, 0] if key == "mix.weight" else value
        found[names[start] + key.removeprefix(start)] = flat
    return found


def write(folder: Path, values: dict[str, Any], nested: bool = False) -> Path:
    """A card beside its file with random weights."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    torch.manual_seed(0)
    network = build_network(load_card(path))
    for key, value in network.state_dict().items():
        if "gamma" in key:
            value.fill_(0.3)
    tensors = published(values["system"], network)
    if nested:
        tensors = {f"module.{key}": value for key, value in tensors.items()}
    torch.save(
        {"model_state_dict": tensors, "epoch_num": 3} if nested else tensors, folder / "net.pth"
    )
    values["weights"]["net"]["sha256"] = sha256_of(folder / "net.pth")
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_embeds_from_the_file_of_its_authors(system: str, tmp_path: Path) -> None:
    nested = system.startswith(("crica", "sela"))
    path = write(tmp_path, card_of(system), nested)
    embedder = load_embedder(str(path), device="cpu")
    assert embedder.descriptor_size == load_card(path).descriptor_size == SYSTEMS[system][4]
    images = [smooth_scene(1), smooth_scene(2, 50, 70)]
    found = embedder.embed(images, attention=True, grid=True)
    torch.manual_seed(0)
    network = build_network(load_card(path)).eval()
    for key, value in network.state_dict().items():
        if "gamma" in key:
            value.fill_(0.3)
    with torch.no_grad():
        expected = network(embedder.preprocessing(images, torch.device("cpu")))
    for index, (image, one) in enumerate(zip(images, found, strict=True)):
        np.testing.assert_allclose(one.descriptor, expected.descriptor[index], atol=1e-5)
        assert np.linalg.norm(one.descriptor) == pytest.approx(1, abs=1e-4)
        alone = embedder.embed([image])[0]
        np.testing.assert_allclose(alone.descriptor, one.descriptor, atol=1e-5)
        cells = one.grid.shape[:2]
        assert set(one.attention) == (set() if system in WITHOUT_MAP else {"appearance"})
        for values in one.attention.values():
            assert values.shape == cells
            assert 0 <= values.min() <= values.max() <= 1 + 1e-6
    assert float(np.abs(found[0].descriptor - found[1].descriptor).max()) > 1e-4


def test_selavprs_local_features_come_from_the_same_file(tmp_path: Path) -> None:
    path = write(tmp_path, card_of("selavpr"))
    embedder = load_embedder(str(path), device="cpu")
    assert embedder.own_score == ("mutual", (1.0,))
    images = [smooth_scene(1), smooth_scene(2)]
    (found,) = embedder.own_features(images)
    torch.manual_seed(0)
    network = build_network(load_card(path)).eval()
    for key, value in network.state_dict().items():
        if "gamma" in key:
            value.fill_(0.3)
    with torch.no_grad():
        pixels = embedder.preprocessing(images, torch.device("cpu"))
        cells = network.head.branch(network.appearance(pixels).stride16)
    expected = torch.nn.functional.normalize(cells, dim=1).permute(0, 2, 3, 1)
    assert found.shape == (2, 4 * 4 - 3, 4 * 5 - 3, 128)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    salad = write(tmp_path, card_of("salad"))
    assert load_embedder(str(salad), device="cpu").own_score == ("", ())


def test_anyloc_takes_a_trunk_and_centres_from_two_files(tmp_path: Path) -> None:
    values = card_of(
        "salad",
        system="anyloc",
        appearance={**VIT, "tap": "blocks.5.attn.value"},
        layer={"clusters": 3},
        head={"weights": "centres"},
    )
    values["weights"]["centres"] = {"file": "c.pt", "sha256": "0" * 64}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    torch.manual_seed(0)
    network = build_network(load_card(path)).eval()
    whole = {k.removeprefix("network."): v for k, v in network.appearance.state_dict().items()}
    # What lies behind the tap is in the published file too.
    whole |= {"norm.weight": torch.ones(384), "blocks.9.norm1.bias": torch.ones(384)}
    torch.save({**whole, "mask_token": torch.zeros(1, 384)}, tmp_path / "net.pth")
    centres = torch.randn(3, 384) / 20
    torch.save(centres, tmp_path / "c.pt")
    for key, file in (("net", "net.pth"), ("centres", "c.pt")):
        values["weights"][key]["sha256"] = sha256_of(tmp_path / file)
    path.write_text(yaml.safe_dump(values))
    embedder = load_embedder(str(path), device="cpu")
    network.head.centroids.data.copy_(centres)
    image = smooth_scene(1)
    with torch.no_grad():
        expected = network(embedder.preprocessing([image], torch.device("cpu"))).descriptor[0]
    one = embedder.embed([image], attention=True)[0]
    np.testing.assert_allclose(one.descriptor, expected, atol=1e-5)
    assert (one.attention, embedder.descriptor_size) == ({}, 3 * 384)


def test_salad_of_half_precision_is_nearly_the_same(tmp_path: Path) -> None:
    path = write(tmp_path, card_of("salad"))
    images = [smooth_scene(1)]
    whole = load_embedder(str(path), device="cpu").embed(images, attention=True)[0]
    half = load_embedder(str(path), device="cpu", precision="bf16").embed(images, attention=True)[0]
    assert float(whole.descriptor @ half.descriptor) > 0.99
    np.testing.assert_allclose(
        half.attention["appearance"], whole.attention["appearance"], atol=0.05
    )


def test_a_mixvpr_takes_its_grid_from_the_card(tmp_path: Path) -> None:
    network = build_network(load_card(write(tmp_path, card_of("mixvpr"))))
    assert isinstance(network.head, MixVpr)
    assert network.head.grid == (4, 6)
    values = card_of("mixvpr", preprocessing={"height": 128, "width": 96})
    values["weights"]["net"]["sha256"] = sha256_of(tmp_path / "net.pth")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(SaaneError, match="head of tiny was made for 24 cells"):
        load_embedder(str(tmp_path / "tiny.yaml"), device="cpu")


@pytest.mark.parametrize(
    ("system", "changes", "told"),
    [
        ("salad", {"preprocessing": {"height": 10, "width": 70}}, "height is 10 .* multiple of 14"),
        ("salad", {"preprocessing": {"height": 56, "width": 640}}, "640 .* multiple of 14 as 644"),
        ("salad", {"appearance": RESNET}, "system salad needs a trunk timm/vit_"),
        ("salad", {"appearance": {**VIT, "adapters": "selavpr"}}, "adapters is 'selavpr' with"),
        ("selavpr", {"appearance": VIT}, "adapters is '' with system selavpr"),
        ("salad", {"layer": {"clusters": 4}}, r"layer\.channels must be greater than 0 .* salad"),
        ("boq", {"layer": {"channels": 60, "queries": 1, "depth": 1, "rows": 1}}, "multiple of 64"),
        ("convap", {"layer": {"channels": 4, "rows": 2, "token": 3}}, "layer.token does not apply"),
        ("cosplace", {"aggregation": {}}, "system cosplace has no aggregation"),
        ("cosplace", {"appearance": {"trunk": "vgg16", "weights": "net", "tap": "layer4"}}, "tap"),
        ("gem", {"layer": {}, "appearance": {**RESNET, "trunk": "timm/resnet18"}}, "or layer.out"),
        ("gem", {"head": {}, "appearance": {**RESNET, "tap": "layer3"}}, r"appearance\.tap"),
        (
            "gem",
            {"filter": {}, "semantics": {"network": "huggingface", "checkpoint": "a/b"}},
            "does not apply to gem",
        ),
    ],
)
def test_mistakes_of_a_card_are_told(
    system: str, changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(SaaneError, match=told):
        parse_card(yaml.safe_dump(card_of(system, **changes)), tmp_path / "bad.yaml")


def test_the_fingerprint_moves_with_layer_and_adapters(tmp_path: Path) -> None:
    def stamp(values: dict[str, Any]) -> str:
        return fingerprint(parse_card(yaml.safe_dump(values), tmp_path / "a.yaml"), {"net": "aa"})

    salad, larger = card_of("salad"), card_of("salad")
    larger["layer"]["token"] = 7
    figures = [{"benchmark": "B", "protocol": "p", "recall_at_1": 50, "source": "s"}]
    assert stamp(salad) != stamp(larger)
    assert stamp({**salad, "published": figures, "compared": "x at 1"}) == stamp(salad)
    assert stamp(card_of("selavpr")) != stamp(card_of("cricavpr"))


def test_figures_name_their_protocol_and_source() -> None:
    """Nordland is measured by three protocols, told apart by how many queries they have."""
    figures = [figure for card in list_cards() for figure in card.published]
    nordland = {figure.protocol for figure in figures if figure.benchmark == "Nordland"}
    counts = [
        sum(start in protocol for protocol in nordland)
        for start in ("27,592 q", "2,760 q", "3,450 q")
    ]
    assert counts == [1, 1, 1]
    assert len(nordland) == 3
    for card in list_cards():
        told = [(figure.benchmark, figure.protocol) for figure in card.published]
        assert len(set(told)) == len(told)
    for figure in figures:
        assert figure.protocol
        assert figure.source.startswith("https://")
        assert 0 < figure.recall_at_1 <= 100
