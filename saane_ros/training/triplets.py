"""Triplet loss and distance-weighted sampling of negatives (SAANE, section 4; Wu et al. 2017)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from saane_ros.model.pooling import DESCRIPTOR_NORM

CUTOFF = 0.5
NONZERO_LOSS_CUTOFF = 1.4


def negative_weights(descriptors: Tensor, classes: Tensor, n_eff: int) -> Tensor:
    """Probability of every image as the negative of every anchor, float64 (B, B), rows sum to 1.

    On the unit sphere of R^n distances crowd around sqrt(2) with density
    q(d) ~ d^(n-2) (1 - d^2/4)^((n-3)/2); drawing with 1/q spreads negatives evenly over distance.
    With the descriptor's own n of 7680 the draw collapses to the hardest negative, so `n_eff`
    sets the n of the density. Rows are normalised one by one in float64, since with one common
    maximum most rows underflow. Where an anchor has no negative nearer than 1.4, all of its
    negatives are equally likely.

    descriptors: (B, D) of norm 10.  classes: (B,).
    """
    unit = descriptors.detach().double() / DESCRIPTOR_NORM
    distance = torch.cdist(unit, unit).clamp(min=CUTOFF)
    negative = classes[:, None] != classes[None, :]
    near = negative & (distance < NONZERO_LOSS_CUTOFF)
    shape = 1 - distance.clamp(max=NONZERO_LOSS_CUTOFF).square() / 4
    log_weight = (2 - n_eff) * distance.log() - (n_eff - 3) / 2 * shape.log()
    log_weight = log_weight.masked_fill(~near, -math.inf)
    peak = log_weight.amax(dim=1, keepdim=True)
    weight = torch.where(near, torch.exp(log_weight - peak.clamp(min=-1e300)), 0.0)
    lonely = ~near.any(dim=1)
    weight[lonely] = negative[lonely].double()
    return weight / weight.sum(dim=1, keepdim=True)


def sample_triplets(
    descriptors: Tensor, classes: Tensor, n_eff: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """One drawn negative for every ordered (anchor, positive) pair of the batch.

    Returns indices (T,) of anchors, positives and negatives; 16 classes of 4 images give T = 192.
    """
    same = classes[:, None] == classes[None, :]
    same.fill_diagonal_(False)
    anchors, positives = same.nonzero(as_tuple=True)
    weights = negative_weights(descriptors, classes, n_eff)[anchors].cpu()
    negatives = torch.multinomial(weights, 1, generator=generator)[:, 0].to(anchors.device)
    return anchors, positives, negatives


def triplet_loss(
    descriptors: Tensor,
    triplets: tuple[Tensor, Tensor, Tensor],
    margin: float = 0.5,
) -> Tensor:
    """Mean of max(0, D(a,p) - D(a,n) + margin) over the triplets that violate it.

    Euclidean, not squared, between descriptors of norm 10; zero where no triplet violates.
    """
    anchors, positives, negatives = triplets
    to_positive = functional.pairwise_distance(descriptors[anchors], descriptors[positives])
    to_negative = functional.pairwise_distance(descriptors[anchors], descriptors[negatives])
    violation = (to_positive - to_negative + margin).clamp(min=0)
    active = (violation > 0).sum().clamp(min=1)
    return violation.sum() / active
