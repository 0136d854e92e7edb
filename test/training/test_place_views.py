"""Places from folders, their windows and augmented copies, and the batches drawn from them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saane_ros.errors import SaaneError
from saane_ros.training.augmentation import (
    Augmentation,
    augmented,
    occluded,
    photometric,
    synthetic_night,
    viewpoint_shift,
)
from saane_ros.training.place_sources import PlaceSource, read_rows
from saane_ros.training.place_views import expanded, slid, windowed, windows
from saane_ros.training.sampling import ClassBatchSampler


def picture(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def cameras(root: Path, count: int = 3, times: int = 5) -> Path:
    for camera in range(count):
        folder = root / "cams" / f"camera{camera}"
        folder.mkdir(parents=True)
        for time in range(times):
            cv2.imwrite(str(folder / f"time_{time:02d}.png"), picture(10 * camera + time))
    return root


def test_windows_of_cameras_become_places_with_shared_occasions(tmp_path: Path) -> None:
    source = PlaceSource("cameras", "cams", crops=2, copies=1, without=("camera1",))
    rows = read_rows(source, cameras(tmp_path), None)
    views = expanded([(source.name, rows, source.crops, source.copies)], Augmentation())
    assert len(views) == 2 * 5 * 2 * 2
    assert len(set(views.labels)) == 4
    assert len(set(views.groups)) == 2
    for label in set(views.labels):
        group = views.groups[views.labels == label]
        assert len(set(group)) == 1
    originals = {v.path.stem for v in views.views if v.copy == 0}
    assert len(set(views.occasions)) == len(originals) + 1
    halves = windows(2)
    image = views.read(0)
    assert image.shape == (40, 30, 3)
    whole = cv2.cvtColor(cv2.imread(str(views.views[0].path)), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(image, whole[:, :30])
    np.testing.assert_array_equal(windowed(whole, halves[1]), whole[:, 30:])


def test_frames_of_a_clip_become_runs(tmp_path: Path) -> None:
    folder = tmp_path / "walks" / "floor1"
    folder.mkdir(parents=True)
    for clip, count in (("a", 7), ("b", 4)):
        for frame in range(count):
            cv2.imwrite(str(folder / f"{clip}_frame_{frame:06d}.png"), picture(frame))
    rows = read_rows(PlaceSource("frames", "walks", every=2, views=2), tmp_path, None)
    runs: dict[str, list[str]] = {}
    for row in rows:
        runs.setdefault(row.place, []).append(row.path.stem)
    assert sorted(runs.values()) == [
        ["a_frame_000000", "a_frame_000001"],
        ["a_frame_000004", "a_frame_000005"],
        ["b_frame_000000", "b_frame_000001"],
    ]


def test_aligned_drives_become_places_by_file_name(tmp_path: Path) -> None:
    for drive in ("summer", "winter"):
        (tmp_path / "hd" / drive).mkdir(parents=True)
        for frame in range(3):
            cv2.imwrite(str(tmp_path / "hd" / drive / f"{frame:02d}.png"), picture(frame))
    rows = read_rows(PlaceSource("pairs", "hd"), tmp_path, None)
    assert {(row.place, row.occasion) for row in rows} == {
        (f"{frame:02d}", drive) for frame in range(3) for drive in ("summer", "winter")
    }


def test_an_absent_folder_and_an_empty_choice_are_told(tmp_path: Path) -> None:
    with pytest.raises(SaaneError, match="--data"):
        read_rows(PlaceSource("cameras", "cams"), tmp_path, None)
    cameras(tmp_path)
    with pytest.raises(SaaneError, match="`only`, `without`"):
        read_rows(PlaceSource("cameras", "cams", only=("camera9",)), tmp_path, None)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_augmentations_keep_shape_and_type_and_are_repeatable(seed: int) -> None:
    image = picture(seed)

    def draw() -> np.ndarray:
        style, own = np.random.default_rng(seed), np.random.default_rng(seed + 1)
        return augmented(image, Augmentation(), style, own)

    result = draw()
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, draw())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_night_is_darker_and_its_upper_part_darkest(seed: int) -> None:
    image = np.full((60, 80, 3), 170, np.uint8)
    style, own = np.random.default_rng(seed), np.random.default_rng(seed)
    night = synthetic_night(image, style, own)
    assert np.median(night) < 0.5 * 170
    assert np.median(night[:6]) < np.median(night[-6:])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_viewpoint_shift_moves_no_pixel_further_than_it_may(seed: int) -> None:
    rows = np.tile(np.linspace(0, 200, 100)[:, None], (1, 120)).astype(np.uint8)
    image = rows[..., None].repeat(3, 2)
    shifted = viewpoint_shift(image, np.random.default_rng(seed), 0.08)
    moved = np.abs(shifted.astype(int) - image.astype(int)).max()
    assert moved <= 200 * 0.08 + 3
    assert viewpoint_shift(image, np.random.default_rng(seed), 0.0) is image


def test_occluders_leave_most_of_the_image_and_take_only_its_own_pixels() -> None:
    image = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80, 1).repeat(3, 2).astype(np.uint8)
    changed = [
        (occluded(image, np.random.default_rng(seed), 2) != image).any(axis=2).mean()
        for seed in range(30)
    ]
    assert min(changed) == 0.0
    assert 0.01 < max(changed) < 0.2


@pytest.mark.parametrize("seed", range(5))
def test_a_window_slides_to_the_side_by_its_share_and_stays_in_the_image(seed: int) -> None:
    random = np.random.default_rng(seed)
    for window in ((0.25, 0.4, 0.25, 0.6), (0.0, 0.0, 1.0, 1.0), (0.75, 0.0, 0.25, 1.0)):
        left, top, width, height = slid(window, 0.25, random)
        assert (top, height) == window[1::2]
        assert 0 <= left <= left + width <= 1 + 1e-12
        assert 0.75 * window[2] <= width <= window[2]
        moved = left + width / 2 - window[0] - window[2] / 2
        assert abs(moved) <= 0.25 * window[2] + 1e-12
    assert slid((0.1, 0.2, 0.3, 0.4), 0.0, random) == (0.1, 0.2, 0.3, 0.4)


def test_no_strength_is_no_change_of_light() -> None:
    image = picture(1)
    unchanged = photometric(image, np.random.default_rng(0), strength=0.0)
    assert np.abs(unchanged.astype(int) - image.astype(int)).max() <= 1


def test_a_batch_takes_its_groups_and_gives_them_the_same_occasions() -> None:
    labels = np.repeat(np.arange(12), 8)
    groups = labels // 4
    occasions = np.tile(np.arange(8), 12)
    sampler = ClassBatchSampler(
        labels, 8, 4, groups, occasions, groups=2, same_occasions=True, seed=1
    )
    for _ in range(20):
        batch = sampler.draw()
        assert len(batch) == 32
        chosen = labels[batch].reshape(8, 4)
        assert (chosen == chosen[:, :1]).all()
        assert len(set(chosen[:, 0])) == 8
        assert len(set(groups[batch])) == 2
        for group in set(groups[batch]):
            rows = batch.reshape(8, 4)[groups[batch].reshape(8, 4)[:, 0] == group]
            assert len({tuple(occasions[row]) for row in rows}) == 1


def test_source_weights_set_how_often_a_source_is_taken() -> None:
    labels = np.repeat(np.arange(40), 4)
    groups = labels.copy()
    sources = (labels >= 10).astype(np.int64)
    sampler = ClassBatchSampler(
        labels, 1, 4, groups, None, sources, groups=1, source_weights=[3.0, 1.0], seed=0
    )
    share = np.mean([sources[sampler.draw()[0]] == 0 for _ in range(2000)])
    assert share == pytest.approx(0.75, abs=0.03)


def test_weights_count_without_groups_too_and_nothing_comes_of_a_weight_of_zero() -> None:
    labels = np.repeat(np.arange(60), 4)
    sources = labels // 20
    sampler = ClassBatchSampler(
        labels, 4, 4, labels, None, sources, source_weights=[3.0, 1.0, 0.0], seed=0
    )
    drawn = np.concatenate([sources[sampler.draw()] for _ in range(2000)])
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    np.testing.assert_allclose(shares, [0.75, 0.25, 0.0], atol=0.02)
    exhausting = ClassBatchSampler(
        labels, 50, 4, labels, None, sources, source_weights=[1.0, 1e-9, 0.0], seed=0
    )
    assert np.bincount(sources[exhausting.draw()], minlength=3).tolist() == [80, 80, 0]
    for wrong in ([0.0, 0.0, 0.0], [1.0, -1.0, 1.0], [1.0, float("nan"), 1.0]):
        with pytest.raises(SaaneError, match="one above it"):
            ClassBatchSampler(labels, 4, 4, labels, None, sources, source_weights=wrong)


def test_folds_part_the_places_of_a_source(tmp_path: Path) -> None:
    for camera in range(7):
        folder = tmp_path / "cams" / f"c{camera}"
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "a.png"), np.zeros((4, 4, 3), np.uint8))
    kept = read_rows(PlaceSource("cameras", "cams", fold=(1, 3)), tmp_path, None)
    rest = read_rows(PlaceSource("cameras", "cams", without_fold=(1, 3)), tmp_path, None)
    assert {row.place for row in kept} == {"c1", "c4"}
    assert {row.place for row in rest} == {"c0", "c2", "c3", "c5", "c6"}


def test_places_with_one_image_are_left_out_and_one_place_is_too_few() -> None:
    sampler = ClassBatchSampler([0, 0, 1, 2, 2], 16, 4)
    assert {0, 2} == {[0, 0, 1, 2, 2][index] for index in sampler.draw()}
    with pytest.raises(SaaneError, match="two places or more"):
        ClassBatchSampler([0, 0, 1, 2])
