"""Reading weight files without running anything that they hold."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from saane_ros.errors import SaaneError
from saane_ros.reading import parsing
from saane_ros.weights.centroid_files import read_centroids
from saane_ros.weights.matconvnet import read_matconvnet
from saane_ros.weights.tflite_files import read_tflite

NUMPY_NUMBERS: list[Any] = [
    np.ndarray,
    np.dtype,
    type(np.dtype(np.float32)),
    type(np.dtype(np.float64)),
    type(np.dtype(np.int64)),
    np.zeros(1).__reduce__()[0],
    np.float64(0).__reduce__()[0],
]
"""What NumPy's numbers and arrays of numbers are rebuilt by, recalls that some authors left in."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a weight file by name, in its own dtype.

    .safetensors, PyTorch, .tflite, MatConvNet's .mat, or .h5 with SRALNet's centroids.

    A PyTorch file may hold the tensors directly, or under "state_dict", "model_state_dict" or
    "extractor" with numbers of a training beside them; a tensor alone is one of cluster centres,
    "centroids". Code in it is never run: a file that needs code is refused with a SaaneError, as is
    a damaged one.
    """
    if path.suffix == ".mat":
        return read_matconvnet(path)
    if path.suffix == ".h5":
        return read_centroids(path)
    if path.suffix == ".tflite":
        return read_tflite(path)
    with parsing(f"Weight file {path} cannot be read", "get the file again from its source"):
        if path.suffix == ".safetensors":
            return load_file(path)
        try:
            with torch.serialization.safe_globals(NUMPY_NUMBERS):
                content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise SaaneError(
                f"Weight file {path} was refused because it is damaged or reading it would run "
                "code that it holds: get the file again from its source, or convert it to "
                "safetensors."
            ) from error
    return _state_dict(content, path)


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, dtypes and values, for weights that come from no single file."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _state_dict(content: object, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Tensor):
        return {"centroids": content}
    for key in ("state_dict", "model_state_dict", "extractor"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if isinstance(content, dict):
        tensors = {str(name): item for name, item in content.items() if isinstance(item, Tensor)}
        if tensors and len(tensors) == len(content):
            return tensors
    raise SaaneError(
        f"Weight file {path} holds no state dict of named tensors: save module.state_dict() in it."
    )
