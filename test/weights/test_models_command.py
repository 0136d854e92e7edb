"""`saane models` on a small real model: listed, fetched from a server, verified, broken."""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from saane_ros.commands import models
from saane_ros.embedding.assembly import build_network, build_semantics, build_trunk
from saane_ros.embedding.loading import load_embedder
from saane_ros.embedding.segmenting import load_segmentation
from saane_ros.errors import SaaneError
from saane_ros.files import sha256_of
from saane_ros.weights.card_files import card_names, load_card, parse_card
from saane_ros.weights.feature_cards import feature_names

CARD = {
    "name": "tiny",
    "system": "saane",
    "appearance": {"trunk": "resnet18", "width": 4, "weights": "trunk"},
    "semantics": {
        "network": "light_pspnet",
        "channels": 8,
        "weights": "segmentation",
        "classes": ["road", "sky"],
    },
    "head": {"channels": 8, "reduction": 2, "weights": "head"},
    "preprocessing": {"height": 64, "width": 96},
    "weights": {
        key: {"file": f"tiny.{key}.safetensors", "sha256": "0" * 64}
        for key in ("trunk", "segmentation", "head")
    },
    "licence": "Apache-2.0",
}


def saane(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    models.add(parser.add_subparsers())
    options = parser.parse_args(["models", *arguments])
    options.run(options)


@pytest.fixture
def tiny(tmp_path: Path, cache: Path) -> Path:
    """The path of a card with its weights beside it."""
    values = copy.deepcopy(CARD)
    torch.manual_seed(3)
    network = build_network(parse_card(yaml.safe_dump(values), tmp_path / "tiny.yaml"))
    parts = {
        "trunk": network.appearance,
        "segmentation": network.semantics,
        "head": network.head,
    }
    for key, module in parts.items():
        path = tmp_path / f"tiny.{key}.safetensors"
        save_file(module.state_dict(), path)
        values["weights"][key]["sha256"] = sha256_of(path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "tiny.yaml"


def test_list_tells_where_weights_are_or_come_from(cache, tmp_path, capsys):
    saane("list")
    lines = capsys.readouterr().out.splitlines()
    row = next(i for i, x in enumerate(lines) if x.startswith("saane-resnet50-pspnet "))
    assert lines[row].split(None, 1)[1] == "saane, 7680-d, head not trained; Apache-2.0"
    assert lines[row + 2] == "  weights 103 MB and more; speed not measured here"
    assert lines[row + 3].startswith("  trunk: resnet50-0676ba61.pth missing, from https://")
    assert lines[row + 3].endswith(" (103 MB)")
    (tmp_path / "resnet50-0676ba61.pth").write_bytes(b"")
    saane("list", "--weights", str(tmp_path))
    assert f"  trunk: {tmp_path / 'resnet50-0676ba61.pth'}" in capsys.readouterr().out


def test_list_groups_by_family_and_tells_what_was_published(cache, capsys):
    saane("list")
    lines = capsys.readouterr().out.splitlines()
    titles = [line for line in lines if line.startswith("== ")]
    local = "Local features of metric maps, for --features"
    assert titles == [f"== {title}" for title in (*models.FAMILIES, local)]
    names = [line.split()[0] for line in lines if not line.startswith((" ", "=="))]
    assert sorted(names) == sorted([*card_names(), *feature_names()])
    start = next(i for i, x in enumerate(lines) if x.startswith("boq-resnet50 "))
    assert lines.index("== Bag of Queries") < start < lines.index("== SALAD and MegaLoc")
    assert lines[start].split(None, 1)[1] == "boq, 16384-d, trained; MIT"
    protocols = [x for x in lines[start : start + 9] if "Nordland" in x]
    assert protocols == [
        "  published R@1 70.7, Nordland: 2,760 queries of summer among 27,592 references of "
        "winter, right within 1 frame",
        "  published R@1 83.1, Nordland: 27,592 queries of winter among 27,592 references of "
        "summer, right within 10 frames",
    ]
    told = next(x for x in lines if x.startswith("  checkpoint: resnet50_16384.pth"))
    assert told.endswith("/releases/download/v1.0/resnet50_16384.pth (96 MB)")
    told = next(x for x in lines if "resnet50_ConvAP" in x)
    assert "missing, by hand from https://drive.google.com/drive/folders/" in told


def test_verify_hashes_and_loads(tiny, capsys):
    saane("verify", str(tiny))
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split(",")[0] for line in lines[:3]) == [
        "tiny: head verified",
        "tiny: segmentation verified",
        "tiny: trunk verified",
    ]
    embedder = load_embedder(str(tiny), device="cpu")
    assert lines[3] == f"tiny: loads; fingerprint {embedder.fingerprint}, 240-d descriptor"
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    (result,) = embedder.embed([image], labels=True)
    assert result.descriptor.shape == (240,)
    assert np.linalg.norm(result.descriptor) == pytest.approx(10, rel=1e-5)


@pytest.mark.parametrize("network", ["mosaic", "espnetv2"])
def test_a_segmentation_of_images_needs_no_trunk(network, tmp_path, cache, capsys):
    torch.manual_seed(3)
    values = {
        "name": "street",
        "system": "segmentation",
        "semantics": {"network": network, "weights": "net", "classes": list("abcde")},
        "preprocessing": {"height": 64, "width": 96},
        "weights": {"net": {"file": "net.safetensors", "sha256": "0" * 64}},
        "licence": "Apache-2.0",
    }
    built = build_semantics(parse_card(yaml.safe_dump(values), tmp_path / "street.yaml"), None)
    save_file(built.state_dict(), tmp_path / "net.safetensors")
    values["weights"]["net"]["sha256"] = sha256_of(tmp_path / "net.safetensors")
    (tmp_path / "street.yaml").write_text(yaml.safe_dump(values))
    saane("verify", str(tmp_path / "street.yaml"))
    assert capsys.readouterr().out.splitlines()[1] == "street: loads; 5 classes"
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    segmentation = load_segmentation(str(tmp_path / "street.yaml"), device="cpu")
    logits = segmentation.logits([image])
    assert logits.shape == (1, 5, 64, 96)
    pixels = segmentation.preprocessing([image], torch.device("cpu"))
    with torch.no_grad():
        own = built.eval()(pixels).logits
    # Corners are kept by both ways of enlarging.
    torch.testing.assert_close(logits[..., 0, 0], own[..., 0, 0], rtol=1e-4, atol=1e-5)
    assert np.array_equal(segmentation.labels([image]), logits.argmax(1).numpy().astype(np.uint8))
    with pytest.raises(SaaneError, match="labels pixels and has no descriptor"):
        load_embedder(str(tmp_path / "street.yaml"), device="cpu")
    with pytest.raises(SaaneError, match="Model street has no appearance trunk"):
        build_trunk(load_card(tmp_path / "street.yaml"))


def test_small_images_are_enlarged_for_a_network_of_their_own(tmp_path, cache):
    torch.manual_seed(4)
    values = copy.deepcopy(CARD)
    values["semantics"] = {
        "network": "espnetv2",
        "weights": "segmentation",
        "classes": list("abcd"),
        "short_side": 96,
    }
    del values["head"]["weights"], values["weights"]["head"]
    network = build_network(parse_card(yaml.safe_dump(values), tmp_path / "tiny.yaml"))
    for key, module in (("trunk", network.appearance), ("segmentation", network.semantics)):
        path = tmp_path / f"tiny.{key}.safetensors"
        save_file(module.state_dict(), path)
        values["weights"][key]["sha256"] = sha256_of(path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values))
    segmentation = load_segmentation(str(tmp_path / "tiny.yaml"), device="cpu")
    image = np.random.default_rng(1).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    pixels = segmentation.preprocessing([image], torch.device("cpu"))
    with torch.no_grad():
        larger = torch.nn.functional.interpolate(pixels, (96, 144), mode="bilinear")
        own = network.semantics(larger).logits
    expected = torch.nn.functional.interpolate(own, (64, 96), mode="bilinear", align_corners=True)
    torch.testing.assert_close(segmentation.logits([image]), expected, rtol=1e-4, atol=1e-5)
    (embedding,) = load_embedder(str(tmp_path / "tiny.yaml"), device="cpu").embed(
        [image], labels=True
    )
    assert np.array_equal(embedding.labels, segmentation.labels([image])[0])


def test_verify_names_a_changed_file(tiny, capsys):
    path = tiny.with_name("tiny.head.safetensors")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(SaaneError, match=r"1 of 1 models failed verification \(tiny\)"):
        saane("verify", str(tiny))
    assert f"tiny: Weight file {path} has sha256" in capsys.readouterr().out


def test_verify_names_weights_that_do_not_fit(tiny, capsys):
    values = yaml.safe_load(tiny.read_text())
    values["head"]["channels"] = 10
    tiny.write_text(yaml.safe_dump(values))
    with pytest.raises(SaaneError, match="failed verification"):
        saane("verify", str(tiny))
    assert "tensors of the wrong shape" in capsys.readouterr().out


def test_verify_tells_what_is_missing(tiny, capsys):
    tiny.with_name("tiny.trunk.safetensors").unlink()
    with pytest.raises(SaaneError, match="failed verification"):
        saane("verify", str(tiny))
    assert "tiny: tiny.trunk.safetensors missing, no download" in capsys.readouterr().out


def test_fetch_downloads_what_is_missing(tiny, cache, file_server, capsys):
    trunk = tiny.with_name("tiny.trunk.safetensors")
    file_server.files["/trunk"] = trunk.read_bytes()
    trunk.unlink()
    values = yaml.safe_load(tiny.read_text())
    values["weights"]["trunk"]["url"] = file_server.url("/trunk")
    tiny.write_text(yaml.safe_dump(values))
    with pytest.raises(SaaneError):
        saane("verify", str(tiny))
    assert file_server.ranges == []
    saane("fetch", str(tiny))
    assert (cache / "tiny.trunk.safetensors").read_bytes() == file_server.files["/trunk"]
    assert "tiny: trunk verified" in capsys.readouterr().out
    saane("verify", str(tiny))


def test_fetch_without_the_network_tells_what_to_put_where(tiny, cache):
    tiny.with_name("tiny.trunk.safetensors").unlink()
    with pytest.raises(SaaneError, match=f"tiny.trunk.safetensors is in none .*{cache}"):
        saane("fetch", str(tiny))


def test_an_untrained_head_is_the_same_every_time(tiny, capsys):
    values = yaml.safe_load(tiny.read_text())
    del values["head"]["weights"], values["weights"]["head"]
    tiny.write_text(yaml.safe_dump(values))
    assert not load_card(tiny).trained
    first, second = (load_embedder(str(tiny), device="cpu") for _ in range(2))
    assert first.fingerprint == second.fingerprint
    image = np.full((64, 96, 3), 90, np.uint8)
    torch.manual_seed(7)
    (a,), (b,) = first.embed([image]), second.embed([image])
    assert np.array_equal(a.descriptor, b.descriptor)


def test_a_hugging_face_stream_enters_the_fingerprint(tiny, tmp_path, capsys):
    transformers = pytest.importorskip("transformers", reason="needs the extra transformers")
    config = transformers.SegformerConfig(
        depths=[1] * 4,
        hidden_sizes=[8] * 4,
        num_attention_heads=[1] * 4,
        decoder_hidden_size=8,
        num_labels=3,
    )
    values = yaml.safe_load(tiny.read_text())
    values["semantics"] = {"network": "huggingface", "checkpoint": str(tmp_path / "segformer")}
    del values["head"]["weights"], values["weights"]["head"], values["weights"]["segmentation"]
    tiny.write_text(yaml.safe_dump(values))
    stamps = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        network = transformers.SegformerForSemanticSegmentation(config)
        network.save_pretrained(tmp_path / "segformer")
        embedder = load_embedder(str(tiny), device="cpu")
        assert embedder.class_names == ("LABEL_0", "LABEL_1", "LABEL_2")
        stamps.append(embedder.fingerprint)
    assert stamps[0] == stamps[2] != stamps[1]
