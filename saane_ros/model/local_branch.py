"""Local features that published two-stage systems put their first places in order by.

SelaVPR: Lu et al., ICLR 2024, section 3.3. Patch-NetVLAD: Hausler et al., CVPR 2021, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.gem import CosPlace
from saane_ros.model.netvlad import NetVlad
from saane_ros.model.vlad import EPSILON, flat_vlad

HIDDEN, LOCAL = 256, 128
"""Channels between the two convolutions of SelaVPR's branch, and of a local feature."""


class Upsampling(nn.Module):
    """Two transposed convolutions, B x C x h x w to B x 128 x (4 h - 3) x (4 w - 3)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.upconv1 = nn.ConvTranspose2d(inputs, HIDDEN, 3, stride=2, padding=1)
        self.upconv2 = nn.ConvTranspose2d(HIDDEN, LOCAL, 3, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return self.upconv2(functional.relu(self.upconv1(features)))


class SelaVpr(CosPlace):
    """SelaVPR's descriptor, and 61 x 61 local features of 16 x 16 cells, of which mutual nearest
    ones are counted."""

    own_score = "mutual"
    own_shares = (1.0,)

    def __init__(self, inputs: int) -> None:
        super().__init__(inputs)
        self.branch = Upsampling(inputs)

    def own_features(self, appearance: Tensor) -> list[Tensor]:
        return [functional.normalize(self.branch(appearance).float(), dim=1, eps=EPSILON)]


class PatchNetVlad(NetVlad):
    """NetVLAD, and the VLAD of every square patch of the grid, whitened as that of the image.

    The patches' sides are 2, 5 and 8 cells where so many fit in, and their shares of the score
    those of the authors' best configuration; rapid spatial scoring, not RANSAC. A map has those of
    5, which is their configuration of one size.
    """

    sides = (2, 5, 8)
    side_of_map = 5
    own_score = "rapid"
    own_shares = (0.45, 0.15, 0.4)

    def own_features(self, appearance: Tensor) -> list[Tensor]:
        most = min(appearance.shape[-2:])
        return self._patches(appearance, [side for side in self.sides if side <= most])

    def own_grid(self, appearance: Tensor) -> Tensor:
        return self._patches(appearance, [min(self.side_of_map, *appearance.shape[-2:])])[0]

    def _patches(self, appearance: Tensor, sides: Sequence[int]) -> list[Tensor]:
        x = self.local_features(appearance)
        weights, _ = self.weigh(self.logits(x))
        return [self._patches_of(x, weights, side) for side in sides]

    def _patches_of(self, x: Tensor, weights: Tensor, side: int) -> Tensor:
        """Unit vectors B x P x (H - side + 1) x (W - side + 1); the sums of residuals are means
        here, which normalisation does not notice."""

        def mean(cells: Tensor) -> Tensor:
            return functional.avg_pool2d(cells, side, stride=1)

        shares = mean(weights)
        centroids = self.centroids.float()
        # Cluster by cluster: the residuals of all of them would be 64 times the features.
        residuals = [
            mean(weights[:, k, None] * x) - shares[:, k, None] * centroids[k][:, None, None]
            for k in range(self.words)
        ]
        vlads = torch.stack(residuals, dim=1).permute(0, 3, 4, 1, 2)
        found = self.whitening(flat_vlad(vlads.flatten(0, 2)))
        return found.unflatten(0, vlads.shape[:3]).permute(0, 3, 1, 2)
