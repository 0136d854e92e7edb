"""Vectors of locally aggregated descriptors: residual sums, their normalisation, whitening.

Jegou et al. 2010; intra-normalisation after Arandjelovic & Zisserman 2013. A flattened VLAD is
ordered cluster by cluster (K, D): value d of cluster k is at k * D + d.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.heads import Head, HeadOutput

EPSILON = 1e-12


@dataclass(frozen=True)
class VladSizes:
    """inputs: channels of the trunk.  project: channels after a 1x1 convolution, 0 for none.

    words: clusters K.  shadows: shadow centroids per cluster, SRALNet only.
    whitening: values of the whitened descriptor, 0 for none.
    residual_gate: SRALNet only, see `sralnet.py`.
    """

    inputs: int = 512
    words: int = 64
    shadows: int = 0
    project: int = 0
    whitening: int = 0
    residual_gate: bool = False

    @property
    def local(self) -> int:
        """Channels D of a local feature."""
        return self.project or self.inputs


class Whitening(nn.Linear):
    """y = W v + b, to unit length; see `saane_ros.training.whitening` for how W is learned."""

    def forward(self, descriptors: Tensor) -> Tensor:
        """B x (K * D) to B x P."""
        whitened = super().forward(descriptors.to(self.weight.dtype))
        return functional.normalize(whitened.float(), dim=1, eps=EPSILON)


class VladHead(Head, ABC):
    """Local features of unit length, softly assigned to clusters, summed as residuals.

    A subclass says by `weigh` how much each cell counts for each cluster. weights of the
    assignment, its biases and the centroids are decoupled (Arandjelovic et al. 2016, Eq. 4).
    """

    uses_semantics = False

    def __init__(self, sizes: VladSizes) -> None:
        super().__init__()
        self.words, self.shadows = sizes.words, sizes.shadows
        self.projection = (
            nn.Conv2d(sizes.inputs, sizes.project, 1) if sizes.project else nn.Identity()
        )
        self.assignment = nn.Conv2d(sizes.local, sizes.words * (1 + sizes.shadows), 1)
        self.centroids = nn.Parameter(torch.zeros(sizes.words, sizes.local))
        full = sizes.words * sizes.local
        self.whitening = Whitening(full, sizes.whitening) if sizes.whitening else nn.Identity()
        self.descriptor_size = sizes.whitening or full

    def forward(
        self, appearance: Tensor, semantic: Tensor | None = None, static: Tensor | None = None
    ) -> HeadOutput:
        """Features B x C x H x W to a unit descriptor; static: B x 1 x H x W weights of cells."""
        x = self.local_features(appearance)
        weights, saliency = self.weigh(self.logits(x))
        if static is not None:
            weights = weights * static
        return HeadOutput(
            self.whitening(flat_vlad(residual_sums(x, weights, self.centroids))), saliency
        )

    def filtered(self, appearance: Tensor, semantic: Tensor | None, static: Tensor) -> HeadOutput:
        """Weighs the residuals: zeroed features would still leave residuals of minus a centroid."""
        return self(appearance, semantic, static)

    def local_features(self, appearance: Tensor) -> Tensor:
        """B x D x H x W, float32, every cell at unit length."""
        return functional.normalize(self.projection(appearance).float(), dim=1, eps=EPSILON)

    def logits(self, x: Tensor) -> Tensor:
        """B x K(S+1) x H x W; in float32, as alpha in the thousands leaves fp16 no decimals."""
        bias = self.assignment.bias
        assert bias is not None
        return functional.conv2d(x, self.assignment.weight.float(), bias.float())

    @abstractmethod
    def weigh(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weights B x K x H x W of the cells; a map B x 1 x H x W of how much each counts."""


def residual_sums(x: Tensor, weights: Tensor, centroids: Tensor) -> Tensor:
    """V_k = sum_i weights_k(i) (x_i - c_k): B x K x D from B x D x H x W and B x K x H x W."""
    sums = torch.einsum("bkhw,bdhw->bkd", weights, x)
    return sums - weights.sum(dim=(2, 3))[..., None] * centroids.float()


def flat_vlad(vlad: Tensor) -> Tensor:
    """Every cluster to unit length, then the whole: B x K x D to B x (K * D)."""
    within = functional.normalize(vlad, dim=2, eps=EPSILON)
    return functional.normalize(within.flatten(1), dim=1, eps=EPSILON)


def sharpness(nearest: Tensor, second: Tensor) -> float:
    """alpha that makes the runner-up's weight a hundredth of the best one's on average.

    nearest, second: scores of the best and second best cluster of many features, higher is nearer.
    Arandjelovic's getClusters.m: alpha = -ln(0.01) / mean(gap).
    """
    gap = float((nearest - second).mean())
    return float(-torch.log(torch.tensor(0.01))) / max(gap, EPSILON)
