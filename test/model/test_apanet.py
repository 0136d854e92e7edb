"""APANet's regions, cascade and maps against loops; AMOSNet's pyramid."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from saane_ros.model.amosnet import AmosNet, CameraClassifier
from saane_ros.model.apanet import ApaNet, ApaNetMultiModal, pyramid_regions
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.heads import HeadSizes


def naive_regions(grid: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    found = []
    for n in (1, 2, 3):
        for i in range(n):
            for j in range(n):
                top = int(i * grid[0] / (n + 1))
                left = int(j * grid[1] / (n + 1))
                bottom = min(grid[0], math.ceil((i + 2) * grid[0] / (n + 1)))
                right = min(grid[1], math.ceil((j + 2) * grid[1] / (n + 1)))
                found.append((top, bottom, left, right))
    return found


def naive_cascade(x: np.ndarray, state: dict[str, np.ndarray], name: str) -> tuple:
    """F2 and the scores of one modality, D x H x W."""
    regions = naive_regions(x.shape[1:])
    pooled = [x[:, t:b, left:r].reshape(len(x), -1).max(axis=1) for t, b, left, r in regions]
    unit = [f / np.linalg.norm(f) for f in pooled]
    query = state[f"{name}.cascade.query"]
    first = sum(float(query @ u) * f for u, f in zip(unit, pooled, strict=True))
    refined = state[f"{name}.cascade.refine.weight"] @ first
    refined = refined + state[f"{name}.cascade.refine.bias"]
    scores = [float(refined @ u) for u in unit]
    return sum(s * f for s, f in zip(scores, pooled, strict=True)), scores


def state_of(head: torch.nn.Module) -> dict[str, np.ndarray]:
    return {k: v.detach().double().numpy() for k, v in head.state_dict().items()}


def project(x: torch.Tensor, weight: np.ndarray) -> np.ndarray:
    return np.einsum("oi,ihw->ohw", weight[:, :, 0, 0], x.double().numpy())


@pytest.mark.parametrize("grid", [(14, 14), (5, 7), (12, 16), (2, 3)])
def test_regions_are_fourteen_cover_the_grid_and_overlap(grid: tuple[int, int]) -> None:
    regions = pyramid_regions(grid)
    assert [tuple(r) for r in regions] == naive_regions(grid)
    assert len(regions) == 14
    covered = np.zeros(grid, int)
    for r in regions[5:]:
        covered[r.top : r.bottom, r.left : r.right] += 1
    assert covered.min() >= 1
    assert covered.max() >= 4


def test_single_modality_equals_a_recomputation() -> None:
    torch.manual_seed(0)
    head, x = ApaNet(6, 4), torch.randn(1, 6, 5, 7)
    state = state_of(head)
    expected, scores = naive_cascade(project(x[0], state["projection.weight"]), state, "attention")
    with torch.no_grad():
        output = head(x)
    np.testing.assert_allclose(
        output.descriptor[0].numpy(), 10 * expected / np.linalg.norm(expected), atol=1e-4
    )
    total, count = np.zeros((5, 7)), np.zeros((5, 7))
    for (top, bottom, left, right), score in zip(naive_regions((5, 7)), scores, strict=True):
        total[top:bottom, left:right] += abs(score)
        count[top:bottom, left:right] += 1
    expected_map = total / count
    expected_map = expected_map / expected_map.max()
    np.testing.assert_allclose(output.appearance_attention[0, 0].numpy(), expected_map, atol=1e-4)


def test_both_modalities_are_added() -> None:
    torch.manual_seed(1)
    head, a, s = ApaNetMultiModal(6, 5, 4), torch.randn(1, 6, 5, 7), torch.randn(1, 5, 5, 7)
    state = state_of(head)
    parts = [
        naive_cascade(project(x[0], state[f"fusion1.{kind}.weight"]), state, f"attention_{kind}")[0]
        for x, kind in ((a, "appearance"), (s, "semantic"))
    ]
    expected = sum(parts)
    with torch.no_grad():
        output = head(a, s)
    np.testing.assert_allclose(
        output.descriptor[0].numpy(), 10 * expected / np.linalg.norm(expected), atol=1e-4
    )
    assert output.semantic_attention.shape == (1, 1, 5, 7)


def test_scores_begin_as_the_mean_of_a_region() -> None:
    query = ApaNet(6, 4).attention.cascade.query.detach()
    assert query.tolist() == pytest.approx([0.5] * 4)


def test_amosnet_is_the_pyramid_at_unit_length_and_every_layer_learns() -> None:
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", width=8)
    head = AmosNet(HeadSizes(c_a=trunk.channels16, channels=4))
    classifier = CameraClassifier(trunk, head, cameras=3).eval()
    x = torch.randn(2, 3, 64, 96)
    features = trunk(x).stride16
    weight = head.projection.appearance.weight[:, :, 0, 0].detach().double().numpy()
    projected = np.einsum("oi,bihw->bohw", weight, features.detach().double().numpy())
    cells = []
    for n in (4, 3, 2, 1):
        for channel in projected[0]:
            for i in range(n):
                for j in range(n):
                    rows = slice(i * 4 // n, -(-(i + 1) * 4 // n))
                    columns = slice(j * 6 // n, -(-(j + 1) * 6 // n))
                    cells.append(channel[rows, columns].max())
    expected = np.array(cells)
    descriptor = head(features).descriptor[0].detach().numpy()
    np.testing.assert_allclose(descriptor, expected / np.linalg.norm(expected), atol=1e-5)
    classifier(x).sum().backward()
    assert all(p.grad is not None for p in classifier.parameters())
