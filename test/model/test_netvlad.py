"""NetVLAD against loops, its initialisations against their definition, and its whitening."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from naive_vlad import naive_vlad, unit
from torch.nn import functional

from saane_ros.model.netvlad import NetVlad, initialise_netvlad
from saane_ros.model.vgg import VggTrunk
from saane_ros.model.vlad import VladSizes

GRID = (4, 5)


def random_head(seed: int = 0, **sizes: int) -> NetVlad:
    torch.manual_seed(seed)
    head = NetVlad(VladSizes(**{"inputs": 6, "words": 3, **sizes}))
    torch.nn.init.normal_(head.centroids)
    return head.eval()


def features(seed: int = 1, channels: int = 6) -> torch.Tensor:
    return torch.randn(2, channels, *GRID, generator=torch.Generator().manual_seed(seed))


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


@pytest.mark.parametrize("filtered", [False, True])
def test_layer_equals_a_recomputation_with_loops(filtered: bool) -> None:
    head, x = random_head(), features()
    static = (torch.rand(2, 1, *GRID, generator=torch.Generator().manual_seed(2)) > 0.4).float()
    with torch.no_grad():
        output = head.filtered(x, None, static) if filtered else head(x)
    for image in range(2):
        expected, _ = naive_vlad(
            numbers(x[image]),
            numbers(head.assignment.weight[:, :, 0, 0]),
            numbers(head.assignment.bias),
            numbers(head.centroids),
            static=numbers(static[image, 0]) if filtered else None,
        )
        np.testing.assert_allclose(output.descriptor[image].numpy(), expected, atol=2e-6)
    assert output.appearance_attention is None


def test_projection_and_whitening_stand_before_and_behind_the_layer() -> None:
    head, x = random_head(project=4, whitening=5), features()
    plain = random_head(inputs=4)
    plain.assignment, plain.centroids = head.assignment, head.centroids
    with torch.no_grad():
        local = functional.conv2d(x, head.projection.weight, head.projection.bias)
        vlad = numbers(plain(local).descriptor)
        weight, bias = numbers(head.whitening.weight), numbers(head.whitening.bias)
        expected = np.stack([unit(weight @ row + bias) for row in vlad])
        np.testing.assert_allclose(head(x).descriptor.numpy(), expected, atol=1e-6)
    assert (head.descriptor_size, plain.descriptor_size) == (5, 12)


def clusters(seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Five centres inside the unit sphere, as k-means leaves them, and unit features near them."""
    generator = torch.Generator().manual_seed(seed)
    centres = 0.9 * functional.normalize(torch.randn(5, 6, generator=generator), dim=1)
    near = centres.repeat(40, 1) + 0.1 * torch.randn(200, 6, generator=generator)
    return centres, functional.normalize(near, dim=1)


@pytest.mark.parametrize("assignment", ["dot", "distance"])
def test_alpha_leaves_the_runner_up_a_hundredth(assignment: str) -> None:
    centres, near = clusters()
    head = random_head(words=5)
    alpha = initialise_netvlad(head, centres, near, assignment)
    gaps = []
    for x in near.double().numpy():
        if assignment == "dot":
            scores = [float(x @ unit(c)) for c in centres.double().numpy()]
        else:
            scores = [-float(((x - c) ** 2).sum()) for c in centres.double().numpy()]
        best, second = sorted(scores, reverse=True)[:2]
        gaps.append(best - second)
    assert alpha == pytest.approx(np.log(100) / np.mean(gaps), rel=1e-4)
    with torch.no_grad():
        logits = head.logits(near.T[None, :, :, None])[0, :, :, 0].T
    top = logits.topk(2, dim=1).values
    assert float((top[:, 0] - top[:, 1]).mean()) == pytest.approx(np.log(100), rel=1e-3)
    assert torch.equal(head.centroids, centres)


def test_distance_assignment_is_a_softmax_over_squared_distances() -> None:
    centres, near = clusters()
    head = random_head(words=5)
    alpha = initialise_netvlad(head, centres, near, "distance")
    with torch.no_grad():
        weights, _ = head.weigh(head.logits(near.T[None, :, :, None]))
    squared = ((near[:, None] - centres[None]) ** 2).sum(dim=2)
    expected = (-alpha * squared).softmax(dim=1)
    torch.testing.assert_close(weights[0, :, :, 0].T, expected, atol=1e-5, rtol=1e-4)


def test_half_precision_keeps_the_assignment() -> None:
    centres, near = clusters()
    head = random_head(words=5)
    initialise_netvlad(head, centres, near, "distance")
    x = near.T[None, :, :, None]
    with torch.no_grad():
        full = head(x).descriptor
        half = head.half()(x.half()).descriptor
    assert half.dtype == torch.float32
    assert float((full - half).norm()) < 0.02


def test_vgg_is_torchvisions_up_to_conv5_3_before_its_relu() -> None:
    from torchvision.models import vgg16

    torch.manual_seed(0)
    reference = vgg16(weights=None).features[:29].eval()
    trunk = VggTrunk().eval()
    trunk.load_state_dict({f"features.{k}": v for k, v in reference.state_dict().items()})
    x = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        taken = trunk(x)
        torch.testing.assert_close(taken.stride16, reference(x))
        torch.testing.assert_close(taken.stride2, reference[:9](x))
        torch.testing.assert_close(taken.stride8, reference[:23](x))
    assert (taken.stride16 < 0).any()
    assert [f.shape[1] for f in taken[:4]] == [128, 256, 512, 512]
    assert [f.shape[2] for f in taken[:4]] == [16, 8, 4, 2]
