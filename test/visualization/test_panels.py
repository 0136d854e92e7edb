from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.types import Candidates, Match, MatchState, Place
from saane_ros.visualization import (
    Tile,
    class_colours,
    match_caption,
    match_headline,
    overlay_attention,
    overlay_labels,
    overview,
    side_by_side,
    stacked,
)
from saane_ros.visualization.overview import STATE_COLOURS


@pytest.fixture
def match() -> Match:
    return Match(
        stamp_ns=0,
        state=MatchState.LOCALIZED,
        place=Place(id=42, name="day/000042", stamp_ns=0),
        distance=3.2111,
        ratio=1.1239,
        confidence=0.934,
        off_route=0.1,
        candidates=Candidates(np.array([42]), np.array([3.2111], np.float32), 1.1239),
        probabilities=np.ones(1, np.float32),
    )


def test_headline_and_caption_name_state_place_and_numbers(match: Match) -> None:
    assert match_headline(match) == "LOCALIZED   93% sure"
    assert match_headline(replace(match, confidence=0.998)) == "LOCALIZED   >99% sure"
    caption = match_caption(match)
    for part in ("place 42 day/000042", "3.21", "1.124", "off the route 10%"):
        assert part in caption


def test_pictures_keep_their_pixels_at_their_own_height() -> None:
    left, right = smooth_scene(1, 60, 80), smooth_scene(2, 60, 80)
    board = side_by_side([Tile("a", left), Tile("b", right)], "caption", tile_height=60)
    top = board.shape[0] - 60 - 18
    assert board.shape == (16 + 60 + 18, 80 + 4 + 80, 3)
    np.testing.assert_array_equal(board[top : top + 60, :80], left)
    np.testing.assert_array_equal(board[top : top + 60, 84:], right)


def test_tiles_wrap_into_rows_and_the_last_row_is_filled() -> None:
    tiles = [Tile(str(i), smooth_scene(i, 30, 40)) for i in range(3)]
    board = side_by_side(tiles, "", tile_height=30, columns=2)
    assert board.shape == (2 * (16 + 30) + 4, 40 + 4 + 40, 3)


def test_text_is_written_and_stays_inside_its_strip_however_long() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    board = side_by_side([Tile("t" * 200, image)], "c" * 500, tile_height=60)
    assert board.shape[1] == 80
    assert (board[:16].max(axis=2) > 100).any()
    assert (board[-18:].max(axis=2) > 100).any()
    assert board[-18:, -1].max() < 60
    assert board[-1].max() < 60


def test_a_place_without_a_picture_leaves_its_field_empty(
    match: Match, colour_grid: ColourGridEmbedder
) -> None:
    query = smooth_scene(4, 60, 80)
    picture = overview(query, colour_grid.embed([query])[0], None, match, tile_height=60)
    np.testing.assert_array_equal(picture[40:100, :80], query)
    assert len(np.unique(picture[45:95, 90:].reshape(-1, 3), axis=0)) == 1


def test_overview_shows_the_state_query_place_attention_and_labels(
    match: Match, colour_grid: ColourGridEmbedder
) -> None:
    query, place = smooth_scene(5, 240, 320), smooth_scene(6, 240, 320)
    embedding = colour_grid.embed([query], attention=True, labels=True)[0]
    names = colour_grid.class_names
    picture = overview(query, embedding, place, match, names, opacity=0.4)
    assert embedding.labels is not None
    top = 48 + 24  # headline, title
    np.testing.assert_array_equal(picture[top : top + 240, :320], query)
    np.testing.assert_array_equal(picture[top : top + 240, 324:644], place)
    share = (picture[:48].reshape(-1, 3) == STATE_COLOURS[MatchState.LOCALIZED]).all(axis=1).mean()
    assert share > 0.8
    top += 240 + 16
    width = round(320 * 160 / 240)
    small = cv2.resize(query, (width, 160), interpolation=cv2.INTER_AREA)
    labelled = overlay_labels(query, embedding.labels, names, 0.4)
    expected = [
        overlay_attention(small, embedding.attention["appearance"], 0.4),
        overlay_attention(small, embedding.attention["semantic"], 0.4),
        cv2.resize(labelled, (width, 160), interpolation=cv2.INTER_AREA),
    ]
    for i, tile in enumerate(expected):
        left = (width + 4) * i
        np.testing.assert_array_equal(picture[top : top + 160, left : left + width], tile)
    assert picture.shape == (48 + 264 + 176 + 24, 3 * width + 8, 3)


def test_an_embedder_without_maps_has_query_and_place_alone(
    match: Match, colour_grid: ColourGridEmbedder
) -> None:
    query, place = smooth_scene(7, 50, 70), smooth_scene(8, 50, 70)
    picture = overview(query, colour_grid.embed([query])[0], place, match, tile_height=50)
    assert picture.shape == (24 + 16 + 50 + 18, 70 + 4 + 70, 3)


def test_pictures_of_several_widths_are_stacked_to_the_left() -> None:
    wide, narrow = smooth_scene(1, 10, 40), smooth_scene(2, 20, 30)
    board = stacked([wide, narrow])
    assert board.shape == (30, 40, 3)
    np.testing.assert_array_equal(board[:10], wide)
    np.testing.assert_array_equal(board[10:, :30], narrow)
    assert (board[10:, 30:] == board[29, 39]).all()


def test_a_picture_of_another_shape_is_scaled_to_the_common_height() -> None:
    wide = smooth_scene(9, 40, 160)
    board = side_by_side([Tile("", wide), Tile("", smooth_scene(9, 80, 80))], "", tile_height=20)
    small = cv2.resize(wide, (80, 20), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(board[16:36, :80], small)
    assert class_colours([]).shape == (0, 3)
