"""NetVLAD (Arandjelovic et al., CVPR 2016)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from saane_ros.model.vlad import VladHead, sharpness

Assignment = Literal["dot", "distance"]
"""dot: w = alpha c/|c|, b = 0 ("vlad", all published models).  distance: w = 2 alpha c,
b = -alpha |c|^2 ("vladv2")."""


class NetVlad(VladHead):
    """a_k(x) = softmax_k(w_k x + b_k); V_k = sum a_k (x - c_k)."""

    def weigh(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        return logits.softmax(dim=1), None


@torch.no_grad()
def initialise_netvlad(
    head: VladHead, centres: Tensor, features: Tensor, assignment: Assignment = "dot"
) -> float:
    """Set assignment and centroids from k-means centres (K, D); alpha from unit features (n, D).

    Returns alpha.  A head with shadows is initialised by `initialise_sralnet`.
    """
    if assignment == "dot":
        directions = functional.normalize(centres, dim=1)
        best = (features @ directions.T).topk(2, dim=1).values
        alpha = sharpness(best[:, 0], best[:, 1])
        set_assignment(head, alpha * directions, torch.zeros(len(centres)))
    else:
        alpha = distance_sharpness(centres, features)
        set_assignment(head, *distance_logits(centres, alpha))
    head.centroids.copy_(centres)
    return alpha


def distance_sharpness(centres: Tensor, features: Tensor) -> float:
    """alpha over squared distances of features (n, D) to centres (K, D)."""
    squared = -(torch.cdist(features, centres) ** 2)
    best = squared.topk(2, dim=1).values
    return sharpness(best[:, 0], best[:, 1])


def distance_logits(centres: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """w = 2 alpha c and b = -alpha |c|^2, so that softmax compares -alpha |x - c|^2."""
    return 2 * alpha * centres, -alpha * (centres**2).sum(dim=1)


@torch.no_grad()
def set_assignment(head: VladHead, weight: Tensor, bias: Tensor) -> None:
    """Fill the 1x1 convolution; biases are shifted to mean 0, which no softmax notices.

    Without the shift they are near -alpha, where half precision has no decimals left.
    """
    assert head.assignment.bias is not None
    head.assignment.weight.copy_(weight[:, :, None, None])
    head.assignment.bias.copy_(bias - bias.mean())
