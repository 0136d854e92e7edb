"""The heads against a recomputation with loops, and the sizes that the paper states."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from saane_ros.model.heads import HeadSizes, align_semantics, build_head
from saane_ros.model.pooling import SpatialPyramidPooling

SMALL = HeadSizes(c_a=12, c_s=7, channels=8, reduction=4)


def features(sizes: HeadSizes, grid: tuple[int, int] = (5, 6)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    appearance = torch.rand((2, sizes.c_a, *grid), generator=generator)
    semantic = torch.rand((2, sizes.c_s, *grid), generator=generator)
    return appearance, semantic


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def project(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    out = np.zeros((weight.shape[0], *x.shape[1:]))
    for o in range(weight.shape[0]):
        for i in range(x.shape[0]):
            out[o] += weight[o, i, 0, 0] * x[i]
    return out


def channel_weights(x: np.ndarray, state: dict[str, np.ndarray], name: str) -> np.ndarray:
    def phi(z: np.ndarray) -> np.ndarray:
        hidden = np.maximum(state[f"{name}.squeeze.weight"] @ z + state[f"{name}.squeeze.bias"], 0)
        return state[f"{name}.excite.weight"] @ hidden + state[f"{name}.excite.bias"]

    summed = phi(x.mean(axis=(1, 2))) + phi(x.max(axis=(1, 2)))
    return np.array([sigmoid(v) for v in summed])[:, None, None]


def spatial_map(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    summary = np.stack([x.mean(axis=0), x.max(axis=0)])
    height, width = x.shape[1:]
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            total = 0.0
            for c in range(2):
                for di in range(7):
                    for dj in range(7):
                        y, z = i + di - 3, j + dj - 3
                        if 0 <= y < height and 0 <= z < width:
                            total += weight[0, c, di, dj] * summary[c, y, z]
            out[i, j] = sigmoid(total)
    return out


def pyramid(x: np.ndarray, levels: tuple[int, ...] = (4, 3, 2, 1)) -> np.ndarray:
    height, width = x.shape[1:]
    values = []
    for n in levels:
        for c in range(x.shape[0]):
            for i in range(n):
                for j in range(n):
                    rows = slice(i * height // n, -((-(i + 1) * height) // n))
                    columns = slice(j * width // n, -((-(j + 1) * width) // n))
                    values.append(x[c, rows, columns].max())
    flat = np.array(values)
    return 10 * flat / np.linalg.norm(flat)


def naive(system: str, state: dict[str, np.ndarray], a: np.ndarray, s: np.ndarray) -> np.ndarray:
    f_a = project(a, state["fusion1.appearance.weight"])
    if system == "app":
        return pyramid(f_a)
    if system == "app_att":
        attended = attend(f_a, state, "attention")
        return pyramid(project(attended, state["fusion2.appearance.weight"]))
    f_s = project(s, state["fusion1.semantic.weight"])
    if system == "app_sem":
        return pyramid(f_a + f_s)
    if system == "app_att_sem_att":
        f_a = attend(f_a, state, "attention_appearance")
        f_s = attend(f_s, state, "attention_semantic")
    else:
        m_c = channel_weights(f_a + f_s, state, "channel")
        fused = (f_a + f_s) * m_c
        s_a = spatial_map(fused, state["spatial_appearance.convolution.weight"])
        s_s = spatial_map(fused, state["spatial_semantic.convolution.weight"])
        f_a, f_s = f_a * m_c * s_a, f_s * m_c * s_s
    fused = project(f_a, state["fusion2.appearance.weight"])
    return pyramid(fused + project(f_s, state["fusion2.semantic.weight"]))


def attend(x: np.ndarray, state: dict[str, np.ndarray], name: str) -> np.ndarray:
    m_c = channel_weights(x, state, f"{name}.channel")
    return x * m_c * spatial_map(x * m_c, state[f"{name}.spatial.convolution.weight"])


@pytest.mark.parametrize("system", ["app", "app_sem", "app_att", "app_att_sem_att", "saane"])
def test_head_equals_the_naive_recomputation(system: str) -> None:
    torch.manual_seed(5)
    head = build_head(system, SMALL)
    appearance, semantic = features(SMALL)
    with torch.no_grad():
        output = head(appearance, semantic)
    state = {name: value.double().numpy() for name, value in head.state_dict().items()}
    for b in range(2):
        a, s = appearance[b].double().numpy(), semantic[b].double().numpy()
        expected = naive(system, state, a, s)
        np.testing.assert_allclose(output.descriptor[b].numpy(), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("system", "parameters"),
    [
        ("app", 262144),
        ("app_sem", 393216),
        ("app_att", 262144 + 8464 + 98 + 65536),
        ("app_att_sem_att", 393216 + 2 * (8464 + 98) + 131072),
        ("saane", 532948),
    ],
)
def test_sizes_of_the_paper(system: str, parameters: int) -> None:
    head = build_head(system, HeadSizes())
    appearance, semantic = features(HeadSizes(), (14, 14))
    with torch.no_grad():
        descriptor = head(appearance, semantic).descriptor
    assert sum(p.numel() for p in head.parameters() if p.requires_grad) == parameters
    assert descriptor.shape == (2, 7680)
    torch.testing.assert_close(descriptor.norm(dim=1), torch.tensor([10.0, 10.0]))


def test_attention_maps_have_the_grid_and_differ_by_modality() -> None:
    torch.manual_seed(0)
    output = build_head("saane", SMALL)(*features(SMALL))
    assert output.appearance_attention is not None
    assert output.semantic_attention is not None
    assert output.appearance_attention.shape == (2, 1, 5, 6)
    assert not torch.equal(output.appearance_attention, output.semantic_attention)


def test_semantics_are_aligned_by_exact_two_by_two_means() -> None:
    semantic = torch.arange(2 * 8 * 12, dtype=torch.float32).reshape(1, 2, 8, 12)
    aligned = align_semantics(semantic, (4, 6))
    blocks = semantic.reshape(1, 2, 4, 2, 6, 2).mean(dim=(3, 5))
    torch.testing.assert_close(aligned, blocks)


def test_average_pyramid_of_one_level_is_the_mean() -> None:
    x = torch.rand(3, 4, 5, 7)
    pooled = SpatialPyramidPooling((1,), "avg")(x)
    torch.testing.assert_close(pooled, x.mean(dim=(2, 3)))
