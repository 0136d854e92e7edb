"""SRALNet's published centroids: an HDF5 file with one dataset, `centroids` (K, 1 + S, D)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saane_ros.errors import SaaneError
from saane_ros.reading import parsing

DATASET = "centroids"


def read_centroids(path: Path) -> dict[str, Tensor]:
    """The dataset `centroids` by name, float32; needs h5py, of the extra `sralnet`."""
    try:
        import h5py
    except ImportError as error:
        raise SaaneError(
            f"Reading {path} needs h5py: pip install 'saane_ros[sralnet]', or pip install h5py."
        ) from error
    fault = f"{path} is no HDF5 file with a dataset {DATASET!r}"
    with parsing(fault, "get it again from its source"), h5py.File(path, "r") as file:
        values = np.asarray(file[DATASET][()], np.float32)
    return {DATASET: torch.from_numpy(values)}


def fitting_centroids(
    tensors: Mapping[str, Tensor], words: int, shadows: int, channels: int, what: str
) -> Tensor:
    """The centroids (K, 1 + S, D); SaaneError where the model has other sizes.

    A model without shadows gets the representatives alone, (K, 1, D), of a file with any number.
    """
    wanted = (words, 1 + shadows, channels)
    found = tensors.get(DATASET, torch.empty(0))
    if not shadows and found.ndim == 3:
        found = found[:, :1]
    if tuple(found.shape) != wanted:
        raise SaaneError(
            f"{what} has centroids of shape {tuple(found.shape)} instead of {wanted} (words, "
            "representative and shadows, channels): give the sizes of the model in aggregation, or "
            "another file."
        )
    return found
