"""Masks at the feature grid against loops, images without anything static, identities."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from saane_ros.errors import SaaneError
from saane_ros.model.heads import HEADS, HeadSizes, build_head
from saane_ros.model.netvlad import NetVlad
from saane_ros.model.sralnet import SralNet
from saane_ros.model.static_filter import LEAST_STATIC, StaticFilter, cell_weights
from saane_ros.model.vlad import VladSizes

NAMES = ("road", "tree", "car", "sky")
DYNAMIC = ("car", "sky")


def logits(seed: int = 0, size: tuple[int, int] = (9, 14)) -> torch.Tensor:
    return 3 * torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(seed))


def naive_shares(values: np.ndarray, grid: tuple[int, int], of_class: list[float]) -> np.ndarray:
    """Mean static share of every cell, cell borders rounded outwards as adaptive pooling does."""
    _, height, width = values.shape
    shares = np.zeros(grid)
    for i in range(grid[0]):
        for j in range(grid[1]):
            rows = range(i * height // grid[0], -(-(i + 1) * height // grid[0]))
            columns = range(j * width // grid[1], -(-(j + 1) * width // grid[1]))
            pixels = []
            for r in rows:
                for c in columns:
                    powers = np.exp(values[:, r, c])
                    weights = zip(powers / powers.sum(), of_class, strict=True)
                    pixels.append(sum(float(p) * w for p, w in weights))
            shares[i, j] = sum(pixels) / len(pixels)
    return shares


@pytest.mark.parametrize("grid", [(3, 7), (4, 5), (9, 14)])
@pytest.mark.parametrize("mode", ["binary", "soft", "learned"])
def test_cells_equal_a_recomputation_with_loops(mode: str, grid: tuple[int, int]) -> None:
    static_filter = StaticFilter(NAMES, DYNAMIC, mode)
    of_class = [1.0, 1.0, 0.0, 0.0]
    if mode == "learned":
        with torch.no_grad():
            static_filter.theta.copy_(torch.tensor([2.0, 0.5, -1.0, -4.0]))
        of_class = [1 / (1 + np.exp(-t)) for t in (2.0, 0.5, -1.0, -4.0)]
    values = logits()
    with torch.no_grad():
        cells = static_filter(values, grid)
    for image in range(2):
        expected = naive_shares(values[image].double().numpy(), grid, of_class)
        if mode == "binary":
            expected = (expected >= 0.5).astype(float)
        np.testing.assert_allclose(cells[image, 0].numpy(), expected, atol=1e-5)


def test_an_image_with_next_to_nothing_static_is_not_filtered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    share = torch.zeros(3, 1, 20, 20)
    share[1, 0, 0, :3] = 1  # 3 of 400 cells
    share[2, 0, 0, :4] = 1  # 4 of 400: exactly LEAST_STATIC
    with caplog.at_level(logging.WARNING):
        cells = cell_weights(share, (20, 20))
    assert (cells.mean(dim=(1, 2, 3)) == torch.tensor([1.0, 1.0, LEAST_STATIC])).all()
    assert "2 image(s) have next to nothing static" in caplog.text


def test_learned_weights_begin_near_the_partition_and_are_regularised() -> None:
    static_filter = StaticFilter(NAMES, DYNAMIC, "learned")
    weights = static_filter.theta.sigmoid().tolist()
    assert weights == pytest.approx([0.9526, 0.9526, 0.0474, 0.0474], abs=1e-4)
    assert float(static_filter.regulariser().detach()) == 0
    with torch.no_grad():
        static_filter.theta[1] += 2
    assert float(static_filter.regulariser().detach()) == pytest.approx(4)


@pytest.mark.parametrize("dynamic", [("lorry",), ()])
def test_unknown_classes_name_the_known_ones(dynamic: tuple[str, ...]) -> None:
    with pytest.raises(SaaneError, match=r"(lorry|no class) and its segmentation knows road, tree"):
        StaticFilter(NAMES, dynamic)


def heads() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    sizes = HeadSizes(c_a=6, c_s=5, channels=4, reduction=2)
    found = {name: build_head(name, sizes) for name in HEADS}
    found["netvlad"] = NetVlad(VladSizes(inputs=6, words=3))
    found["sralnet"] = SralNet(VladSizes(inputs=6, words=3, shadows=2))
    return found


@pytest.mark.parametrize("system", [*HEADS, "netvlad", "sralnet"])
def test_an_all_static_mask_changes_nothing_and_another_does(system: str) -> None:
    head = heads()[system]
    generator = torch.Generator().manual_seed(1)
    appearance = torch.rand(1, 6, 5, 6, generator=generator)
    semantic = torch.rand(1, 5, 5, 6, generator=generator)
    with torch.no_grad():
        plain = head(appearance, semantic).descriptor
        ones = torch.ones(1, 1, 5, 6)
        assert torch.equal(head.filtered(appearance, semantic, ones).descriptor, plain)
        ones[:, :, :2] = 0
        masked = head.filtered(appearance, semantic, ones).descriptor
        torch.testing.assert_close(masked.norm(dim=1), plain.norm(dim=1))
        assert float((masked - plain).norm()) > 1e-3
        # Nothing of the masked cells is left, whatever was there.
        appearance[:, :, :2] = 9
        semantic[:, :, :2] = 9
        again = head.filtered(appearance, semantic, ones).descriptor
    torch.testing.assert_close(again, masked)


def test_a_masked_cell_does_not_beat_negative_ones_in_a_maximum() -> None:
    head = build_head("app", HeadSizes(c_a=1, channels=1, levels=(2,), pool="max"))
    with torch.no_grad():
        head.get_parameter("fusion1.appearance.weight").fill_(1.0)
        cells = torch.tensor([[-3.0, 5.0, 1.0, 2.0], [-4.0, 5.0, 1.0, 2.0]])
        appearance = torch.stack([cells, cells]).flatten(0, 1)[None, None]
        static = torch.ones(1, 1, 4, 4)
        static[..., 1] = 0  # the column of fives
        static[:, :, 2:, 2:] = 0  # a whole field
        found = head.filtered(appearance, None, static).descriptor[0]
    expected = torch.tensor([-3.0, 2.0, -3.0, 0.0])
    torch.testing.assert_close(found, 10 * expected / expected.norm())
