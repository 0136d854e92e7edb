"""Attention by class, recomputed cell by cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, pstdev

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.data.images.lists import ImageFiles
from saane_ros.evaluation.class_attention import ClassAttention, cell_classes, class_attention
from saane_ros.types import Embedding, Rgb


@pytest.fixture
def lists(tmp_path: Path) -> list[ImageFiles]:
    """Eleven images in two lists, more than one batch."""
    paths = []
    for number in range(11):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), smooth_scene(number, 26, 33)[..., ::-1])
        paths.append(path)
    return [ImageFiles(paths[:9]), ImageFiles(paths[9:])]


def naive_classes(labels: np.ndarray, height: int, width: int) -> list[list[int]]:
    """Of each cell, by asking every pixel for its cell."""
    votes: dict[tuple[int, int], Counter] = {}
    for y, row in enumerate(labels.tolist()):
        for x, label in enumerate(row):
            cell = int(y * height / len(labels)), int(x * width / len(row))
            votes.setdefault(cell, Counter())[label] += 1
    return [
        [min(votes[i, j], key=lambda k: (-votes[i, j][k], k)) for j in range(width)]
        for i in range(height)
    ]


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 7), st.integers(0, 7), st.randoms())
def test_a_cell_has_the_class_of_most_of_its_pixels(
    height: int, width: int, down: int, right: int, random: object
) -> None:
    shape = (height + down, width + right)
    labels = np.array(
        [[random.randrange(3) for _ in range(shape[1])] for _ in range(shape[0])],  # type: ignore[attr-defined]
        np.uint8,
    )
    found = cell_classes(labels, (height, width), 3)
    assert found.tolist() == naive_classes(labels, height, width)


def naive(embedder: ColourGridEmbedder, lists: Sequence[ImageFiles]) -> dict:
    """All relative values of every (modality, class)."""
    values: dict[tuple[str, int], list[float]] = {}
    for images in lists:
        for index in range(len(images)):
            (one,) = embedder.embed([images.read(index)], attention=True, labels=True)
            for modality, attention in one.attention.items():
                classes = naive_classes(one.labels, *attention.shape)
                middle = fmean(float(v) for row in attention for v in row)
                for row, of_row in zip(attention.tolist(), classes, strict=True):
                    for value, k in zip(row, of_row, strict=True):
                        values.setdefault((modality, k), []).append(value / middle)
    return values


def test_mean_and_spread_over_all_cells_of_a_class(lists: list[ImageFiles]) -> None:
    found = class_attention(ColourGridEmbedder(), lists)
    assert found is not None
    assert found.images == 11
    expected = naive(ColourGridEmbedder(), lists)
    assert set(expected) == {(m, k) for m in ("appearance", "semantic") for k in (0, 1)}
    for (modality, k), values in expected.items():
        assert found.cells[k] == len(values)
        assert found.mean[modality][k] == pytest.approx(fmean(values), rel=1e-5)
        assert found.spread[modality][k] == pytest.approx(pstdev(values), rel=1e-4)
    bright, dark = 1, 0
    assert found.mean["appearance"][bright] > 1.1 > 0.9 > found.mean["appearance"][dark]
    assert found.mean["semantic"][bright] < 0.9


def test_the_table_leaves_out_what_is_not_seen_and_the_chart_what_is_rare() -> None:
    nan = np.nan
    found = ClassAttention(
        "small",
        ("road", "ship", "sky", "lamp"),
        3,
        np.array([600, 0, 399, 1]),
        {"appearance": np.array([0.9, nan, 1.2, 1.4])},
        {"appearance": np.array([0.05, nan, 0.1, 0.0])},
    )
    section = found.section("street")
    assert [row[0] for row in section.rows] == ["lamp", "sky", "road"]
    assert section.rows[1] == ["sky", "39.90", "1.200 ± 0.100"]
    ((svg, caption),) = section.charts
    assert svg.count("<rect") == 2
    assert ">sky<" in svg
    assert "lamp" not in svg
    assert "0.2 % of the cells" in caption


class Plain(ColourGridEmbedder):
    """Has no attention."""

    def embed(
        self,
        images: Sequence[Rgb],
        attention: bool = False,
        labels: bool = False,
        grid: bool = False,
    ) -> list[Embedding]:
        return super().embed(images, False, labels, grid)


class Unlabelled(ColourGridEmbedder):
    class_names = ()  # type: ignore[assignment]


@pytest.mark.parametrize("embedder", [Plain(), Unlabelled()])
def test_without_attention_or_classes_there_is_nothing_to_tell(
    embedder: ColourGridEmbedder, lists: list[ImageFiles]
) -> None:
    assert class_attention(embedder, lists) is None
