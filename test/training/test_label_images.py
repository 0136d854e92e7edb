"""Label folders, their classes, augmentation of label maps, and IoU against loops."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saane_ros.errors import SaaneError
from saane_ros.training.iou import confusion_of, intersection_over_union, iou_report
from saane_ros.training.label_augmentation import augment, rescaled
from saane_ros.training.label_images import (
    IGNORED,
    LabelClasses,
    read_classes,
    read_label_folder,
)

CLASSES = LabelClasses(("sky", "road", "car"), ("sky", "car"), (11,))


def write_pair(folder: Path, name: str, labels: np.ndarray) -> None:
    for part in ("images", "labels"):
        (folder / part).mkdir(exist_ok=True)
    image = np.full((*labels.shape, 3), 90, np.uint8)
    cv2.imwrite(str(folder / "images" / f"{name}.jpg"), image)
    cv2.imwrite(str(folder / "labels" / f"{name}.png"), labels)


def test_reads_pairs_in_order_and_turns_ignored_labels_into_255(tmp_path: Path) -> None:
    write_pair(tmp_path, "b", np.full((20, 30), 2, np.uint8))
    write_pair(tmp_path, "a", np.array([[0, 1], [11, 255]], np.uint8).repeat(8, 0).repeat(8, 1))
    found = read_label_folder(tmp_path / "images", tmp_path / "labels", CLASSES)
    assert [path.stem for path in found.images] == ["a", "b"]
    image, labels = found.read(0, 8, 8)
    assert image.shape == (8, 8, 3)
    expected = np.array([[0, 1], [IGNORED, IGNORED]], np.uint8).repeat(4, 0).repeat(4, 1)
    np.testing.assert_array_equal(labels, expected)


def test_a_label_out_of_range_names_the_file_and_the_label(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", np.full((8, 8), 7, np.uint8))
    found = read_label_folder(tmp_path / "images", tmp_path / "labels", CLASSES)
    with pytest.raises(SaaneError, match=r"a\.png holds label 7, and there are 3 classes"):
        found.read(0, 8, 8)


def test_missing_label_maps_are_counted(tmp_path: Path) -> None:
    for name in "abc":
        write_pair(tmp_path, name, np.zeros((8, 8), np.uint8))
    (tmp_path / "labels" / "b.png").unlink()
    with pytest.raises(SaaneError, match=r"1 of 3 label maps are missing.*b\.png"):
        read_label_folder(tmp_path / "images", tmp_path / "labels", CLASSES)


def test_a_file_of_classes_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text("classes: [sky, road]\ndynamic: [bird]\n")
    with pytest.raises(SaaneError, match="dynamic names 'bird'"):
        read_classes(path)
    path.write_text("classes: [sky, road]\ndynamic: [sky]\nignored: [9]\n")
    assert read_classes(path) == LabelClasses(("sky", "road"), ("sky",), (9,))


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
    report = iou_report(confusion_of(labels, predicted, 3), CLASSES.classes, CLASSES.dynamic)
    moving = np.array([1, 0, 1])
    split = naive_iou(moving[labels].astype(np.uint8), moving[predicted], 2)
    assert report["static_IoU"] == pytest.approx(split[0])
    assert report["dynamic_IoU"] == pytest.approx(split[1])
    assert report["static_dynamic_IoU"] == pytest.approx(np.mean(split))
    assert report["mIoU"] == pytest.approx(np.mean(naive_iou(labels, predicted, 3)))


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
