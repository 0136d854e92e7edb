"""Label maps: views of them beside their images, and IoU against loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saane_ros.data.images.labelled import IGNORED
from saane_ros.training.iou import (
    confusion_of,
    intersection_over_union,
    iou_report,
    iou_table,
)
from saane_ros.training.label_augmentation import augment, rescaled


def naive_iou(labels: np.ndarray, predicted: np.ndarray, classes: int) -> list[float]:
    values = []
    for c in range(classes):
        both = either = 0
        for true, found in zip(labels.ravel(), predicted.ravel(), strict=True):
            if true == IGNORED:
                continue
            both += true == c and found == c
            either += true == c or found == c
        values.append(both / either if either else float("nan"))
    return values


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_iou_equals_the_loop(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, (9, 7)).astype(np.uint8)
    labels[random.random((9, 7)) < 0.2] = IGNORED
    predicted = random.integers(0, classes, (9, 7))
    ious = intersection_over_union(confusion_of(labels, predicted, classes))
    np.testing.assert_allclose(ious, naive_iou(labels, predicted, classes))


def test_the_static_dynamic_split_is_the_iou_of_merged_maps() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 3, (20, 20)).astype(np.uint8)
    predicted = np.where(random.random((20, 20)) < 0.7, labels, random.integers(0, 3, (20, 20)))
    report = iou_report(confusion_of(labels, predicted, 3), ("sky", "road", "car"), ("sky", "car"))
    moving = np.array([1, 0, 1])
    split = naive_iou(moving[labels].astype(np.uint8), moving[predicted], 2)
    assert report["static_IoU"] == pytest.approx(split[0])
    assert report["dynamic_IoU"] == pytest.approx(split[1])
    assert report["static_dynamic_IoU"] == pytest.approx(np.mean(split))
    assert report["mIoU"] == pytest.approx(np.mean(naive_iou(labels, predicted, 3)))


def test_only_classes_that_labels_can_hold_count_but_every_mistake_on_them_does() -> None:
    labels = np.array([[0, 0, 0, 2, 2, 255]], np.uint8)
    predicted = np.array([[0, 0, 1, 2, 1, 1]])
    report = iou_report(confusion_of(labels, predicted, 3), ("sky", "roof", "car"), (), (0, 2))
    assert report["IoU"] == {"sky": 2 / 3, "car": 1 / 2}
    assert report["mIoU"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert report["pixel_accuracy"] == 3 / 5
    table = iou_table({"all": {**report, "IoU": {"roof": 0.25}}, "common": report}).splitlines()
    assert table[1].split() == ["roof", "0.250"]
    assert table[2].split() == ["sky", "0.667"]
    assert table[-1].split() == ["pixel_accuracy", "0.600", "0.600"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.4, 2.0))
def test_rescaling_keeps_size_and_keeps_image_and_labels_together(seed: int, factor: float) -> None:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 3, (5, 7)).astype(np.uint8)
    labels = coarse.repeat(12, 0).repeat(12, 1)
    image = (labels * 100)[..., None].repeat(3, 2)
    scaled, moved = rescaled(image, labels, factor, random)
    assert scaled.shape == (60, 84, 3)
    assert moved.shape == (60, 84)
    away_from_edges = np.isin(scaled[..., 0], (0, 100, 200))
    agree = scaled[..., 0][away_from_edges] == moved[away_from_edges] * 100
    assert agree.mean() > 0.9


def test_augmentation_mirrors_labels_with_the_image() -> None:
    labels = np.tile(np.arange(30, dtype=np.uint8) // 10, (20, 1))
    image = (labels * 80)[..., None].repeat(3, 2)
    mirrored = 0
    for seed in range(20):
        exposed, moved = augment(image, labels, np.random.default_rng(seed))
        assert set(np.unique(moved)) == {0, 1, 2}
        rising = moved[0, 0] < moved[0, -1]
        mirrored += not rising
        assert (int(exposed[0, 0, 0]) < int(exposed[0, -1, 0])) == rising
    assert 3 < mirrored < 17
