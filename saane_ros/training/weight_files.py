"""Trained values as safetensors files."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from saane_ros.files import replacing_file


def save_weights(module: nn.Module, path: Path) -> None:
    """Write the state of a module."""
    save_tensors(module.state_dict(), path)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors by name, readable by everybody; the file is the new one or as before."""
    own = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
    with replacing_file(path) as temporary:
        save_file(own, temporary)
        temporary.chmod(0o644)  # safetensors keeps others from reading
