"""16-bit images: few bits that count, thermal cameras, and a look that stays steady."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_pixels import span, stretched
from scenes import smooth_scene

from saane_ros.data.frame_check import image_fault
from saane_ros.messages.image import ImageDecoder
from saane_ros.messages.stretch import Stretch, stretched_alone

SECOND = 10**9
SCENE = smooth_scene(5)[..., 1].astype(np.uint16)


def mono16(values: np.ndarray) -> SimpleNamespace:
    height, width = values.shape
    return SimpleNamespace(
        height=height,
        width=width,
        encoding="mono16",
        is_bigendian=0,
        step=2 * width,
        data=values.astype("<u2").tobytes(),
    )


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_a_scene_looks_the_same_whatever_bits_count(bits: int) -> None:
    shown = stretched_alone(SCENE << (bits - 8), True)
    np.testing.assert_allclose(shown, stretched(SCENE << (bits - 8), True), atol=1)
    assert np.abs(shown.astype(int) - stretched_alone(SCENE << 8, True)).max() <= 1
    assert shown.std() > 0.9 * SCENE.std()


def test_a_thermal_camera_is_no_flat_grey() -> None:
    kelvin = 29_800 + SCENE // 8
    shown = stretched_alone(kelvin, True)
    assert shown.min() == 0
    assert shown.max() == 255
    # Order is kept: what is warmer is not darker.
    warmer = np.diff(shown.ravel()[np.argsort(kelvin.ravel(), kind="stable")].astype(int))
    assert warmer.min() >= 0


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    low=st.integers(0, 65_000),
    levels=st.integers(1, 60_000),
    grey=st.booleans(),
    seed=st.integers(0, 999),
)
def test_it_is_the_naive_stretch(height, width, low, levels, grey, seed) -> None:
    rng = np.random.default_rng(seed)
    values = np.minimum(low + rng.integers(0, levels, (height, width)), 65_535).astype(np.uint16)
    shown = stretched_alone(values, grey).astype(int)
    assert np.abs(shown - stretched(values, grey)).max() <= 1
    # The first image of a drive is stretched by itself.
    np.testing.assert_array_equal(Stretch().to_8_bit(7, values, grey), shown)


def test_dead_and_glaring_pixels_move_nothing() -> None:
    spoilt = SCENE << 4
    spoilt[::17, ::13] = 65_535
    spoilt[::19, ::23] = 0
    before, after = stretched_alone(SCENE << 4, True), stretched_alone(spoilt, True)
    same = spoilt == SCENE << 4
    assert np.abs(before.astype(int) - after)[same].max() <= 12


def test_a_covered_camera_stays_black() -> None:
    noise = np.random.default_rng(0).integers(0, 5, (60, 80)).astype(np.uint16)
    assert image_fault(ImageDecoder().rgb(mono16(noise), False, 0)) == "the image is black"


def test_a_large_image_is_judged_by_samples_of_all_colours() -> None:
    mosaic = np.full((1201, 1603), 800, np.uint16)
    mosaic[1::2, 1::2] = 4000  # one colour of four
    assert stretched_alone(mosaic, False)[1, 1] == 255
    assert stretched_alone(mosaic, False)[0, 0] == round(800 * 255 / 4000)


def test_alpha_is_no_brightness() -> None:
    colours = np.dstack([SCENE << 4] * 3 + [np.full_like(SCENE, 65_535)])
    np.testing.assert_array_equal(
        stretched_alone(colours, False)[..., :3], stretched_alone(colours[..., :3], False)
    )


def warm_drive(frames: int) -> list[np.ndarray]:
    """The same wall ten times a second, past which something hot goes in frames 20 to 40."""
    walls = []
    for number in range(frames):
        wall = 29_800 + SCENE.copy() // 2
        if 20 <= number < 40:
            wall[:, 8 * (number - 20) % 120 :][:, :12] = 31_000
        walls.append(wall)
    return walls


def test_something_hot_that_passes_does_not_make_the_rest_flicker() -> None:
    decoder, wall = ImageDecoder(), 29_800 + SCENE // 2
    levels = []
    for number, values in enumerate(warm_drive(60)):
        shown = decoder.rgb(mono16(values), False, number * SECOND // 10)[..., 0]
        levels.append(shown[values == wall].mean())
        alone = stretched_alone(values, True)[values == wall].mean()
        if 20 <= number < 40:
            assert alone < 0.3 * levels[0]  # without a memory all the rest turns dark
    assert np.abs(np.diff(levels)).max() < 6
    assert min(levels) > 0.75 * levels[0]


def test_the_span_follows_the_quantiles_with_its_time_constant() -> None:
    """A sun that rises within the span; the span is recomputed by its differential equation."""
    stretch = Stretch()
    first, later = SCENE * 20, SCENE * 12 + 900
    stretch.to_8_bit(0, first, True)
    for tenth in range(1, 101):
        shown = stretch.to_8_bit(tenth * SECOND // 10, later, True)
    old, new = (span(sorted(values.ravel().tolist()), True) for values in (first, later))
    low, high = (b + (a - b) * np.exp(-1.0) for a, b in zip(old, new, strict=True))
    expected = np.clip((later - low) * 255 / (high - low), 0, 255)
    assert np.abs(shown - expected).max() < 1.5


@pytest.mark.parametrize("every", [2, 5, 10])
def test_a_drive_looks_alike_at_every_rate(every: int) -> None:
    """A map keeps fewer images than a camera sends: time counts, not the number of images."""
    drive = [(n * SECOND // 10, SCENE * 20 + 15 * n) for n in range(300)]
    all_, some = Stretch(), Stretch()
    seen = {stamp: all_.to_8_bit(stamp, values, True) for stamp, values in drive}
    for stamp, values in drive[::every]:
        difference = some.to_8_bit(stamp, values, True).astype(int) - seen[stamp]
        assert np.abs(difference).max() <= 4


def test_another_exposure_and_another_drive_begin_anew() -> None:
    stretch = Stretch()
    stretch.to_8_bit(50 * SECOND, SCENE * 4, True)
    brighter = stretch.to_8_bit(50 * SECOND + 1, SCENE * 4 + 5_000, True)
    np.testing.assert_array_equal(brighter, stretched_alone(SCENE * 4 + 5_000, True))
    again = [Stretch(), stretch]
    for number in range(5):
        first, second = (s.to_8_bit(number * SECOND, SCENE * (number + 9), True) for s in again)
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("stamps", [[0, 0, 0], [0, 10**18, 5], [10**18, 0, 7], [5, 4, 3]])
def test_stamps_that_jump_spoil_nothing(stamps: list[int]) -> None:
    stretch = Stretch()
    for stamp in stamps:
        shown = stretch.to_8_bit(stamp, SCENE * 16, True)
        np.testing.assert_array_equal(shown, stretched_alone(SCENE * 16, True))


def test_a_first_image_that_is_broken_is_forgotten_at_the_next() -> None:
    decoder = ImageDecoder()
    black = decoder.rgb(mono16(np.zeros_like(SCENE)), False, 0)
    assert image_fault(black) == "the image is black"
    shown = decoder.rgb(mono16(29_800 + SCENE), False, SECOND // 10)
    grey = cv2.cvtColor(stretched_alone(29_800 + SCENE, True), cv2.COLOR_GRAY2RGB)
    np.testing.assert_array_equal(shown, grey)
