"""SALAD (Izquierdo & Civera, CVPR 2024), and MegaLoc's layer on it (Berton & Masone 2025)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.errors import SaaneError
from saane_ros.model.heads import Head, HeadOutput, required_token

HIDDEN = 512
ITERATIONS = 3


@dataclass(frozen=True)
class SaladSizes:
    """clusters: m.  channels: l, of a local feature.  token: values of the global token.

    output: MegaLoc alone, values behind a last linear layer.
    """

    clusters: int = 64
    channels: int = 128
    token: int = 256
    output: int = 0


class Salad(Head):
    """Cells assigned to clusters by optimal transport, summed, beside the class token.

    Attention: how much of a cell is assigned to clusters, the rest being in the dustbin.
    """

    uses_semantics = False
    uses_token = True

    def __init__(self, inputs: int, sizes: SaladSizes) -> None:
        super().__init__()
        self.token_features = nn.Sequential(
            nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, sizes.token)
        )
        self.cluster_features = _pixelwise(inputs, sizes.channels)
        self.score = _pixelwise(inputs, sizes.clusters)
        self.dust_bin = nn.Parameter(torch.tensor(1.0))
        own = sizes.clusters * sizes.channels + sizes.token
        self.linear = nn.Linear(own, sizes.output) if sizes.output else nn.Identity()
        self.descriptor_size = sizes.output or own

    def forward(
        self, appearance: Tensor, semantic: Tensor | None = None, token: Tensor | None = None
    ) -> HeadOutput:
        """Features B x C x H x W and the class token B x C to a unit descriptor."""
        local = self.cluster_features(appearance).flatten(2).float()
        scores = self.score(appearance).flatten(2).float()
        shares = transported(scores, self.dust_bin.float())
        sums = functional.normalize(local @ shares.transpose(1, 2), dim=1)
        scene = functional.normalize(self.token_features(required_token(token)).float(), dim=1)
        whole = functional.normalize(torch.cat([scene, sums.flatten(1)], dim=1), dim=1)
        if isinstance(self.linear, nn.Linear):
            output = self.linear(whole.to(self.linear.weight.dtype)).float()
            whole = functional.normalize(output, dim=1)
        attention = shares.sum(dim=1, keepdim=True).clamp(max=1)
        return HeadOutput(whole, attention.unflatten(2, appearance.shape[-2:]))


def transported(scores: Tensor, dustbin: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """Sinkhorn's assignment of n cells to K clusters and a dustbin (section 3.2), its part K x n.

    scores: B x K x n.  dustbin: the score that every cell has for being thrown away.
    Every cell has a mass of 1 to give, a cluster takes 1 and the dustbin the rest, n - K.
    """
    count, cells = scores.shape[1:]
    if cells <= count:
        raise SaaneError(
            f"The image has {cells} patches for {count} clusters: give the card a larger "
            "preprocessing.height and width."
        )
    logits = torch.cat([scores, dustbin.expand(scores.shape[0], 1, cells)], dim=1)
    wanted = scores.new_zeros(count + 1, 1)
    wanted[-1] = math.log(cells - count)
    columns = scores.new_zeros(1, cells)
    for _ in range(iterations):
        rows = wanted - (logits + columns).logsumexp(dim=2, keepdim=True)
        columns = -(logits + rows).logsumexp(dim=1, keepdim=True)
    return (logits + rows + columns)[:, :-1].exp()


def _pixelwise(inputs: int, outputs: int) -> nn.Sequential:
    """Two 1x1 convolutions; the place between them is that of a dropout in training."""
    return nn.Sequential(
        nn.Conv2d(inputs, HIDDEN, 1), nn.Identity(), nn.ReLU(), nn.Conv2d(HIDDEN, outputs, 1)
    )
