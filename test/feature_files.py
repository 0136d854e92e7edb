"""Checkpoints of local features with random weights, in the layouts that are published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from saane_ros.weights.feature_cards import load_feature_card

CERTAIN = 20.0
"""By which a random LightGlue's last projection is stretched, so that it is sure of some pairs."""


def extractor(system: str) -> nn.Module:
    """A network of the library, with random weights."""
    torch.manual_seed(0)
    if system == "superpoint":
        library = pytest.importorskip("transformers", reason="the extra transformers is absent")
        return library.SuperPointForKeypointDetection(library.SuperPointConfig()).eval()
    kornia = pytest.importorskip("kornia.feature", reason="the extra kornia is absent")
    return (kornia.DISK() if system == "disk" else kornia.ALIKED("aliked-n16")).eval()


def matcher(system: str) -> nn.Module:
    """Its LightGlue."""
    torch.manual_seed(1)
    if system == "superpoint":
        library = pytest.importorskip("transformers", reason="the extra transformers is absent")
        network = library.LightGlueForKeypointMatching(library.LightGlueConfig()).eval()
    else:
        kornia = pytest.importorskip("kornia.feature", reason="the extra kornia is absent")
        network = kornia.LightGlue(features=None, input_dim=128).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if re.search(r"final_proj\w*\.weight", name):
                value *= CERTAIN
    return network


def write_card(folder: Path, name: str, **changes: Any) -> Path:
    """The shipped card with random weights beside it, whose digests nobody published."""
    shipped = load_feature_card(name)
    files = {key: source.file for key, source in shipped.weights.items()}
    folder.mkdir(exist_ok=True)
    write_checkpoint(folder / files["extractor"], published(extractor(shipped.system)))
    if "matcher" in files:
        write_checkpoint(folder / files["matcher"], published(matcher(shipped.system)))
    card = {
        "name": f"own-{name}",
        "system": shipped.system,
        "matcher": shipped.matcher,
        "licence": "none",
        "weights": {
            key: {"file": file, "url": f"http://127.0.0.1:9/{file}"} for key, file in files.items()
        },
        **changes,
    }
    path = folder / f"own-{name}.yaml"
    path.write_text(yaml.safe_dump(card))
    return path


def published(network: nn.Module) -> dict[str, Tensor]:
    """Its tensors as published: without what follows from the architecture, and by older names."""
    renamed = {
        re.sub(r"^transformers\.(\d+)\.(self_attn|cross_attn)", r"\2.\1", name): value
        for name, value in network.state_dict().items()
    }
    return {
        name: value.contiguous()
        for name, value in renamed.items()
        if name not in ("confidence_thresholds", "dkd.hw_grid")
    }


def write_checkpoint(path: Path, tensors: dict[str, Tensor]) -> None:
    """safetensors or PyTorch; DISK's under "extractor" beside the state of its training."""
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    elif path.name == "depth-save.pth":
        torch.save({"extractor": tensors, "epoch": 3}, path)
    else:
        torch.save(tensors, path)
