"""Where training starts: the trunk's own descriptor, plain or whitened."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from saane_ros.model.heads import HEADS, HeadSizes, build_head
from saane_ros.model.pooling import scaled_unit
from saane_ros.training.features import FeatureCache
from saane_ros.training.initialisation import (
    cell_moments,
    start_at_trunk,
    start_whitened,
    whitening,
)

SIZES = HeadSizes(c_a=8, c_s=6, channels=8, reduction=4, pool="avg")


def cache(count: int = 40) -> FeatureCache:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(8, 8)) + 0.5
    features = np.einsum("ij,njhw->nihw", mixing, random.random((count, 8, 8, 8)))
    return FeatureCache(features.astype(np.float16), random.random((count, 6, 8, 8)))


@pytest.mark.parametrize("system", list(HEADS))
def test_every_system_starts_at_the_pooled_trunk(system: str) -> None:
    head = build_head(system, SIZES)
    start_at_trunk(head, 0)
    appearance, semantic = cache().batch(np.arange(3), torch.device("cpu"))
    pooled = [functional.adaptive_avg_pool2d(appearance, n).flatten(1) for n in (4, 3, 2, 1)]
    expected = scaled_unit(torch.cat(pooled, dim=1))
    torch.testing.assert_close(head(appearance, semantic).descriptor, expected)


def test_whitened_cells_have_a_nearly_equal_moment() -> None:
    features = cache(200)
    head = build_head("app", SIZES)
    start_whitened(head, features, 0)
    weight = head.get_parameter("fusion1.appearance.weight")[:, :, 0, 0].detach()
    before = cell_moments(features, np.arange(200))[0].float()
    after = torch.linalg.eigvalsh(weight @ before @ weight.T)
    values = torch.linalg.eigvalsh(before)
    expected = values * values.mean() / (0.9 * values + 0.1 * values.mean())
    torch.testing.assert_close(after, expected, rtol=1e-3, atol=1e-3)
    assert float(values[-1] / values.sum()) > 0.9
    assert float(after[-1] / after.sum()) < 0.7
    torch.testing.assert_close(weight, weight.T, rtol=1e-4, atol=1e-4)


def test_fewer_outputs_keep_the_strongest_directions() -> None:
    moment = torch.diag(torch.tensor([9.0, 4.0, 1.0, 0.01], dtype=torch.float64))
    matrix = whitening(moment, 2)
    assert matrix.shape == (2, 4)
    assert set(matrix.abs().argmax(dim=1).tolist()) == {0, 1}
    assert whitening(moment, 6).shape == (6, 4)


@pytest.mark.parametrize("system", ["app_sem", "app_att_sem_att", "saane"])
def test_both_branches_are_alive_in_channels_of_their_own(system: str) -> None:
    """The whitened start is the stack of both, whitened apart, the semantics a quarter as long."""
    features = cache(200)
    head = build_head(system, SIZES)
    start_whitened(head, features, 0)
    rows = np.arange(200)
    parts = []
    moments = cell_moments(features, rows)
    for moment, stream, outputs in zip(
        moments, (features.appearance, features.semantic), (6, 2), strict=True
    ):
        matrix = whitening(moment, outputs)
        cells = torch.from_numpy(stream[rows]).float()
        parts.append(torch.einsum("oc,nchw->nohw", matrix, cells))
    lengths = [float(functional.adaptive_avg_pool2d(p, 4).square().sum()) for p in parts]
    stacked = torch.cat([parts[0], 0.25 * (lengths[0] / lengths[1]) ** 0.5 * parts[1]], dim=1)
    pooled = [functional.adaptive_avg_pool2d(stacked, n).flatten(1) for n in (4, 3, 2, 1)]
    expected = scaled_unit(torch.cat(pooled, dim=1))
    with torch.no_grad():
        found = head(*features.batch(rows, torch.device("cpu"))).descriptor
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
