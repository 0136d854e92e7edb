"""Starting a head at the untrained trunks' own pooled descriptor, plain or whitened.

PyTorch's defaults begin with a random mixture of channels; from there a small training set never
wins back what the mixture lost. From the trunk's own descriptor training can only add.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.attention import ChannelAttention, SpatialAttention
from saane_ros.model.fusion import Fusion, Projection
from saane_ros.model.heads import Head
from saane_ros.training.features import Features

CELLS = 4
"""Features are averaged over the finest cells of the pyramid before their moments are taken."""
SAMPLES = 1000
SHRINKAGE = 0.1
SEMANTIC_SHARE = 0.2
"""Of the channels that a whitened start gives to the semantics."""
SEMANTIC_WEIGHT = 0.25
"""Of the semantics at a whitened start, the appearance counting 1.

On held-out places more of it hurts the start (recall@1 .848 without, .833 with 0.25, .812 with
0.5) and training does not win that back.
"""


@torch.no_grad()
def start_at_trunk(head: Head, seed: int) -> None:
    """Appearance projections become orthogonal, semantics silent, every gate flat.

    Where channels differ from the trunk's, the orthogonal matrix is a random one of this seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _start_at_trunk(head)


def _start_at_trunk(head: Head) -> None:
    for name, module in head.named_modules():
        last_fusion = name == "fusion2" or (name == "fusion1" and not hasattr(head, "fusion2"))
        if isinstance(module, (Projection, Fusion)):
            _orthogonal(module.appearance)
        if isinstance(module, Fusion) and last_fusion:
            nn.init.zeros_(module.semantic.weight)
        if isinstance(module, ChannelAttention):
            nn.init.zeros_(module.excite.weight)
            nn.init.zeros_(module.excite.bias)
        if isinstance(module, SpatialAttention):
            nn.init.zeros_(module.convolution.weight)


@torch.no_grad()
def start_whitened(head: Head, features: Features, seed: int) -> None:
    """As `start_at_trunk`, but the first projections whiten the training set's features.

    Whitened is the moment about zero: the first projection has no bias that could take a mean
    out, but most of the moment is the mean, so its direction is what is turned down most. It is
    the linear relative of standardising descriptors.

    Where there are semantics, both branches are alive: each is whitened into channels of its own,
    so that their sum holds both, and the semantics begin at SEMANTIC_WEIGHT.
    """
    start_at_trunk(head, seed)
    rows = np.linspace(0, len(features) - 1, min(len(features), SAMPLES)).astype(np.int64)
    moments = cell_moments(features, np.unique(rows))
    appearance = head.get_parameter("fusion1.appearance.weight")
    channels = appearance.shape[0]
    own = round(channels * SEMANTIC_SHARE) if head.uses_semantics else 0
    first = whitening(moments[0], channels - own)
    appearance.copy_(functional.pad(first, (0, 0, 0, own))[:, :, None, None])
    if not head.uses_semantics:
        return
    second = whitening(moments[1], own)
    longer = _energy(first, moments[0]) / _energy(second, moments[1])
    second *= SEMANTIC_WEIGHT * longer**0.5
    semantic = head.get_parameter("fusion1.semantic.weight")
    semantic.copy_(functional.pad(second, (0, 0, channels - own, 0))[:, :, None, None])
    if hasattr(head, "fusion2"):
        nn.init.dirac_(head.get_parameter("fusion2.semantic.weight"))


def _energy(matrix: Tensor, moment: Tensor) -> float:
    """Mean square length of projected cells."""
    return float(torch.trace(matrix.double() @ moment @ matrix.double().T))


def cell_moments(features: Features, rows: NDArray[np.int64]) -> list[Tensor]:
    """Mean of x x^T (C, C) over all cells x of some images, of appearance and semantic features."""
    totals: list[Tensor] = []
    for start in range(0, len(rows), features.batch_size):
        some = rows[start : start + features.batch_size]
        for stream, maps in enumerate(features.batch(some, torch.device("cpu"))):
            if maps is None:
                continue
            cells = functional.adaptive_avg_pool2d(maps, CELLS).transpose(0, 1).flatten(1).double()
            if stream == len(totals):
                totals.append(torch.zeros(len(cells), len(cells), dtype=torch.float64))
            totals[stream] += cells @ cells.T / CELLS**2
    return [total / len(rows) for total in totals]


def whitening(moment: Tensor, outputs: int) -> Tensor:
    """A matrix W (outputs, C) for which W x has a nearly equal moment in every direction.

    The eigenvalues are shrunk towards their mean, so that weak directions are not blown up. With
    as many outputs as inputs W is symmetric, the nearest to the identity; with fewer, those are
    the strongest directions. Scaled to keep the mean square of x.
    """
    values, vectors = torch.linalg.eigh(moment)
    shrunk = (1 - SHRINKAGE) * values.clamp(min=0) + SHRINKAGE * values.mean()
    scaled = vectors * shrunk.rsqrt() * values.mean().sqrt()
    kept = scaled[:, -outputs:] if outputs < len(values) else scaled @ vectors.T
    matrix = kept.T
    if outputs > len(values):
        matrix = functional.pad(matrix, (0, 0, 0, outputs - len(values)))
    return matrix.float()


def _orthogonal(convolution: nn.Conv2d) -> None:
    outputs, inputs = convolution.weight.shape[:2]
    if outputs == inputs:
        nn.init.dirac_(convolution.weight)
    else:
        nn.init.orthogonal_(convolution.weight)
