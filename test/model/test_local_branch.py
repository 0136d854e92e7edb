"""Local features of two-stage systems, recomputed cell by cell and patch by patch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from naive_vlad import naive_vlad, unit
from torch import Tensor

from saane_ros.model.gem import CosPlace
from saane_ros.model.local_branch import LOCAL, PatchNetVlad, SelaVpr
from saane_ros.model.netvlad import NetVlad
from saane_ros.model.vlad import VladSizes


def numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def transposed(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Stride 2, 3 x 3, one cell of margin cut off: every cell is spread over nine, and summed."""
    _, height, width = x.shape
    spread = np.zeros((weight.shape[1], 2 * height + 1, 2 * width + 1))
    for i in range(height):
        for j in range(width):
            nine = np.tensordot(x[:, i, j], weight, axes=1)
            spread[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += nine
    return spread[:, 1:-1, 1:-1] + bias[:, None, None]


def test_selavprs_branch_is_two_transposed_convolutions() -> None:
    torch.manual_seed(0)
    head, x = SelaVpr(5).eval(), torch.randn(2, 5, 4, 3)
    with torch.no_grad():
        (found,) = head.own_features(x)
    own = {key: numbers(value) for key, value in head.branch.state_dict().items()}
    assert found.shape == (2, LOCAL, 4 * 4 - 3, 4 * 3 - 3)
    for image, local in zip(x, found, strict=True):
        middle = transposed(numbers(image), own["upconv1.weight"], own["upconv1.bias"])
        last = transposed(np.maximum(middle, 0), own["upconv2.weight"], own["upconv2.bias"])
        expected = last / np.linalg.norm(last, axis=0)
        np.testing.assert_allclose(local.numpy(), expected, atol=1e-6)
    plain = CosPlace(5)
    plain.load_state_dict(head.state_dict(), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(head(x).descriptor, plain(x).descriptor)


def test_sixteen_cells_a_side_become_sixty_one() -> None:
    (found,) = SelaVpr(6).own_features(torch.zeros(1, 6, 16, 16))
    assert found.shape == (1, 128, 61, 61)


@pytest.mark.parametrize("whitening", [0, 7])
@pytest.mark.parametrize(("height", "width", "sides"), [(6, 9, (2, 5)), (8, 9, (2, 5, 8))])
def test_a_patch_is_described_as_an_image_of_it_would_be(
    height: int, width: int, sides: tuple[int, ...], whitening: int
) -> None:
    torch.manual_seed(1)
    head = PatchNetVlad(VladSizes(inputs=6, words=3, whitening=whitening)).eval()
    torch.nn.init.normal_(head.centroids)
    x = torch.randn(2, 6, height, width)
    with torch.no_grad():
        found = head.own_features(x)
    assert len(found) == len(sides)
    assert sum(head.own_shares) == pytest.approx(1)
    for side, scale in zip(sides, found, strict=True):
        size = whitening or 18
        assert scale.shape == (2, size, height - side + 1, width - side + 1)
        for top in range(height - side + 1):
            for left in range(width - side + 1):
                expected, _ = naive_vlad(
                    numbers(x[1, :, top : top + side, left : left + side]),
                    numbers(head.assignment.weight[:, :, 0, 0]),
                    numbers(head.assignment.bias),
                    numbers(head.centroids),
                )
                if whitening:
                    weight, bias = numbers(head.whitening.weight), numbers(head.whitening.bias)
                    expected = unit(weight @ expected + bias)
                np.testing.assert_allclose(scale[1, :, top, left].numpy(), expected, atol=2e-6)


def test_a_patch_as_large_as_the_grid_is_the_descriptor() -> None:
    torch.manual_seed(2)
    head = PatchNetVlad(VladSizes(inputs=6, words=3, whitening=5)).eval()
    plain = NetVlad(VladSizes(inputs=6, words=3, whitening=5)).eval()
    plain.load_state_dict(head.state_dict())
    x = torch.randn(1, 6, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(head.own_features(x)[-1][..., 0, 0], plain(x).descriptor)
