"""SIFT: the same points found again in a moved image, matches by naive search, and their spread."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import smooth_scene

from saane_ros.metric.features import MOST, RootSift, nearest, rooted, spread
from saane_ros.types import Rgb


def textured(seed: int, height: int = 180, width: int = 240) -> Rgb:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (height // 6, width // 6, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def test_points_are_found_where_they_moved_to() -> None:
    image = textured(1)
    moved = np.roll(image, (7, -12), (0, 1))
    sift = RootSift()
    first, second = sift.extract(image), sift.extract(moved)
    matches = sift.match(first, second)
    shift = second.xy[matches.pairs[:, 1]] - first.xy[matches.pairs[:, 0]]
    right = np.linalg.norm(shift - [-12, 7], axis=1) < 0.5
    assert len(right) > 100
    assert right.mean() > 0.95


def test_keypoints_are_pixels_of_the_whole_image() -> None:
    image = textured(2, 480, 640)
    enlarged = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    sift = RootSift()
    first, second = sift.extract(image), sift.extract(enlarged)
    pairs = sift.match(first, second).pairs
    expected = (first.xy[pairs[:, 0]] + 0.5) * 2 - 0.5
    assert len(pairs) > 100
    assert np.median(np.abs(second.xy[pairs[:, 1]] - expected)) < 0.5


def test_a_flat_image_has_none() -> None:
    for image in (np.full((90, 120, 3), 128, np.uint8), np.zeros((1, 1, 3), np.uint8)):
        found = RootSift().extract(image)
        assert (found.xy.shape, found.descriptors.shape) == ((0, 2), (0, 128))
        assert len(RootSift().match(found, found).pairs) == 0


def test_no_more_than_asked_for_and_spread_over_the_image() -> None:
    found = RootSift(80).extract(textured(3))
    assert len(found) == 80
    cells = {tuple(cell) for cell in (found.xy // 60).astype(int).tolist()}
    assert len(cells) == 12
    assert len(RootSift().extract(smooth_scene(1))) <= MOST


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(1, 60))
def test_the_strongest_of_every_cell_come_first(seed: int, count: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 100, (count, 2)).astype(np.float32)
    strength = rng.uniform(0, 1, count).astype(np.float32)
    chosen = spread(xy, strength, (100, 100), most)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, most)
    cells: dict[tuple[int, int], list[int]] = {}
    for row in range(count):
        cells.setdefault(tuple((xy[row] // 12.5).astype(int)), []).append(row)
    ranks = {
        row: rank
        for rows in cells.values()
        for rank, row in enumerate(sorted(rows, key=lambda row: -strength[row]))
    }
    expected = sorted(range(count), key=lambda row: (ranks[row], -strength[row]))[:most]
    assert chosen.tolist() == expected


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12), st.integers(0, 12))
def test_matches_are_those_of_a_naive_search(seed: int, first: int, second: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 255, (first, 8), dtype=np.uint8)
    b = rng.integers(0, 255, (second, 8), dtype=np.uint8)
    expected = []
    for i in range(first if second > 1 else 0):
        apart = [float(np.linalg.norm(a[i].astype(float) - b[j])) for j in range(second)]
        j, k = np.argsort(apart, kind="stable")[:2]
        back = [float(np.linalg.norm(a[n].astype(float) - b[j])) for n in range(first)]
        if int(np.argmin(back)) == i and apart[j] < 0.9 * apart[k]:
            expected.append(((i, int(j)), apart[j]))
    found = nearest(a, b, 0.9)
    assert [tuple(pair) for pair in found.pairs.tolist()] == [pair for pair, _ in expected]
    assert np.allclose(found.distances, [distance for _, distance in expected], atol=0.01)


def test_root_sift_by_hand() -> None:
    raw = np.zeros((2, 128), np.float32)
    raw[0, :4] = (1.0, 3.0, 0.0, 12.0)
    assert rooted(raw)[0, :4].tolist() == [128, 222, 0, 255]
    assert not rooted(raw)[1].any()


@pytest.mark.parametrize("shape", [(240, 320), (241, 323), (480, 640)])
@pytest.mark.parametrize("width", [1.0, 2.0])
def test_a_corner_lies_where_its_edges_cross(shape: tuple[int, int], width: float) -> None:
    down, across = np.mgrid[: shape[0], : shape[1]]
    x, y = 0.4 * shape[1] + 0.3, 0.6 * shape[0] - 0.4
    # Four fields of a board, which look the same from all four.
    grey = 128 + 100 * np.tanh((across - x) / width) * np.tanh((down - y) / width)
    found = RootSift().extract(np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)).xy
    near = found[np.linalg.norm(found - [x, y], axis=1) < 10]
    # A blurred crossing is found in several places, evenly about it.
    np.testing.assert_allclose(near.mean(axis=0), [x, y], atol=0.2)
