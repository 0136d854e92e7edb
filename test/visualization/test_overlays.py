from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import smooth_scene

from saane_ros.errors import SaaneError
from saane_ros.visualization import (
    attention_tile,
    class_colours,
    overlay_attention,
    overlay_labels,
)
from saane_ros.visualization.attention import ends

STREET = ("road", "pavement", "building", "tree", "sky", "car", "bus", "person", "lane marking")


def bilinear(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear enlargement with pixel centres at (i + 0.5) and repeated borders, by loops."""
    rows, columns = values.shape
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * rows / height - 0.5, 0), rows - 1)
            u = min(max((x + 0.5) * columns / width - 0.5, 0), columns - 1)
            v0, u0 = int(v), int(u)
            v1, u1 = min(v0 + 1, rows - 1), min(u0 + 1, columns - 1)
            top = values[v0, u0] * (u0 + 1 - u) + values[v0, u1] * (u - u0)
            bottom = values[v1, u0] * (u0 + 1 - u) + values[v1, u1] * (u - u0)
            out[y, x] = top * (v0 + 1 - v) + bottom * (v - v0)
    return out


def inferno(levels: np.ndarray) -> np.ndarray:
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)
    return table[levels, 0, ::-1]


STRIP = 14
"""Height of the scale of a small picture."""


def test_attention_overlay_is_the_blend_of_image_and_enlarged_map_over_its_scale() -> None:
    image = smooth_scene(1, 44, 60)
    attention = (0.3 + 0.2 * np.random.default_rng(0).random((3, 5))).astype(np.float32)
    stretched = (attention - attention.min()) / (attention.max() - attention.min())
    levels = np.rint(bilinear(stretched, 44, 60) * 255).astype(int)
    expected = 0.7 * image + 0.3 * inferno(levels).astype(float)
    shown = overlay_attention(image, attention, 0.3).astype(float)
    assert shown.shape == image.shape
    difference = np.abs(shown - expected)[:-STRIP]
    assert difference.max() <= 2.0  # one level of the map, one of rounding


def test_opacity_zero_is_the_image_and_one_is_the_map_alone() -> None:
    image = smooth_scene(2, 40, 60)
    attention = np.array([[0.2, 0.2, 0.6]], np.float32)
    shown = overlay_attention(image, attention, 0.0)
    np.testing.assert_array_equal(shown[:-STRIP], image[:-STRIP])
    assert not np.array_equal(shown[-STRIP:], image[-STRIP:])
    alone = overlay_attention(image, attention, 1.0)
    np.testing.assert_array_equal(alone[0, 0], inferno(np.array(0)))
    np.testing.assert_array_equal(alone[0, -1], inferno(np.array(255)))


@pytest.mark.parametrize(("height", "width"), [(240, 320), (960, 1280), (48, 64)])
def test_the_scale_shows_the_colours_in_order_between_figures(height: int, width: int) -> None:
    """Its middle row walks from black to pale yellow; ink stands on both sides of it."""
    image = np.full((height, width, 3), 90, np.uint8)
    shown = overlay_attention(image, np.array([[0.25, 0.75]], np.float32), 0.5)
    strip = shown[-max(STRIP, height // 12) :]
    middle = strip[len(strip) // 2].astype(int)
    colours = inferno(np.arange(256)).astype(int)
    nearest = np.abs(middle[:, None] - colours[None]).sum(axis=2)
    bar = np.flatnonzero(nearest.min(axis=1) == 0)
    levels = nearest[bar].argmin(axis=1)
    assert len(bar) > width // 5
    assert levels[0] <= 8
    assert levels[-1] >= 247
    inside = strip[:, bar[0] : bar[-1] + 1]
    assert (np.diff(nearest[bar[0] : bar[-1] + 1].argmin(axis=1)) >= 0).all()
    assert inside.shape[1] == len(bar)
    for side in (strip[:, : bar[0]], strip[:, bar[-1] + 1 :]):
        assert (side.min(axis=2) > 150).any()


def test_a_given_scale_is_absolute_and_not_drawn() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    attention = np.array([[0.4, 0.4], [0.4, 0.6]], np.float32)
    shown = overlay_attention(image, attention, 1.0, (0.0, 1.0))
    np.testing.assert_array_equal(shown[0, 0], inferno(np.array(102)))
    np.testing.assert_array_equal(shown[-1, -1], inferno(np.array(153)))


def test_the_figures_of_two_ranges_differ() -> None:
    image = np.full((240, 320, 3), 90, np.uint8)
    one, other = (
        overlay_attention(image, np.array([[low, 0.75]], np.float32), 0.5)[-20:]
        for low in (0.25, 0.31)
    )
    assert not np.array_equal(one[:, :50], other[:, :50])
    np.testing.assert_array_equal(one[:, 60:], other[:, 60:])


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0.0, 1.0, ("0.00", "1.00")),
        (0.031, 0.544, ("0.03", "0.54")),
        (0.4971, 0.5034, ("0.4971", "0.5034")),
        (0.5, 0.5, ("0.50", "0.50")),
        (0.5, 0.50002, ("0.50000", "0.50002")),
    ],
)
def test_ends_are_told_as_precisely_as_tells_them_apart(
    low: float, high: float, told: tuple[str, str]
) -> None:
    assert ends(low, high) == told


@given(st.floats(0, 1), st.floats(0, 1))
def test_ends_of_a_range_differ_wherever_their_five_decimals_do(one: float, other: float) -> None:
    low, high = sorted((one, other))
    first, last = ends(low, high)
    assert (first == last) == (f"{low:.5f}" == f"{high:.5f}")
    assert abs(float(first) - low) <= 0.0051
    assert abs(float(last) - high) <= 0.0051


def test_a_tile_is_drawn_at_its_height_and_its_title_tells_the_range() -> None:
    image = smooth_scene(4, 480, 640)
    attention = np.array([[0.25, 0.75]], np.float32)
    tile = attention_tile("appearance attention", image, attention, 0.4, 160)
    assert tile.title == "appearance attention 0.25 to 0.75"
    small = cv2.resize(image, (213, 160), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(tile.image, overlay_attention(small, attention, 0.4))


def test_a_flat_map_one_with_nan_and_a_tiny_picture_are_drawn() -> None:
    image = smooth_scene(3, 40, 40)
    flat = overlay_attention(image, np.full((3, 3), 0.7, np.float32), 1.0)
    np.testing.assert_array_equal(flat[5, 5], inferno(np.array(0)))
    holes = overlay_attention(image, np.full((3, 3), np.nan, np.float32), 1.0)
    np.testing.assert_array_equal(holes[5, 5], inferno(np.array(0)))
    for shape in ((1, 1), (3, 5), (10, 200), (200, 10)):
        tiny = smooth_scene(3, *shape)
        shown = overlay_attention(tiny, np.ones((2, 2), np.float32), 0.0)
        np.testing.assert_array_equal(shown, tiny)


def test_opacity_outside_its_range_is_refused() -> None:
    with pytest.raises(SaaneError, match="opacity is 1"):
        overlay_attention(smooth_scene(0), np.zeros((2, 2), np.float32), 1.5)


def test_label_overlay_shows_each_pixel_in_the_colour_of_its_class() -> None:
    image = np.full((4, 6, 3), 100, np.uint8)
    labels = np.array([[0, 1, 2], [3, 4, 200]], np.uint8)
    shown = overlay_labels(image, labels, STREET, 0.5)
    palette = class_colours(STREET)
    for y in range(4):
        for x in range(6):
            label = labels[y // 2, x // 2]
            colour = palette[label] if label < len(STREET) else np.zeros(3)
            np.testing.assert_allclose(shown[y, x], 50 + colour / 2, atol=0.5)


def test_street_classes_have_the_customary_colours_under_every_spelling() -> None:
    colours = class_colours(["Road", "road, route", "Lane_Marking", "tree;tree"])
    assert colours[0].tolist() == [128, 64, 128]
    assert colours[2].tolist() == [255, 255, 255]
    assert colours[3].tolist() == [107, 142, 35]


@given(st.lists(st.text(max_size=8), max_size=150))
def test_every_class_has_a_colour_of_its_own(names: list[str]) -> None:
    colours = class_colours(names)
    assert colours.shape == (len(names), 3)
    assert colours.dtype == np.uint8
    assert len({tuple(colour) for colour in colours.tolist()}) == len(names)
    np.testing.assert_array_equal(colours, class_colours(names))
