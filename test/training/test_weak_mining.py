"""Tuples by position, mined negatives and their loss, each against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tagged_world import street
from torch.nn import functional

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.images.lists import ImageFiles, NoImages
from saane_ros.errors import SaaneError
from saane_ros.training.mining import Mined, mine, rows_of, violations
from saane_ros.training.tagged_images import TaggedImages, Tuples


def unit_rows(count: int, seed: int = 0) -> np.ndarray:
    values = torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(values, dim=1).numpy()


def squared(a: np.ndarray, b: np.ndarray) -> float:
    return float(sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)))


@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([0.0, 0.1, 1.0]))
def test_mined_tuples_equal_loops(seed: int, count: int, margin: float) -> None:
    descriptors = unit_rows(20, seed)
    query, positives, candidates = 0, np.arange(1, 5), np.arange(5, 20)
    mined, hardest = mine(descriptors, query, positives, candidates, margin, count)
    to_positives = [squared(descriptors[0], descriptors[p]) for p in positives]
    best = min(to_positives)
    assert mined.query == 0
    assert mined.positive == positives[to_positives.index(best)]
    ranked = sorted(candidates, key=lambda n: squared(descriptors[0], descriptors[n]))[:count]
    assert hardest.tolist() == ranked
    wanted = [n for n in ranked if squared(descriptors[0], descriptors[n]) < best + margin]
    assert mined.negatives.tolist() == wanted


def test_the_loss_equals_loops_and_its_gradient_is_that_of_the_violating_triplets() -> None:
    tuples = [
        Mined(0, 3, np.array([7, 5, 9])),
        Mined(2, 3, np.array([5])),
        Mined(9, 1, np.array([0])),
    ]
    rows = rows_of(tuples)
    assert rows.tolist() == [0, 1, 2, 3, 5, 7, 9]
    everything = torch.from_numpy(unit_rows(10)).double()
    descriptors = everything[rows].requires_grad_()
    lost = violations(descriptors, rows, tuples, 0.1)
    expected = [
        max(
            0.0,
            squared(everything[t.query], everything[t.positive])
            + 0.1
            - squared(everything[t.query], everything[n]),
        )
        for t in tuples
        for n in t.negatives
    ]
    np.testing.assert_allclose(lost.detach().numpy(), expected, atol=1e-9)
    assert 0 < sum(value > 0 for value in expected) < len(expected)
    lost.sum().backward()
    gradient = torch.zeros(10, 5, dtype=torch.float64)
    flat = [(t.query, t.positive, n) for t in tuples for n in t.negatives]
    for (q, p, n), value in zip(flat, expected, strict=True):
        if value > 0:
            gradient[q] += 2 * (everything[n] - everything[p])
            gradient[p] += 2 * (everything[p] - everything[q])
            gradient[n] += 2 * (everything[q] - everything[n])
    torch.testing.assert_close(descriptors.grad, gradient[rows])


@given(st.integers(0, 10_000))
def test_positives_and_negatives_lie_where_the_protocol_wants_them(seed: int) -> None:
    random = np.random.default_rng(seed)
    here, there = random.uniform(0, 60, (12, 2)), random.uniform(0, 60, (40, 2))
    there[0], there[1], here[0], there[2] = (30, 30), (55, 55), (30.5, 30), np.nan
    there[3] = (33, 30)
    dataset = Dataset(
        "d", NoImages(["q"] * 12), NoImages(["r"] * 40),
        tuple(np.arange(1) for _ in range(12)), "", "", here, there,
    )  # fmt: skip
    tuples = Tuples(TaggedImages([dataset]))
    seen = set()
    for index in range(len(tuples)):
        query = tuples.query(index)
        seen.add(query)
        metres = [float(np.hypot(*(there[row] - here[query]))) for row in range(40)]
        positives = [12 + row for row, m in enumerate(metres) if 1 <= m <= 10]
        assert tuples.positives(index).tolist() == positives
        assert positives
        negatives = [12 + row for row, m in enumerate(metres) if m > 25]
        assert tuples.negatives(index).tolist() == negatives
        assert negatives
    assert 0 in seen
    assert 12 not in tuples.positives(0)  # half a metre away
    assert tuples.left_out == 12 - len(tuples)


def test_negatives_come_from_the_query_s_own_dataset() -> None:
    first, second = street("first"), street("second", seed=1)
    tuples = Tuples(TaggedImages([first, second]))
    assert len(tuples) == 2 * 13
    assert tuples.left_out == 2
    assert all(14 <= row < 28 for row in tuples.negatives(0))
    assert all(42 <= row < 56 for row in tuples.negatives(13))
    assert tuples.query(13) == 28


def test_what_cannot_be_learned_from_is_told() -> None:
    dataset = street()
    with pytest.raises(SaaneError, match=r"street has no positions .* Pitts30k, MSLS"):
        Tuples(TaggedImages([replace(dataset, query_positions=None)]))
    far = replace(dataset, query_positions=dataset.query_positions + 500)
    with pytest.raises(SaaneError, match="No query of street has a reference 1 to 10 m away"):
        Tuples(TaggedImages([far]))


def test_images_of_several_lists_are_read_by_row(tmp_path) -> None:
    def files(name: str, count: int) -> ImageFiles:
        paths = [tmp_path / f"{name}{i}" for i in range(count)]
        for path in paths:
            path.touch()
        return ImageFiles(paths, decode=lambda path: path.name)

    here, drive = files("a", 2), files("b", 3)
    one = Dataset("x", here, files("c", 2), (np.arange(1),) * 2, "", "")
    itself = Dataset("y", drive, drive, (np.arange(1),) * 3, "", "")
    images = TaggedImages([one, itself])
    assert [images.read(i) for i in range(len(images))] == [
        "a0",
        "a1",
        "c0",
        "c1",
        "b0",
        "b1",
        "b2",
    ]
    assert images.queries[1].tolist() == images.references[1].tolist() == [4, 5, 6]
    assert images.key != TaggedImages([itself, one]).key
