"""Label folders and their classes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from saane_ros.data.images.labelled import (
    IGNORED,
    LabelClasses,
    counterparts,
    joined,
    read_classes,
    read_label_folder,
)
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


def test_folders_are_kept_and_left_out_by_name(tmp_path: Path) -> None:
    for name in ("north/a", "south/a", "south/old/b"):
        for part in ("images", "labels"):
            (tmp_path / part / name).parent.mkdir(parents=True, exist_ok=True)
        write_pair(tmp_path, name, np.zeros((8, 8), np.uint8))
    (tmp_path / "labels" / "north" / "a.png").unlink()  # nobody asks for it

    def names(**chosen: tuple[str, ...]) -> list[str]:
        found = read_label_folder(tmp_path / "images", tmp_path / "labels", CLASSES, **chosen)
        return [str(path.relative_to(tmp_path / "labels")) for path in found.labels]

    assert names(only=("south",)) == ["south/a.png", "south/old/b.png"]
    assert names(without=("north", "old")) == ["south/a.png"]
    with pytest.raises(SaaneError, match="is left by `only` and `without`"):
        names(only=("south",), without=("south",))


def test_maps_of_other_classes_are_read_as_ones_own_beside_others(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = random.choice([0, 1, 2, 11, 255], (16, 16)).astype(np.uint8)
    write_pair(tmp_path, "a", labels)
    found = read_label_folder(tmp_path / "images", tmp_path / "labels", CLASSES)
    own = ("thing", "car", "roof", "sky")
    path = tmp_path / "names.yaml"
    path.write_text("sky: sky\ncar: car\n")
    read = found.translated(own, counterparts(CLASSES.classes, own, path))
    expected = [{0: 3, 2: 1}.get(int(label), IGNORED) for label in labels.ravel()]
    assert read.read(0)[1].ravel().tolist() == expected
    assert read.known == (1, 3)
    assert counterparts(CLASSES.classes, own) == {0: 3, 2: 1}
    plain = read_label_folder(
        tmp_path / "images", tmp_path / "labels", LabelClasses(own, ignored=(11,))
    )
    both = joined([plain, read])
    assert both.read(0)[1].tolist() == np.where(labels == 11, IGNORED, labels).tolist()
    assert both.read(1)[1].ravel().tolist() == expected
    assert both.known == (0, 1, 2, 3)
    labels[0, 0] = 7
    write_pair(tmp_path, "a", labels)
    with pytest.raises(SaaneError, match=r"holds label 7, and there are 3 classes"):
        read.read(0)


def test_counterparts_that_name_nothing_are_told(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    for text, told in (
        ("[sky]", "is no mapping of class names"),
        ("sky: 3", "is no mapping of class names"),
        ("moon: sky", "names 'moon', which is not among sky, road, car"),
        ("sky: moon", "names 'moon', which is not among sky, tree"),
    ):
        path.write_text(text)
        with pytest.raises(SaaneError, match=told):
            counterparts(CLASSES.classes, ("sky", "tree"), path)
    with pytest.raises(SaaneError, match="have no name in common"):
        counterparts(CLASSES.classes, ("tree",))
