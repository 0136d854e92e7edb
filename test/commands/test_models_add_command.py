"""`saane models add`: cards that load, and names that no library knows."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from file_servers import COMMIT, FileServer
from hugging_face_files import CLASSES, save_segformer
from safetensors.torch import save_file
from scenes import smooth_scene

from saane_ros.cli import main
from saane_ros.embedding.loading import load_embedder
from saane_ros.weights.card_files import load_card


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, without the hub unless a test serves one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / ".cache"))


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "vit_small_patch14_dinov2"])
def test_a_trunk_is_added_and_loads_timms_own_file(name: str, tmp_path: Path) -> None:
    """The file is what timm itself would save of the whole network."""
    assert main(["models", "add", f"hf-hub:timm/{name}", "--out", "own.yaml"]) == 0
    card, known = load_card(tmp_path / "own.yaml"), timm.get_pretrained_cfg(name)
    assert card.name == "own"
    assert card.preprocessing.mean == known.mean
    assert card.preprocessing.std == known.std
    assert (card.preprocessing.height, card.preprocessing.width) == (224, 224)
    assert card.licence == known.license
    source = card.weights["trunk"]
    assert source.file == f"{name}.{known.tag}.safetensors"
    assert source.url.endswith(f"/{known.hf_hub_id}/resolve/main/model.safetensors")
    torch.manual_seed(0)
    whole = timm.create_model(name, pretrained=False).eval()
    save_file(whole.state_dict(), tmp_path / source.file)
    embedder = load_embedder("own.yaml", device="cpu")
    (found,) = embedder.embed([smooth_scene(1)], grid=True)
    assert found.descriptor.shape == (card.descriptor_size,)
    pixels = embedder.preprocessing([smooth_scene(1)], embedder.device)
    with torch.inference_mode():
        own = embedder.network.appearance(pixels).stride16[0]
        if name.startswith("vit"):  # Its positions are stretched, as test_vit_trunk.py checks.
            assert own.shape == (384, 16, 16)
            return
        stages = whole.forward_intermediates(pixels, intermediates_only=True)
    (theirs,) = [stage[0] for stage in stages if stage.shape[-2:] == own.shape[-2:]]
    np.testing.assert_allclose(own.numpy(), theirs.numpy(), rtol=1e-3, atol=1e-4)


def test_a_tag_has_its_own_card_and_none_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["models", "add", "timm/resnet18.a2_in1k"]
    assert main(call) == 0
    path = tmp_path / "resnet18.a2-in1k.yaml"
    before = path.read_bytes()
    assert yaml.safe_load(before)["appearance"] == {"trunk": "timm/resnet18", "weights": "trunk"}
    assert main(call) == 1
    assert "resnet18.a2-in1k.yaml exists already" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert main([*call, "--out", "saane-town.yaml"]) == 1
    assert "The package has a model saane-town" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("timm/resnet19", "timm has no model 'resnet19'. Did you mean resnet"),
        ("timm/resnet18.nope", "timm has no weights 'resnet18.nope': those of that model are"),
        ("timm/vit_base_patch16_224", "those of DINOv2 and DINOv3 alone are trunks, such as vit_"),
        ("timm/hiera_tiny_224", "hiera_tiny_224 has no grid of features at stride 16"),
        ("./nowhere", "nowhere has no config.json"),
        ("someone/net", "could not be downloaded (Connection refused)"),
        ("resnet18", "There is no model 'resnet18' to add: give timm/<name> for a trunk"),
        ("facebook/dinov2-base", "give timm/vit_base_patch14_dinov2.lvd142m, which has the same"),
        ("facebook/dinov2-with-registers-small", "give timm/vit_small_patch14_reg4_dinov2.lvd1"),
        ("facebook/dinov3-vits16plus-pretrain-lvd1689m", "timm/vit_small_plus_patch16_dinov3.lvd"),
        ("facebook/dinov3-vit7b16-pretrain-sat493m", "timm/vit_7b_patch16_dinov3.sat493m"),
        ("facebook/dinov3-convnext-tiny-pretrain-lvd1689m", "timm/convnext_tiny.dinov3_lvd1689m"),
    ],
)
def test_what_cannot_be_added_is_told(
    name: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "add", name]) == 1
    assert told in capsys.readouterr().err
    assert not list(tmp_path.glob("*.yaml"))


def test_a_segmentation_is_added_alone_and_beside_a_trunk(tmp_path: Path) -> None:
    save_segformer(tmp_path / "segformer")
    checkpoint = str(tmp_path / "segformer")
    assert main(["models", "add", checkpoint]) == 0
    card = load_card(tmp_path / "segformer.yaml")
    assert card.system == "segmentation"
    assert card.semantics is not None
    assert card.semantics.classes == CLASSES
    assert main(["models", "verify", "segformer.yaml"]) == 0
    call = ["models", "add", "timm/resnet18", "--semantics", checkpoint, "--out", "both.yaml"]
    assert main(call) == 0
    both = load_card(tmp_path / "both.yaml")
    assert (both.system, both.trained) == ("saane", False)
    torch.manual_seed(0)
    whole = timm.create_model("resnet18", pretrained=False)
    save_file(whole.state_dict(), tmp_path / both.weights["trunk"].file)
    embedder = load_embedder("both.yaml", device="cpu")
    found = embedder.embed([smooth_scene(1)], attention=True, labels=True)[0]
    assert set(found.attention) == {"appearance", "semantic"}
    assert embedder.class_names == CLASSES


def test_a_trunk_is_pinned_by_what_the_hub_tells(
    hub_server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = timm.get_pretrained_cfg("resnet18.a2_in1k").hf_hub_id
    content = b"w" * 3_600_000
    hub_server.publish(hub, {"config.json": b"{}", "model.safetensors": content})
    assert main(["models", "add", "timm/resnet18.a2_in1k", "--out", "own.yaml"]) == 0
    source = load_card(tmp_path / "own.yaml").weights["trunk"]
    assert source.url == f"https://huggingface.co/{hub}/resolve/{COMMIT}/model.safetensors"
    assert source.sha256 == hashlib.sha256(content).hexdigest()
    assert (source.file, source.megabytes) == ("resnet18.a2_in1k.safetensors", 4)
    assert "not pinned" not in capsys.readouterr().out
    assert main(["models", "fetch", "own.yaml"]) == 0
    assert "own: trunk verified" in capsys.readouterr().out


def test_a_trunk_without_safetensors_is_loaded_from_what_there_is(
    hub_server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = timm.get_pretrained_cfg("mobilenetv3_small_050").hf_hub_id
    torch.manual_seed(0)
    torch.save(timm.create_model("mobilenetv3_small_050").state_dict(), tmp_path / "saved")
    pickled = (tmp_path / "saved").read_bytes()
    hub_server.publish(hub, {"pytorch_model.bin": pickled})
    assert main(["models", "add", "timm/mobilenetv3_small_050", "--out", "own.yaml"]) == 0
    source = load_card(tmp_path / "own.yaml").weights["trunk"]
    assert source.url.endswith(f"/resolve/{COMMIT}/pytorch_model.bin")
    assert source.file.endswith(".bin")
    embedder = load_embedder("own.yaml", device="cpu")
    (found,) = embedder.embed([smooth_scene(1)])
    assert np.linalg.norm(found.descriptor) > 0
    hub_server.publish(hub, {"open_clip_model.safetensors": pickled})
    assert main(["models", "add", "timm/mobilenetv3_small_050", "--out", "other.yaml"]) == 1
    assert "has none of model.safetensors, pytorch_model.bin" in capsys.readouterr().err


def test_timms_own_name_of_a_file_is_respected(
    hub_server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = replace(timm.get_pretrained_cfg("resnet18.a2_in1k"), hf_hub_filename="other.pth")
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda _: known)
    hub_server.publish(known.hf_hub_id, {"model.safetensors": b"a", "other.pth": b"b"})
    assert main(["models", "add", "timm/resnet18.a2_in1k", "--out", "own.yaml"]) == 0
    source = load_card(tmp_path / "own.yaml").weights["trunk"]
    assert source.url.endswith(f"/resolve/{COMMIT}/other.pth")
    assert source.sha256 == hashlib.sha256(b"b").hexdigest()
    assert source.file == "resnet18.a2_in1k.pth"


def test_without_the_hub_a_trunk_is_told_to_be_not_pinned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "add", "timm/resnet18.a2_in1k", "--out", "own.yaml"]) == 0
    assert "It is not pinned, as the hub could not be asked" in capsys.readouterr().out
    source = load_card(tmp_path / "own.yaml").weights["trunk"]
    assert source.url.endswith("/resolve/main/model.safetensors")
    assert (source.sha256, source.megabytes) == ("", 0)


def test_a_segmentation_of_the_hub_is_pinned(
    hub_server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_segformer(tmp_path / "saved")
    files = {
        name: (tmp_path / "saved" / name).read_bytes()
        for name in ("config.json", "model.safetensors")
    }
    processor = b'{"size": {"height": 96, "width": 128}}'
    hub_server.publish(
        "someone/Seg-B0", {**files, "preprocessor_config.json": processor}, "cc-by-4.0"
    )
    assert main(["models", "add", "someone/Seg-B0"]) == 0
    assert "not pinned" not in capsys.readouterr().out
    card = load_card(tmp_path / "seg-b0.yaml")
    assert card.semantics is not None
    assert card.semantics.checkpoint == f"someone/Seg-B0@{COMMIT}"
    assert card.semantics.sha256 == hashlib.sha256(files["model.safetensors"]).hexdigest()
    assert card.semantics.classes == CLASSES
    assert (card.preprocessing.height, card.preprocessing.width) == (96, 128)
    assert card.licence == "cc-by-4.0"
    asked = len(hub_server.paths)
    assert main(["models", "verify", "seg-b0.yaml"]) == 0
    assert len(hub_server.paths) == asked
    hub_server.publish("someone/pickled", {"config.json": b"{}", "pytorch_model.bin": b""})
    assert main(["models", "add", "someone/pickled"]) == 1
    assert "someone/pickled of Hugging Face has no model.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (401, "GatedRepo", "accept the terms at https://huggingface.co/someone/model, log in"),
        (401, "RepoNotFound", "Hugging Face has no model someone/model, or it is private"),
    ],
)
def test_a_gated_and_an_unknown_hub_model_are_told_apart(
    status: int,
    code: str,
    told: str,
    hub_server: FileServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refusal = status, {"X-Error-Code": code}
    for path in (
        "/api/models/someone/model/revision/main?blobs=true",
        "/someone/model/resolve/main/config.json",
    ):
        hub_server.refused[path] = refusal
    assert main(["models", "add", "someone/model"]) == 1
    assert told in capsys.readouterr().err
