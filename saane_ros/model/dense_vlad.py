"""DenseVLAD (Torii et al., CVPR 2015): a VLAD of dense RootSIFT over 128 words."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.dense_sift import SIZE, DenseGrid, Grey, dense_rootsift
from saane_ros.model.saane import SaaneOutput
from saane_ros.model.vlad import EPSILON, Whitening, flat_vlad

LUMA = (0.299, 0.587, 0.114)


class DenseVlad(nn.Module):
    """Images to descriptors without a trunk; the same interface as SaaneNetwork.

    centroids: the words, unit vectors (K, 128).
    mean, std: of the preprocessing, undone here, since SIFT starts from grey values.
    """

    semantics = None
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        words: int,
        whitening: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        grid: DenseGrid | None = None,
    ) -> None:
        super().__init__()
        self.grid = grid or DenseGrid()
        self.centroids = nn.Parameter(torch.zeros(words, SIZE), requires_grad=False)
        self.whitening = Whitening(words * SIZE, whitening) if whitening else nn.Identity()
        self.descriptor_size = whitening or words * SIZE
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor, labels: bool = False) -> SaaneOutput:
        """Normalised images B x 3 x h x w to unit descriptors; there are no labels to give."""
        sums = torch.stack([self._vlad(grey) for grey in self.grey(images)])
        return SaaneOutput(self.whitening(flat_vlad(sums)), None, None, None)

    def grey(self, images: Tensor) -> list[Grey]:
        """Grey values in [0, 1], H x W each."""
        colours = images.float() * self.std.float() + self.mean.float()
        weights = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
        return list((colours * weights).sum(dim=1).cpu().numpy())

    def local_features(self, grey: Grey) -> Tensor:
        """The descriptors of one image, (n, 128)."""
        return torch.from_numpy(np.ascontiguousarray(dense_rootsift(grey, self.grid)))

    def _vlad(self, grey: Grey) -> Tensor:
        features = self.local_features(grey).to(self.centroids.device)
        return hard_residual_sums(features, self.centroids.float())


def hard_residual_sums(features: Tensor, words: Tensor) -> Tensor:
    """V_k = sum of (x - c_k) over the features whose nearest word is k: (n, D), (K, D) to (K, D).

    Words and features are unit vectors, so that the nearest word is that of the largest dot.
    """
    nearest = (features @ words.T).argmax(dim=1)
    sums = torch.zeros_like(words).index_add_(0, nearest, features)
    return sums - torch.bincount(nearest, minlength=len(words))[:, None] * words


def unit_words(centres: Tensor) -> Tensor:
    """k-means centres (K, 128) as words of unit length."""
    return functional.normalize(centres, dim=1, eps=EPSILON)
