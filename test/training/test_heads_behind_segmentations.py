"""A head is trained behind every kind of segmentation, ships as a card and loads again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from hugging_face_files import save_mask2former, save_segformer
from pspnet_files import checkpoint
from safetensors.torch import load_file, save_file
from tflite_networks import mosaic_bytes

from saane_ros.cli import main
from saane_ros.embedding.loading import load_embedder
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.files import sha256_of
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.espnetv2 import EspNetV2
from saane_ros.model.heads import HEADS
from saane_ros.model.vit_trunk import VitTrunk
from saane_ros.training.config import read_training_config
from saane_ros.training.export import card_in_training, trained_roles
from saane_ros.weights.card_files import load_card

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 8


def small_weights(variant: str) -> dict[str, torch.Tensor]:
    """Random files of a public layout whose features stay in range."""
    return {
        key: torch.ones_like(value)
        if key.endswith(("running_var", "num_batches_tracked"))
        else (value - 0.5) * 0.02
        for key, value in checkpoint(variant).items()
    }


def pspnet(variant: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The part of the card and its files, in one file or in the two that are published."""
    tensors = small_weights(variant)
    parts = {"segmentation": tensors}
    if variant == "csail":
        first = ("layer", "conv1", "conv2", "conv3", "bn")
        encoder = {key: v for key, v in tensors.items() if key.startswith(first)}
        decoder = {key: v for key, v in tensors.items() if key not in encoder}
        parts = {"encoder": encoder, "decoder": decoder}
    files = {}
    for role, part in parts.items():
        path = folder / f"{role}.safetensors"
        save_file(part, path)
        files[role] = {"file": path.name, "sha256": sha256_of(path)}
    card = {"network": "pspnet", "variant": variant, "weights": list(parts), "classes": "ade20k"}
    return card, files


def hugging_face(save: Any, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    save(folder / "checkpoint")
    return {"network": "huggingface", "checkpoint": str(folder / "checkpoint")}, {}


def mosaic(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    pytest.importorskip("tflite", reason="needs the extra mosaic")
    path = folder / "mosaic.tflite"
    path.write_bytes(mosaic_bytes())
    files = {"segmentation": {"file": path.name, "sha256": sha256_of(path)}}
    return {"network": "mosaic", "classes": "ade20k_top31", "short_side": 96}, files


def espnetv2(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    path = folder / "espnetv2.pth"
    torch.save(EspNetV2().state_dict(), path)
    files = {"segmentation": {"file": path.name, "sha256": sha256_of(path)}}
    return {"network": "espnetv2", "classes": "cityscapes_background"}, files


SEGMENTATIONS = ("csail", "semseg", "mosaic", "espnetv2", "segformer", "mask2former")
ABLATIONS = {
    "app": set(),
    "app_sem": set(),
    "app_att": {"appearance"},
    "app_att_sem_att": {"appearance", "semantic"},
    "saane": {"appearance", "semantic"},
}
"""The five wirings, and which attention each has."""
VIT2, VIT3 = "vit_small_patch14_dinov2", "vit_tiny_patch16_dinov3_qkvb"


def semantics_of(kind: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A segmentation with random weights: its part of the card and its files."""
    if kind in ("csail", "semseg"):
        return pspnet(kind, folder)
    if kind in ("mosaic", "espnetv2"):
        return {"mosaic": mosaic, "espnetv2": espnetv2}[kind](folder)
    save = {"segformer": save_segformer, "mask2former": save_mask2former}[kind]
    return hugging_face(save, folder)


@pytest.mark.parametrize("kind", SEGMENTATIONS)
def test_a_head_trains_exports_and_loads_behind(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", WIDTH)
    appearance = {"trunk": "resnet18", "width": WIDTH}
    embedder = trained(tmp_path, "saane", trunk, appearance, kind)
    assert set(shown(embedder, tmp_path)) == {"appearance", "semantic"}


@pytest.mark.parametrize(
    ("name", "kind", "system"),
    [
        *((VIT3, "segformer", system) for system in ABLATIONS),
        *((VIT3, kind, "saane") for kind in SEGMENTATIONS if kind not in ("segformer", "csail")),
        (VIT2, "mask2former", "saane"),
    ],
)
def test_a_head_trains_exports_and_loads_over_patches(
    name: str, kind: str, system: str, tmp_path: Path
) -> None:
    """Of DINOv2 and DINOv3, random: all segmentations behind one, all wirings of one."""
    torch.manual_seed(0)
    trunk = VitTrunk(name)
    for value in trunk.parameters():
        # Layer scales of 1e-5, where training begins, would let no block say anything.
        if value.ndim == 1 and float(value.detach().abs().max()) < 1e-3:
            torch.nn.init.uniform_(value, 0.2, 0.5)
    embedder = trained(tmp_path, system, trunk, {"trunk": f"timm/{name}"}, kind)
    assert set(shown(embedder, tmp_path)) == ABLATIONS[system]


def trained(
    tmp_path: Path, system: str, trunk: torch.nn.Module, appearance: dict[str, Any], kind: str
) -> NetworkEmbedder:
    """What the commands train, export and load again, its head compared with the trained one."""
    weights = tmp_path / "weights"
    weights.mkdir()
    save_file(trunk.state_dict(), weights / "trunk.safetensors")
    semantics, files = semantics_of(kind, weights)
    side = 64
    if isinstance(trunk, VitTrunk):
        side = 4 * trunk.patch
    own = {"file": "trunk.safetensors", "sha256": sha256_of(weights / "trunk.safetensors")}
    model = {
        "name": "cams",
        "system": system,
        "appearance": appearance,
        "semantics": semantics,
        "head": {"channels": 16, "reduction": 4, "levels": [2, 1]},
        "preprocessing": {"height": side, "width": side},
        "licence": "CC0-1.0",
        "weights": {"trunk": own, **files},
    }
    if not HEADS[system].uses_semantics:
        del model["semantics"]
        model["weights"] = {"trunk": own}
    write_cameras(tmp_path / "data" / "cams")
    config = {
        "model": model,
        "places": [{"kind": "cameras", "folder": "cams", "without": ["c3", "c4"]}],
        "held_out": [{"kind": "cameras", "folder": "cams", "only": ["c3", "c4"]}],
        "embedding": {"steps": 2, "classes": 3, "validate_every": 1, "start": "trunk"},
    }
    (tmp_path / "cams.yaml").write_text(yaml.safe_dump(config))
    common = ["--config", str(tmp_path / "cams.yaml"), "--out", str(tmp_path / "out")]
    common += ["--data", str(tmp_path / "data"), "--weights", str(weights), "--device", "cpu"]
    assert main(["train", "embedding", *common]) == 0
    assert main(["train", "export", *common, "--models", str(tmp_path / "models")]) == 0
    assert {path.name for path in (tmp_path / "models").iterdir()} == {
        "cams.yaml",
        "cams.head.safetensors",
    }
    embedder = load_embedder(str(tmp_path / "models" / "cams.yaml"), str(weights), "cpu", "fp32")
    head = load_file(tmp_path / "out" / "embedding" / "head.safetensors")
    for name, value in embedder.network.head.state_dict().items():
        torch.testing.assert_close(value, head[name], rtol=1e-3, atol=1e-3)
    return embedder


def shown(embedder: NetworkEmbedder, tmp_path: Path) -> dict[str, Any]:
    """Attention of one image, whose descriptor has the norm of all."""
    image = cv2.imread(str(tmp_path / "data" / "cams" / "c3" / "t0.png"))[..., ::-1]
    embedding = embedder.embed([image], attention=True)[0]
    assert np.linalg.norm(embedding.descriptor) == pytest.approx(10, rel=1e-4)
    return embedding.attention


def write_cameras(root: Path) -> None:
    random = np.random.default_rng(0)
    for camera in range(5):
        folder = root / f"c{camera}"
        folder.mkdir(parents=True)
        scene = cv2.resize(random.integers(0, 255, (4, 5, 3)).astype(np.uint8), (60, 40))
        for time in range(4):
            exposed = np.clip(scene * (0.6 + 0.2 * time), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"t{time}.png"), exposed)


def test_the_paper_has_a_configuration_that_trains_its_head_alone() -> None:
    config = read_training_config(ROOT / "config" / "train" / "saane-resnet50-pspnet.yaml")
    assert trained_roles(config.model) == ["head"]
    card = card_in_training(config.model, config.path)
    assert card.semantics is not None
    assert (card.semantics.network, card.semantics.weights) == ("pspnet", ("encoder", "decoder"))
    assert (config.embedding.classes, config.embedding.images) == (16, 4)
    assert config.embedding.learning_rate == 5e-5


def test_dinov2_has_a_configuration_that_trains_its_head_alone() -> None:
    config = read_training_config(ROOT / "config" / "train" / "saane-dinov2.yaml")
    assert trained_roles(config.model) == ["head"]
    card = card_in_training(config.model, config.path)
    assert card.semantics is not None
    assert (card.local_features.trunk, card.trunk_channels) == ("timm/vit_base_patch14_dinov2", 768)
    assert config.comparison is not None
    assert set(config.comparison.systems) == set(ABLATIONS)
    # The trunk's file is that of the card of the trunk alone.
    assert card.weights["trunk"].sha256 == load_card("dinov2-vitb14").weights["trunk"].sha256
