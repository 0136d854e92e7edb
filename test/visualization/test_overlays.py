from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import smooth_scene

from saane_ros.errors import SaaneError
from saane_ros.visualization import class_colours, overlay_attention, overlay_labels

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


def test_attention_overlay_is_the_blend_of_image_and_enlarged_map() -> None:
    image = smooth_scene(1, 24, 40)
    attention = np.random.default_rng(0).random((3, 5)).astype(np.float32)
    levels = np.rint(bilinear(attention, 24, 40) * 255).astype(int)
    expected = 0.7 * image + 0.3 * inferno(levels).astype(float)
    shown = overlay_attention(image, attention, 0.3).astype(float)
    assert np.abs(shown - expected).max() <= 2.0  # one level of the map, one of rounding


def test_opacity_zero_is_the_image_and_one_is_the_map_alone() -> None:
    image = smooth_scene(2, 20, 30)
    attention = np.full((2, 3), 0.5, np.float32)
    np.testing.assert_array_equal(overlay_attention(image, attention, 0.0), image)
    np.testing.assert_array_equal(
        overlay_attention(image, attention, 1.0),
        np.broadcast_to(inferno(np.array(128)), image.shape),
    )


def test_a_map_is_shown_on_the_absolute_scale_unless_stretching_is_asked_for() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    attention = np.array([[0.4, 0.4], [0.4, 0.6]], np.float32)
    plain = overlay_attention(image, attention, 1.0)
    np.testing.assert_array_equal(plain[0, 0], inferno(np.array(102)))
    np.testing.assert_array_equal(plain[-1, -1], inferno(np.array(153)))
    stretched = overlay_attention(image, attention, 1.0, stretch=True)
    np.testing.assert_array_equal(stretched[0, 0], inferno(np.array(0)))
    np.testing.assert_array_equal(stretched[-1, -1], inferno(np.array(255)))


def test_a_flat_map_and_one_with_nan_are_drawn() -> None:
    image = smooth_scene(3, 10, 10)
    flat = overlay_attention(image, np.full((3, 3), 0.7, np.float32), 1.0, stretch=True)
    np.testing.assert_array_equal(flat[5, 5], inferno(np.array(0)))
    holes = overlay_attention(image, np.full((3, 3), np.nan, np.float32), 1.0)
    np.testing.assert_array_equal(holes[5, 5], inferno(np.array(0)))


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
