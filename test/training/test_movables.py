"""Vehicles and people cut out of labelled images and pasted into views of places."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from saane_ros.data.images.labelled import LabelledImages
from saane_ros.errors import SaaneError
from saane_ros.training.movables import Cutout, read_cutouts, with_movables

NAMES = ("road", "car", "person")


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledImages:
    """Two images of 60 x 80: a red car of 20 x 30 pixels, a green person of 24 x 6, a speck."""
    paths, maps = [], []
    for number in range(2):
        image, labels = np.full((60, 80, 3), 90, np.uint8), np.zeros((60, 80), np.uint8)
        image[30:50, 10:40], labels[30:50, 10:40] = (200, 0, 0), 1
        image[20:44, 60:66], labels[20:44, 60:66] = (0, 200, 0), 2
        labels[0:2, 0:2] = 1
        paths.append(tmp_path / f"{number}.png")
        maps.append(tmp_path / f"{number}-labels.png")
        cv2.imwrite(str(paths[-1]), image[..., ::-1])
        cv2.imwrite(str(maps[-1]), labels)
    return LabelledImages(tuple(paths), tuple(maps), NAMES)


def test_every_large_part_is_cut_out_with_its_place(labelled):
    found = read_cutouts(labelled, ["car", "person"], 100)
    assert len(found) == 4
    car, person = found[:2] if found[0].width > found[1].width else found[1::-1]
    assert (car.height, car.width, car.foot) == (20 / 60, 30 / 80, 50 / 60)
    assert (person.height, person.width, person.foot) == (24 / 60, 6 / 80, 44 / 60)
    assert car.mask.all()
    assert (car.pixels == (200, 0, 0)).all()
    assert [c.foot for c in read_cutouts(labelled, ["person"], 1)] == [44 / 60]


def test_what_cannot_be_cut_out_is_told(labelled):
    with pytest.raises(SaaneError, match="no class lorry"):
        read_cutouts(labelled, ["lorry"], 10)
    nothing = LabelledImages(labelled.images, labelled.labels, (*NAMES, "bus"))
    with pytest.raises(SaaneError, match="show no bus"):
        read_cutouts(nothing, ["bus"], 10)


@pytest.mark.parametrize("seed", range(6))
def test_pasted_pixels_are_the_cutouts_and_all_others_stay(labelled, seed):
    cutouts = read_cutouts(labelled, ["car"], 10)
    image = np.full((120, 100, 3), 50, np.uint8)
    changed = with_movables(image, cutouts, np.random.default_rng(seed), 1)
    red = (changed == (200, 0, 0)).all(axis=2)
    assert (changed[~red] == 50).all()
    assert (image == 50).all()
    if red.any():
        rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
        assert rows[-1] + 1 == round(50 / 60 * 120)
        tall, wide = len(rows), len(columns)
        assert 0.8 * 40 - 1 <= tall <= 1.4 * 40 + 1
        assert tall / wide == pytest.approx(40 / 37.5, rel=0.1)


def test_a_cutout_larger_than_the_image_is_held_to_it():
    large = Cutout(np.zeros((10, 10, 3), np.uint8), np.ones((10, 10), bool), 0.9, 0.9, 1.0)
    for seed in range(5):
        changed = with_movables(
            np.full((7, 9, 3), 255, np.uint8), [large], np.random.default_rng(seed), 3
        )
        assert changed.shape == (7, 9, 3)
