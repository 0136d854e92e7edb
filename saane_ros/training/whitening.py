"""PCA whitening of descriptors (Jegou & Chum 2012; Arandjelovic's addPCA.m)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saane_ros.errors import SaaneError

FLOOR = 1e-9


def pca_whitening(descriptors: NDArray[np.float32], size: int) -> tuple[Tensor, Tensor]:
    """W (size, D) and b (size,) of y = W v + b from descriptors (n, D).

    W = diag(1 / sqrt(lambda + 1e-9)) U^T with the largest eigenvalues of the covariance, b = -W mu.
    n may be below D: the eigenvectors come from the n x n matrix of products then.
    """
    count, dimensions = descriptors.shape
    if size > min(count - 1, dimensions):
        raise SaaneError(
            f"{count} descriptors of {dimensions} values have fewer than {size} directions: give "
            "more training images or a smaller whitening."
        )
    values = torch.from_numpy(np.ascontiguousarray(descriptors, np.float32)).double()
    mean = values.mean(dim=0)
    centred = values - mean
    if count <= dimensions:
        eigenvalues, small = torch.linalg.eigh(centred @ centred.T)
        kept = eigenvalues[-size:].flip(0).clamp(min=FLOOR)
        vectors = (centred.T @ small[:, -size:].flip(1)) / kept.sqrt()
    else:
        eigenvalues, whole = torch.linalg.eigh(centred.T @ centred)
        kept, vectors = eigenvalues[-size:].flip(0).clamp(min=0), whole[:, -size:].flip(1)
    matrix = vectors.T / (kept / (count - 1) + FLOOR).sqrt()[:, None]
    return matrix.float(), -(matrix @ mean).float()


def pca_projection(features: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Rotation onto the largest directions of local features (n, C): W (size, C) and b (size,)."""
    values = features.double()
    mean = values.mean(dim=0)
    _, vectors = torch.linalg.eigh((values - mean).T @ (values - mean))
    matrix = vectors[:, -size:].flip(1).T
    return matrix.float(), -(matrix @ mean).float()
