"""`saane models add`: cards that load, and names that no library knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from hugging_face_files import CLASSES, save_segformer
from safetensors.torch import save_file
from scenes import smooth_scene

from saane_ros.cli import main
from saane_ros.embedding import new_cards
from saane_ros.embedding.loading import load_embedder
from saane_ros.errors import SaaneError
from saane_ros.weights.card_files import load_card


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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
        ("timm/vit_base_patch16_224", "has no grid of features at stride 16"),
        ("./nowhere", "./nowhere has no config.json"),
    ],
)
def test_what_cannot_be_added_is_told(
    name: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "add", name]) == 1
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize(
    ("kind", "told"),
    [("GatedRepoError", "is gated: accept"), ("RepositoryNotFoundError", "has no")],
)
def test_a_gated_and_an_unknown_hub_model_are_told_apart(
    kind: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As transformers raises them: an OSError from the hub's own, and SaaneError from that."""
    errors = pytest.importorskip("huggingface_hub.errors")
    cause = getattr(errors, kind).__new__(getattr(errors, kind))

    def refuse(*_: object) -> None:
        try:
            raise OSError("no access") from cause
        except OSError as error:
            raise SaaneError("cannot be loaded") from error

    monkeypatch.setattr(new_cards, "load_segmenter", refuse)
    with pytest.raises(SaaneError, match=told):
        new_cards.new_card("someone/model")
