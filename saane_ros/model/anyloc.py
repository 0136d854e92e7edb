"""AnyLoc (Keetha et al., RA-L 2023): a VLAD of DINOv2's local features, without any training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.heads import Head, HeadOutput
from saane_ros.model.vlad import EPSILON, flat_vlad, residual_sums


class AnyLoc(Head):
    """Unit features, each assigned to the centre of the nearest direction, summed as residuals.

    centroids: K x C, means of unit features and so shorter than 1.
    """

    uses_semantics = False

    def __init__(self, inputs: int, clusters: int) -> None:
        super().__init__()
        self.centroids = nn.Parameter(torch.zeros(clusters, inputs))
        self.descriptor_size = clusters * inputs

    def forward(self, appearance: Tensor, semantic: Tensor | None = None) -> HeadOutput:
        x = functional.normalize(appearance.float(), dim=1, eps=EPSILON)
        directions = functional.normalize(self.centroids.float(), dim=1, eps=EPSILON)
        nearest = torch.einsum("kd,bdhw->bkhw", directions, x).argmax(dim=1)
        hard = functional.one_hot(nearest, len(directions)).permute(0, 3, 1, 2).float()
        return HeadOutput(flat_vlad(residual_sums(x, hard, self.centroids)))
