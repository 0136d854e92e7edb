"""Dense SIFT against loops and OpenCV's SIFT, and the VLAD of hard assignments against loops."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from naive_vlad import unit
from scenes import smooth_scene

from saane_ros.model.dense_sift import DenseGrid, dense_rootsift, dense_sift
from saane_ros.model.dense_vlad import DenseVlad, hard_residual_sums, unit_words

GRID = DenseGrid(bins=(4, 6), step=5)


def grey_scene(height: int = 48, width: int = 60) -> np.ndarray:
    scene = smooth_scene(3, height, width).mean(axis=2) / 255
    noise = np.random.default_rng(0).random((height, width))
    return np.ascontiguousarray(0.7 * scene + 0.3 * noise, np.float32)


def naive_sift(smoothed: np.ndarray, row: int, column: int, size: int) -> np.ndarray:
    """SIFT of one centre: every pixel's gradient votes for the bins around it."""
    height, width = smoothed.shape
    clamp = lambda v, n: min(max(v, 0), n - 1)  # noqa: E731
    histogram = np.zeros((4, 4, 8))
    reach = 3 * size
    means = []
    for index in range(4):
        centre = size * (index - 1.5)
        window = [
            math.exp(-0.5 * ((p + centre) / (1.5 * size)) ** 2) for p in range(1 - size, size)
        ]
        means.append(sum(window) / len(window))
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            r, c = clamp(row + dy, height), clamp(column + dx, width)
            right = float(smoothed[r, clamp(c + 1, width)]) - float(
                smoothed[r, clamp(c - 1, width)]
            )
            down = float(smoothed[clamp(r + 1, height), c]) - float(
                smoothed[clamp(r - 1, height), c]
            )
            magnitude = math.hypot(right, down) / 2
            position = (math.atan2(down, right) % (2 * math.pi)) * 8 / (2 * math.pi)
            lower = math.floor(position)
            for y in range(4):
                for x in range(4):
                    near_y = size - abs(dy - size * (y - 1.5))
                    near_x = size - abs(dx - size * (x - 1.5))
                    if near_y <= 0 or near_x <= 0:
                        continue
                    vote = magnitude * near_y * near_x / size**4 * means[y] * means[x]
                    histogram[y, x, lower % 8] += vote * (1 - (position - lower))
                    histogram[y, x, (lower + 1) % 8] += vote * (position - lower)
    return histogram.ravel()


@pytest.mark.parametrize("size", [4, 6])
def test_descriptors_equal_a_recomputation_with_loops(size: int) -> None:
    grey = grey_scene()
    found = dense_sift(grey, size, GRID)
    rows, columns = GRID.centres(48), GRID.centres(60)
    smoothed = cv2.GaussianBlur(grey, (0, 0), size / 6, borderType=cv2.BORDER_REPLICATE)
    assert found.shape == (len(rows) * len(columns), 128)
    for index in (0, 7, len(found) // 2):
        row, column = rows[index // len(columns)], columns[index % len(columns)]
        expected = naive_sift(smoothed, int(row), int(column), size)
        np.testing.assert_allclose(found[index], expected, atol=1e-4 * expected.max())


def test_descriptors_are_nearly_those_of_opencvs_sift() -> None:
    """Another implementation, with a Gaussian window and other interpolation of orientations."""
    grey = np.rint(255 * smooth_scene(5, 120, 160).mean(axis=2) / 255).astype(np.uint8)
    grid = DenseGrid(bins=(6,), step=12)
    smoothed = cv2.GaussianBlur(grey, (0, 0), 1.0)
    points = [
        cv2.KeyPoint(float(x), float(y), 4.0, 0.0)
        for y in grid.centres(120)
        for x in grid.centres(160)
    ]
    _, theirs = cv2.SIFT_create(sigma=0.5).compute(smoothed, points)
    ours = dense_sift(np.ascontiguousarray(grey / 255, np.float32), 6, grid)
    norms = np.linalg.norm(ours, axis=1)
    clipped = np.minimum(ours / norms[:, None], 0.2)
    ours = clipped / np.linalg.norm(clipped, axis=1, keepdims=True)
    # OpenCV's angles run from the x axis upwards, ours towards the y axis.
    theirs = theirs.reshape(-1, 4, 4, 8)[..., (0, 7, 6, 5, 4, 3, 2, 1)].reshape(-1, 128)
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    cosines = (ours * theirs).sum(axis=1)[norms > grid.contrast]
    assert np.median(cosines) > 0.93
    # Another place's descriptor is far less alike.
    assert np.median((np.roll(ours, 7, axis=0) * theirs).sum(axis=1)) < 0.8


def test_rootsift_has_unit_length_and_flat_regions_are_left_out() -> None:
    grey = grey_scene(80, 90)
    features = dense_rootsift(grey, GRID)
    assert len(features) == 2 * len(GRID.centres(80)) * len(GRID.centres(90))
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    grey[:, 45:] = 0.5
    assert 0 < len(dense_rootsift(grey, GRID)) < len(features)
    assert dense_rootsift(np.full((80, 90), 0.3, np.float32), GRID).shape == (0, 128)
    assert dense_rootsift(grey[:15, :15], GRID).shape == (0, 128)


def test_vlad_of_hard_assignments_equals_loops() -> None:
    torch.manual_seed(0)
    words = unit_words(torch.randn(5, 128))
    network = DenseVlad(5, 0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), GRID)
    network.centroids.data.copy_(words)
    grey = grey_scene()
    features = dense_rootsift(grey, GRID).astype(np.float64)
    sums = np.zeros((5, 128))
    for x in features:
        nearest = min(range(5), key=lambda k: float(((x - words[k].double().numpy()) ** 2).sum()))
        sums[nearest] += x - words[nearest].double().numpy()
    expected = unit(np.concatenate([unit(row) for row in sums]))
    image = torch.from_numpy(grey).expand(1, 3, -1, -1)
    np.testing.assert_allclose(network(image).descriptor[0].numpy(), expected, atol=1e-5)
    empty = hard_residual_sums(torch.zeros(0, 128), words)
    assert torch.equal(empty, torch.zeros(5, 128))


def test_grey_values_are_those_before_the_preprocessing() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    colours = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    normalised = (colours - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    (grey,) = DenseVlad(2, 0, mean, std).grey(normalised)
    expected = cv2.cvtColor(colours[0].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
    np.testing.assert_allclose(grey, expected, atol=1e-5)
