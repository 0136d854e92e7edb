"""One learned weight per class for a static filter, the poster's future work.

A filtered VLAD is linear in the class weights: V = sum_c g_c V_c, where V_c is summed over what
the segmentation takes for class c. So every image is reduced to its V_c once, and only the
weights g_c = sigmoid(theta_c) are trained, with hard triplets of places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.static_filter import StaticFilter
from saane_ros.model.vlad import VladHead, flat_vlad, residual_sums
from saane_ros.progress import progress
from saane_ros.training.place_views import PlaceViews


@dataclass(frozen=True)
class ClassWeightTraining:
    """Adam on theta.  places, views: of a batch.  margin: between squared distances of unit VLADs.

    regulariser: of |theta - theta_0|^2.
    """

    steps: int = 300
    places: int = 12
    views: int = 3
    learning_rate: float = 0.05
    margin: float = 0.1
    regulariser: float = 0.001
    seed: int = 0


@torch.no_grad()
def class_vlads(
    network: SaaneNetwork, preprocessing: Preprocessing, views: PlaceViews, device: torch.device
) -> Tensor:
    """V_c of every view, float16 (n, classes, K, D)."""
    head = network.head
    if not isinstance(head, VladHead):
        raise SaaneError("Class weights are learned for a VLAD system: give such a model.")
    found = []
    for index in progress(range(len(views)), "class VLADs", len(views), "image"):
        features = network.trunk_features(preprocessing([views.read(index)], device))
        x = head.local_features(features.appearance)
        weights, _ = head.weigh(head.logits(x))
        assert features.logits is not None
        shares = functional.adaptive_avg_pool2d(
            features.logits.float().softmax(dim=1), (x.shape[2], x.shape[3])
        )
        by_class = [
            residual_sums(x, weights * shares[:, c : c + 1], head.centroids)[0]
            for c in range(shares.shape[1])
        ]
        found.append(torch.stack(by_class).half().cpu())
    return torch.stack(found)


def train_class_weights(
    static_filter: StaticFilter,
    vlads: Tensor,
    labels: NDArray[np.int64],
    options: ClassWeightTraining,
) -> tuple[float, float]:
    """Train `static_filter.theta` in place; the mean loss of the first and of the last 20 steps."""
    members = [np.flatnonzero(labels == place) for place in np.unique(labels)]
    members = [rows for rows in members if len(rows) > 1]
    if len(members) < 2:
        raise SaaneError("Class weights need at least two places of two images: give more places.")
    random = np.random.default_rng(options.seed)
    optimizer = torch.optim.Adam([static_filter.theta], lr=options.learning_rate)
    losses = []
    for _ in progress(range(options.steps), "class weights", options.steps, "step"):
        rows = draw(members, options, random)
        loss = hard_triplet_loss(
            filtered_vlads(vlads[rows].float(), static_filter.theta.sigmoid()),
            torch.from_numpy(labels[rows]),
            options.margin,
        )
        losses.append(float(loss.detach()))
        loss = loss + options.regulariser * static_filter.regulariser()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(np.mean(losses[:20])), float(np.mean(losses[-20:]))


def filtered_vlads(by_class: Tensor, weights: Tensor) -> Tensor:
    """Unit descriptors (n, K * D) from V_c (n, classes, K, D) and class weights."""
    return flat_vlad(torch.einsum("nckd,c->nkd", by_class, weights))


def hard_triplet_loss(descriptors: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Farthest positive against nearest negative of every row, squared distances of unit rows."""
    squared = 2 - 2 * descriptors @ descriptors.T
    same = labels[:, None] == labels[None]
    farthest = squared.masked_fill(~same, -1).amax(dim=1)
    nearest = squared.masked_fill(same, 5).amin(dim=1)
    return functional.relu(farthest - nearest + margin).mean()


def draw(
    members: Sequence[NDArray[np.int64]],
    options: ClassWeightTraining,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """Rows of one batch: some places, some views of each."""
    places = random.permutation(len(members))[: options.places]
    return np.concatenate([random.permutation(members[p])[: options.views] for p in places])
