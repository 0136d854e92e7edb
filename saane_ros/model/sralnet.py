"""SRALNet (Peng et al., ICRA 2021): NetVLAD whose cells are weighed by shadow centroids.

After the restatement in Hybrid CNN-Transformer Features for VPR (TCSVT 2023, Eq. 11): every
cluster has a representative centroid and shadows, centroids of regions that say little.
"""

from __future__ import annotations

import torch
from torch import Tensor

from saane_ros.errors import SaaneError
from saane_ros.model.netvlad import distance_logits, distance_sharpness, set_assignment
from saane_ros.model.vlad import VladHead


class SralNet(VladHead):
    """V_k = sum a_k beta_k (x - c_k).

    Output k (S+1) + m of the assignment is centroid m of cluster k, m = 0 the representative.
    a: softmax over the representatives of all clusters.  beta: the representative's share in the
    softmax over its own cluster.  Attention: sum_k a_k beta_k.
    """

    def weigh(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        by_cluster = logits.unflatten(1, (self.words, 1 + self.shadows))
        assigned = by_cluster[:, :, 0].softmax(dim=1)
        salient = by_cluster.softmax(dim=2)[:, :, 0]
        weights = assigned * salient
        return weights, weights.sum(dim=1, keepdim=True)


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
    alpha = distance_sharpness(representatives, features)
    shadows = nearest_shadows(representatives, candidates, head.shadows)
    centres = torch.cat([representatives[:, None], shadows], dim=1).flatten(0, 1)
    set_assignment(head, *distance_logits(centres, alpha))
    head.centroids.copy_(representatives)
    return alpha


def nearest_shadows(representatives: Tensor, candidates: Tensor, count: int) -> Tensor:
    """K x count x D: the candidates nearest to each representative, nearest first."""
    order = torch.cdist(representatives, candidates).argsort(dim=1)[:, :count]
    return candidates[order]
