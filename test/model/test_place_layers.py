"""The published layers, each recomputed a second, naive way, with their maps of attention."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from saane_ros.errors import SaaneError
from saane_ros.model.anyloc import AnyLoc
from saane_ros.model.boq import BagOfQueries
from saane_ros.model.convap import ConvAp
from saane_ros.model.cricavpr import CricaVpr, regions
from saane_ros.model.gem import CosPlace, GemHead
from saane_ros.model.mixvpr import MixVpr
from saane_ros.model.salad import Salad, SaladSizes, transported

CHANNELS, ROWS, COLUMNS = 8, 4, 5


@pytest.fixture
def grid() -> Tensor:
    return torch.randn(2, CHANNELS, ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))


def randomised(head: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for parameter in head.parameters():
        nn.init.normal_(parameter, 0, 0.4)
    for name, parameter in head.named_parameters():
        if name.endswith("gem.p"):
            nn.init.constant_(parameter, 2.6)
    return head.eval()


def arrays(head: nn.Module) -> dict[str, np.ndarray]:
    return {key: value.double().numpy() for key, value in head.state_dict().items()}


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def close(found: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)


def described(head: nn.Module, grid: Tensor, **more: Tensor) -> tuple[Tensor, Tensor]:
    """Descriptors and maps, whose form is checked for every head."""
    with torch.no_grad():
        output = head(grid, **more)
    assert output.descriptor.shape == (len(grid), head.descriptor_size)
    attention = output.appearance_attention
    if attention is not None:
        assert attention.shape == (len(grid), 1, *grid.shape[2:])
        assert 0 <= float(attention.min()) <= float(attention.max()) <= 1 + 1e-6
    return output.descriptor, attention


def gem(cells: list[np.ndarray], p: float) -> np.ndarray:
    total = np.zeros(len(cells[0]))
    for cell in cells:
        total += np.maximum(cell, 1e-6) ** p
    return (total / len(cells)) ** (1 / p)


def cells_of(image: Tensor) -> list[np.ndarray]:
    values = image.double().numpy()
    return [values[:, i, j] for i in range(values.shape[1]) for j in range(values.shape[2])]


@pytest.mark.parametrize("output", [0, 6])
def test_gem_is_a_mean_of_powers(output, grid):
    head = randomised(GemHead(CHANNELS, output))
    own = arrays(head)
    p = own["gem.p"][0]
    found, attention = described(head, grid)
    for image, descriptor, seen in zip(grid, found, attention, strict=True):
        cells = cells_of(image)
        expected = unit(gem(cells, p))
        if output:
            expected = unit(own["projection.weight"] @ expected + own["projection.bias"])
        close(descriptor, expected)
        powers = np.array([np.maximum(cell, 1e-6) ** p for cell in cells])
        share = (powers / powers.sum(axis=0)).mean(axis=1)
        close(seen.flatten(), share / share.max())


@pytest.mark.parametrize(("output", "mix"), [(6, False), (0, False), (6, True)])
def test_cosplace_and_both_selavpr_pool_unit_cells(output, mix, grid):
    head = randomised(CosPlace(CHANNELS, output, mix))
    own = arrays(head)
    found, _ = described(head, grid)
    for image, descriptor in zip(grid, found, strict=True):
        cells = cells_of(image)
        if mix:
            weight = own["mix.weight"][:, :, 0, 0]
            cells = [weight @ cell + own["mix.bias"] for cell in cells]
        expected = gem([unit(cell) for cell in cells], own["gem.p"][0])
        if output:
            expected = own["projection.weight"] @ expected + own["projection.bias"]
        close(descriptor, unit(expected))


def test_convap_is_a_projection_and_four_means():
    grid = torch.randn(1, CHANNELS, 4, 6, generator=torch.Generator().manual_seed(2))
    head = randomised(ConvAp(CHANNELS, 3, 2))
    own = arrays(head)
    weight = own["channel_pool.weight"][:, :, 0, 0]
    values = grid[0].double().numpy()
    expected = []
    for channel in range(3):
        for top in (0, 2):
            for left in (0, 3):
                window = values[:, top : top + 2, left : left + 3].reshape(CHANNELS, -1)
                projected = weight[channel] @ window + own["channel_pool.bias"][channel]
                expected.append(projected.mean())
    close(described(head, grid)[0][0], unit(np.array(expected)))


def norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """LayerNorm over the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(centred.var(axis=-1, keepdims=True) + 1e-5) * weight + bias


def test_mixvpr_mixes_maps_then_channels_then_cells(grid):
    head = randomised(MixVpr(CHANNELS, (ROWS, COLUMNS), channels=6, rows=3, depth=2))
    own = arrays(head)
    found, attention = described(head, grid)
    for image, descriptor, seen in zip(grid, found, attention, strict=True):
        maps = image.flatten(1).double().numpy()
        for block in range(2):
            name = f"mix.{block}.mix"
            normed = norm(maps, own[f"{name}.0.weight"], own[f"{name}.0.bias"])
            hidden = np.maximum(normed @ own[f"{name}.1.weight"].T + own[f"{name}.1.bias"], 0)
            maps = maps + hidden @ own[f"{name}.3.weight"].T + own[f"{name}.3.bias"]
        cells = maps.T @ own["channel_proj.weight"].T + own["channel_proj.bias"]
        rows = cells.T @ own["row_proj.weight"].T + own["row_proj.bias"]
        close(descriptor, unit(rows.flatten()))
        parts = [
            np.linalg.norm(np.outer(own["row_proj.weight"][:, i], cells[i]))
            for i in range(len(cells))
        ]
        close(seen.flatten(), np.array(parts) / max(parts))
    with pytest.raises(
        SaaneError, match="built for 4 x 5 cells of features and the image has 5 x 4"
    ):
        head(grid.transpose(2, 3))


def attended(own: dict[str, np.ndarray], name: str, q: np.ndarray, kv: np.ndarray, heads: int):
    """Multi-head attention by loops: what is found (n x C), and where, the mean over heads."""
    width = q.shape[1]
    step = width // heads
    weights = np.split(own[f"{name}.in_proj_weight"], 3)
    biases = np.split(own[f"{name}.in_proj_bias"], 3)
    projected = [x @ w.T + b for x, w, b in zip((q, kv, kv), weights, biases, strict=True)]
    parts, where = [], np.zeros((len(q), len(kv)))
    for h in range(heads):
        one_q, one_k, one_v = (x[:, h * step : (h + 1) * step] for x in projected)
        scores = one_q @ one_k.T / math.sqrt(step)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        parts.append(scores @ one_v)
        where += scores / heads
    merged = np.concatenate(parts, axis=1)
    return merged @ own[f"{name}.out_proj.weight"].T + own[f"{name}.out_proj.bias"], where


def encoded(own: dict[str, np.ndarray], name: str, x: np.ndarray, heads: int, act) -> np.ndarray:
    """A transformer layer with its norms behind the sums."""
    x = x + attended(own, f"{name}.self_attn", x, x, heads)[0]
    x = norm(x, own[f"{name}.norm1.weight"], own[f"{name}.norm1.bias"])
    hidden = act(x @ own[f"{name}.linear1.weight"].T + own[f"{name}.linear1.bias"])
    x = x + hidden @ own[f"{name}.linear2.weight"].T + own[f"{name}.linear2.bias"]
    return norm(x, own[f"{name}.norm2.weight"], own[f"{name}.norm2.bias"])


def test_queries_look_into_cells_that_looked_at_each_other(grid):
    head = randomised(BagOfQueries(CHANNELS, channels=128, queries=3, depth=2, rows=4))
    for name, parameter in head.named_parameters():
        if parameter.ndim > 1 and "queries" not in name:
            nn.init.normal_(parameter, 0, 1 / math.sqrt(parameter[0].numel()))
    own = arrays(head)
    found, attention = described(head, grid)
    for image, descriptor, seen in zip(grid, found, attention, strict=True):
        padded = np.pad(image.double().numpy(), ((0, 0), (1, 1), (1, 1)))
        cells = np.array(
            [
                np.einsum("ochw,chw->o", own["proj_c.weight"], padded[:, i : i + 3, j : j + 3])
                + own["proj_c.bias"]
                for i in range(ROWS)
                for j in range(COLUMNS)
            ]
        )
        cells = norm(cells, own["norm_input.weight"], own["norm_input.bias"])
        answers, looked = [], np.zeros(len(cells))
        for index in range(2):
            name = f"boqs.{index}"
            cells = encoded(own, f"{name}.encoder", cells, 2, lambda x: np.maximum(x, 0))
            q = own[f"{name}.queries"][0]
            q = q + attended(own, f"{name}.self_attn", q, q, 2)[0]
            q = norm(q, own[f"{name}.norm_q.weight"], own[f"{name}.norm_q.bias"])
            answer, where = attended(own, f"{name}.cross_attn", q, cells, 2)
            answers.append(
                norm(answer, own[f"{name}.norm_out.weight"], own[f"{name}.norm_out.bias"])
            )
            looked += where.sum(axis=0)
        mixed = np.concatenate(answers).T @ own["fc.weight"].T + own["fc.bias"]
        close(descriptor, unit(mixed.flatten()))
        close(seen.flatten(), looked / looked.max())


def sinkhorn(scores: np.ndarray, dustbin: float) -> np.ndarray:
    """Rows and columns of exp(scores) scaled to their masses in turn, three times, by loops."""
    count, cells = scores.shape
    plan = np.exp(np.vstack([scores, np.full(cells, dustbin)]))
    masses = [1.0] * count + [float(cells - count)]
    for _ in range(3):
        for row in range(count + 1):
            plan[row] *= masses[row] / plan[row].sum()
        for column in range(cells):
            plan[:, column] /= plan[:, column].sum()
    return plan[:-1]


@pytest.mark.parametrize("output", [0, 7])
def test_salad_shares_cells_among_clusters_and_a_dustbin(output, grid):
    sizes = SaladSizes(clusters=3, channels=4, token=5, output=output)
    head = randomised(Salad(CHANNELS, sizes))
    own = arrays(head)
    token = torch.randn(2, CHANNELS, generator=torch.Generator().manual_seed(3))
    found, attention = described(head, grid, token=token)

    def perceptron(name: str, x: np.ndarray, last: int) -> np.ndarray:
        first, second = (own[f"{name}.{i}.weight"] for i in (0, last))
        hidden = np.maximum(first.reshape(len(first), -1) @ x + own[f"{name}.0.bias"], 0)
        return second.reshape(len(second), -1) @ hidden + own[f"{name}.{last}.bias"]

    for image, scene, descriptor, seen in zip(grid, token, found, attention, strict=True):
        cells = cells_of(image)
        local = np.array([perceptron("cluster_features", cell, 3) for cell in cells])
        scores = np.array([perceptron("score", cell, 3) for cell in cells]).T
        shares = sinkhorn(scores, float(own["dust_bin"]))
        sums = np.array([unit(shares[k] @ local) for k in range(3)])
        whole = np.concatenate(
            [unit(perceptron("token_features", scene.double().numpy(), 2)), sums.T.flatten()]
        )
        expected = unit(whole)
        if output:
            expected = unit(own["linear.weight"] @ expected + own["linear.bias"])
        close(descriptor, expected)
        close(seen.flatten(), shares.sum(axis=0))


@pytest.mark.parametrize("head", [Salad(CHANNELS, SaladSizes(3, 4, 5)), CricaVpr(16)])
def test_a_layer_without_its_class_token_is_told(head):
    inputs = torch.zeros(1, 16 if isinstance(head, CricaVpr) else CHANNELS, 4, 5)
    with pytest.raises(SaaneError, match="needs the class token of a vision transformer"):
        head(inputs)


def test_transport_settles_at_its_masses():
    scores = torch.randn(2, 3, 20, generator=torch.Generator().manual_seed(7))
    plan = transported(scores, torch.tensor(0.5), iterations=300)
    torch.testing.assert_close(plan.sum(dim=2), torch.ones(2, 3), atol=1e-4, rtol=0)
    assert float(plan.sum(dim=1).max()) <= 1 + 1e-5


def test_fewer_patches_than_clusters_are_told():
    with pytest.raises(SaaneError, match="has 6 patches for 6 clusters"):
        transported(torch.zeros(1, 6, 6), torch.tensor(1.0))


def test_anyloc_sums_residuals_of_the_nearest_direction(grid):
    head = AnyLoc(CHANNELS, 4)
    nn.init.normal_(head.centroids, 0, 0.3, generator=torch.Generator().manual_seed(4))
    centres = head.centroids.detach().double().numpy()
    found, attention = described(head, grid)
    assert attention is None
    for image, descriptor in zip(grid, found, strict=True):
        sums = np.zeros_like(centres)
        for cell in map(unit, cells_of(image)):
            nearest = max(range(4), key=lambda k: float(cell @ unit(centres[k])))
            sums[nearest] += cell - centres[nearest]
        for k in range(4):
            if sums[k].any():
                sums[k] = unit(sums[k])
        close(descriptor, unit(sums.flatten()))


def test_cricavpr_encodes_fourteen_regions_of_one_image():
    grid = torch.randn(2, 16, 5, 7, generator=torch.Generator().manual_seed(5))
    token = torch.randn(2, 16, generator=torch.Generator().manual_seed(6))
    head = randomised(CricaVpr(16))
    own = arrays(head)
    found, _ = described(head, grid, token=token)

    def gelu(x: np.ndarray) -> np.ndarray:
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    borders = {2: ([0, 2, 5], [0, 4, 7]), 3: ([0, 2, 3, 5], [0, 2, 5, 7])}
    for image, scene, descriptor in zip(grid, token, found, strict=True):
        parts = [scene.double().numpy()]
        for rows, columns in borders.values():
            for top, bottom in itertools.pairwise(rows):
                for left, right in itertools.pairwise(columns):
                    window = image[:, top:bottom, left:right]
                    parts.append(gem([unit(cell) for cell in cells_of(window)], 2.6))
        # A sequence of one image: each region is encoded by itself.
        for layer in range(2):
            name = f"encoder.layers.{layer}"
            parts = [encoded(own, name, part[None], 16, gelu)[0] for part in parts]
        close(descriptor, unit(np.concatenate(parts)))


def test_the_regions_of_cricavpr_are_those_of_its_sixteen_cells():
    """Its authors write the borders of 16 x 16 cells out: 8, and 5 and 11."""
    found = regions(16, 16)
    assert len(found) == 13
    with pytest.raises(SaaneError, match=r"at least 3 x 3 cells .* has 2 x 9"):
        regions(2, 9)
    assert [(r.start, r.stop) for r, _ in found[:4:2]] == [(0, 8), (8, 16)]
    assert [(c.start, c.stop) for _, c in found[4:7]] == [(0, 5), (5, 11), (11, 16)]
    for group, count in ((found[:4], 256), (found[4:], 256)):
        assert sum((r.stop - r.start) * (c.stop - c.start) for r, c in group) == count
