"""Label folders and their classes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from saane_ros.data.images.labelled import IGNORED, LabelClasses, read_classes, read_label_folder
from saane_ros.errors import SaaneError

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
    image, labels = found.read(0)
    assert image.shape == (16, 16, 3)
    expected = np.array([[0, 1], [IGNORED, IGNORED]], np.uint8).repeat(8, 0).repeat(8, 1)
    np.testing.assert_array_equal(labels, expected)


def test_a_label_out_of_range_names_the_file_and_the_label(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", np.full((8, 8), 7, np.uint8))
    found = read_label_folder(tmp_path / "images", tmp_path / "labels", CLASSES)
    with pytest.raises(SaaneError, match=r"a\.png holds label 7, and there are 3 classes"):
        found.read(0)


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
