"""SRALNet (Peng et al., ICRA 2021): NetVLAD whose cells are weighed by shadow centroids.

After the restatement in Hybrid CNN-Transformer Features for VPR (TCSVT 2023, Eq. 11): every
cluster has a representative centroid and shadows, centroids of regions that say little.
"""

from __future__ import annotations

import torch
from torch import Tensor

from saane_ros.errors import SaaneError
from saane_ros.model.netvlad import distance_logits, distance_sharpness, set_assignment
from saane_ros.model.vlad import VladHead, VladSizes

PUBLISHED_ALPHA = 1500.0
"""Sharpness that the public port gives its centroids, close to what VGG-16 features ask for."""


class SralNet(VladHead):
    """V_k = sum a_k beta_k (x - c_k), or sum a_k (1 + beta_k) (x - c_k) with `residual_gate`.

    Output k (S+1) + m of the assignment is centroid m of cluster k, m = 0 the representative.
    a: softmax over the representatives of all clusters.  beta: the representative's share in the
    softmax over its own cluster.  Attention: sum_k a_k beta_k with either gate.
    The residual gate is the reading of the public port, with its ungated part assigned to the
    clusters, which the port leaves out.
    """

    def __init__(self, sizes: VladSizes) -> None:
        super().__init__(sizes)
        self.residual_gate = sizes.residual_gate

    def weigh(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        by_cluster = logits.unflatten(1, (self.words, 1 + self.shadows))
        assigned = by_cluster[:, :, 0].softmax(dim=1)
        salient = by_cluster.softmax(dim=2)[:, :, 0]
        gated = assigned * salient
        weights = assigned + gated if self.residual_gate else gated
        return weights, gated.sum(dim=1, keepdim=True)


@torch.no_grad()
def initialise_sralnet(
    head: VladHead, representatives: Tensor, candidates: Tensor, features: Tensor
) -> float:
    """Set assignment and centroids by the semantic constrained initialisation; returns alpha.

    representatives: (K, D) centres of features on buildings, roads, trees, poles.
    candidates: (>= S, D) centres of features on people, vehicles and sky; every cluster takes the
    S nearest to its representative.  features: (n, D) unit features of the representative classes.
    """
    if len(candidates) < head.shadows:
        raise SaaneError(
            f"{head.shadows} shadows per cluster need as many centres of moving classes and "
            f"{len(candidates)} were found: give more images with segmentation."
        )
    shadows = nearest_shadows(representatives, candidates, head.shadows)
    return start_at_centroids(head, torch.cat([representatives[:, None], shadows], dim=1), features)


def start_at_centroids(head: VladHead, centroids: Tensor, features: Tensor) -> float:
    """The same with centroids that are chosen already, (K, 1 + S, D), representatives first.

    features: (n, D) unit features that alpha is taken from.  Returns alpha.
    """
    alpha = distance_sharpness(centroids[:, 0], features)
    set_centroids(head, centroids, alpha)
    return alpha


@torch.no_grad()
def set_centroids(head: VladHead, centroids: Tensor, alpha: float) -> None:
    """Set assignment and centroids from (K, 1 + S, D), representatives first."""
    set_assignment(head, *distance_logits(centroids.flatten(0, 1), alpha))
    head.centroids.copy_(centroids[:, 0])


def nearest_shadows(representatives: Tensor, candidates: Tensor, count: int) -> Tensor:
    """K x count x D: the candidates nearest to each representative, nearest first."""
    order = torch.cdist(representatives, candidates).argsort(dim=1)[:, :count]
    return candidates[order]
