"""Sampling and loss against loops, and the traps of a 7680-dimensional density."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from saane_ros.training.triplets import negative_weights, sample_triplets, triplet_loss


def batch(classes: int = 4, images: int = 3, size: int = 16, spread: float = 1.0):
    generator = torch.Generator().manual_seed(1)
    centre = torch.randn((1, size), generator=generator)
    noise = torch.randn((classes * images, size), generator=generator)
    descriptors = 10 * torch.nn.functional.normalize(centre + spread * noise, dim=1)
    return descriptors, torch.arange(classes).repeat_interleave(images)


def naive_weights(descriptors: np.ndarray, classes: np.ndarray, n: int) -> np.ndarray:
    count = len(classes)
    weights = np.zeros((count, count))
    for a in range(count):
        logs = {}
        for b in range(count):
            if classes[a] == classes[b]:
                continue
            d = max(float(np.linalg.norm(descriptors[a] - descriptors[b])) / 10, 0.5)
            if d < 1.4:
                logs[b] = (2 - n) * math.log(d) - (n - 3) / 2 * math.log(1 - d * d / 4)
        if not logs:
            logs = {b: 0.0 for b in range(count) if classes[a] != classes[b]}
        total = sum(math.exp(v - max(logs.values())) for v in logs.values())
        for b, value in logs.items():
            weights[a, b] = math.exp(value - max(logs.values())) / total
    return weights


@pytest.mark.parametrize("n_eff", [16, 128, 7680])
def test_weights_equal_the_loops(n_eff: int) -> None:
    descriptors, classes = batch()
    weights = negative_weights(descriptors, classes, n_eff).numpy()
    expected = naive_weights(descriptors.double().numpy(), classes.numpy(), n_eff)
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_the_full_dimension_collapses_to_the_hardest_negative_and_n_eff_does_not() -> None:
    descriptors, classes = batch(classes=16, images=4, size=512)
    effective = {
        n: float((1 / negative_weights(descriptors, classes, n).square().sum(1)).mean())
        for n in (128, 7680)
    }
    assert effective[7680] < 1.2
    assert effective[128] > 3


def test_rows_never_underflow_in_the_full_dimension() -> None:
    descriptors, classes = batch(classes=16, images=4, size=256)
    weights = negative_weights(descriptors, classes, 7680)
    torch.testing.assert_close(weights.sum(1), torch.ones(64, dtype=torch.float64))
    same = classes[:, None] == classes[None, :]
    assert float(weights[same].abs().max()) == 0.0


def test_an_anchor_without_a_near_negative_draws_among_all_of_them() -> None:
    descriptors = 10 * torch.eye(4)
    descriptors[1] = descriptors[0]
    descriptors[3] = -descriptors[0]
    weights = negative_weights(descriptors, torch.tensor([0, 0, 1, 1]), 128)
    torch.testing.assert_close(weights[0], torch.tensor([0, 0, 0.5, 0.5], dtype=torch.float64))


def test_all_negatives_below_the_cutoff_are_equally_likely() -> None:
    descriptors, classes = batch(spread=0.01)
    weights = negative_weights(descriptors, classes, 128)
    torch.testing.assert_close(weights[0, 3:], torch.full((9,), 1 / 9, dtype=torch.float64))


def test_every_ordered_pair_gets_one_negative_of_another_class() -> None:
    descriptors, classes = batch(classes=16, images=4, size=64)
    generator = torch.Generator().manual_seed(0)
    anchors, positives, negatives = sample_triplets(descriptors, classes, 128, generator)
    assert len(anchors) == 192
    assert len({(int(a), int(p)) for a, p in zip(anchors, positives, strict=True)}) == 192
    assert bool((classes[anchors] == classes[positives]).all())
    assert bool((classes[anchors] != classes[negatives]).all())


def test_loss_is_the_mean_over_violating_triplets() -> None:
    noise, classes = batch(classes=5, images=3)
    centres = batch(classes=5, images=1)[0].repeat_interleave(3, dim=0)
    descriptors = 10 * torch.nn.functional.normalize(centres + 0.6 * noise, dim=1)
    triplets = sample_triplets(descriptors, classes, 16, torch.Generator().manual_seed(2))
    losses = []
    for a, p, n in zip(*(t.tolist() for t in triplets), strict=True):
        near = float(torch.linalg.norm(descriptors[a] - descriptors[p]))
        far = float(torch.linalg.norm(descriptors[a] - descriptors[n]))
        losses.append(max(0.0, near - far + 0.5))
    active = [value for value in losses if value > 0]
    assert active
    assert len(active) < len(losses)
    loss = float(triplet_loss(descriptors, triplets))
    assert loss == pytest.approx(sum(active) / len(active), abs=1e-4)


def test_loss_without_a_violation_is_zero_and_has_a_gradient() -> None:
    descriptors = torch.tensor([[10.0, 0], [10.0, 0], [-10.0, 0]], requires_grad=True)
    loss = triplet_loss(descriptors, (torch.tensor([0]), torch.tensor([1]), torch.tensor([2])))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert descriptors.grad is not None
    assert bool(torch.isfinite(descriptors.grad).all())


def test_the_loss_is_that_of_pytorch_metric_learning() -> None:
    reason = "pytorch-metric-learning is not installed"
    losses = pytest.importorskip("pytorch_metric_learning.losses", reason=reason)
    distances = pytest.importorskip("pytorch_metric_learning.distances", reason=reason)
    descriptors, classes = batch(classes=5, images=3)
    triplets = sample_triplets(descriptors, classes, 16, torch.Generator().manual_seed(2))
    reference = losses.TripletMarginLoss(
        margin=0.5, distance=distances.LpDistance(normalize_embeddings=False)
    )
    expected = reference(descriptors, classes, indices_tuple=triplets)
    torch.testing.assert_close(triplet_loss(descriptors, triplets), expected)
