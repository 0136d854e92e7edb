"""Which frames the report shows, and in what shape."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import smooth_scene

from saane_ros.demo.pictures import balanced, chosen_answers, evenly, frame_board
from saane_ros.demo.scoring import Answer


def answer(query: int, nearest: int, place: int) -> Answer:
    return Answer(
        query=query,
        state="localized",
        place=place,
        confidence=1.0,
        candidates=np.array([nearest]),
        distances=np.ones(1),
        ratio=1.0,
        inference_ms=1.0,
    )


@given(st.lists(st.integers(), max_size=40, unique=True), st.integers(0, 10))
def test_a_spread_keeps_order_ends_and_number(items: list[int], count: int) -> None:
    found = evenly(items, count)
    assert len(found) == min(count, len(items))
    assert [item for item in items if item in found] == found
    if count >= 2 and len(items) >= 2:
        assert (found[0], found[-1]) == (items[0], items[-1])


@given(st.integers(1, 12), st.floats(0.3, 6.0))
def test_rows_are_as_few_and_as_full_as_can_be(count: int, aspect: float) -> None:
    columns = balanced(count, aspect)
    rows = -(-count // columns)
    assert columns * aspect <= 6.8 or columns <= 2
    fitting = [c for c in range(1, count + 1) if c * aspect <= 6.8 or c <= 2]
    assert rows == min(-(-count // c) for c in fitting)


def test_right_ones_are_right_twice_and_wrong_ones_come_before_rescued_ones() -> None:
    correct = [np.array([n]) for n in range(10)]
    correct[9] = np.zeros(0, np.int64)  # no place in the map
    answers = [answer(n, nearest=n, place=n) for n in range(4)]
    answers += [answer(4, nearest=0, place=4), answer(5, nearest=0, place=5)]
    answers += [answer(6, nearest=6, place=0), answer(7, nearest=0, place=0)]
    answers += [answer(8, nearest=8, place=8), answer(9, nearest=9, place=9)]
    everything = range(len(answers))
    assert chosen_answers(answers, correct, everything) == ([0, 1, 2, 3, 8], [4, 5, 6, 7])
    assert chosen_answers(answers, correct, everything, good=2, bad=3) == ([0, 8], [4, 6, 7])
    assert chosen_answers(answers, correct, [1, 6]) == ([1], [6])


@pytest.mark.parametrize(("width", "columns"), [(80, 3), (240, 2)])
def test_a_board_shows_the_query_and_every_published_picture(width: int, columns: int) -> None:
    query = smooth_scene(1, 60, width)
    published = cv2.imencode(".jpg", np.full((60, width, 3), 200, np.uint8))[1].tobytes()
    pictures = {"segmentation": published, "attention/semantic": published, "other": b"unused"}
    board = frame_board(query, pictures, "a caption")
    tile_width = 3 * width  # enlarged from 60 to 180 pixels of height
    assert board.shape[1] == columns * tile_width + 4 * (columns - 1)
    grey = (np.abs(board.astype(int) - 200) <= 3).all(axis=2).sum()
    assert grey == pytest.approx(2 * 180 * tile_width, rel=0.02)
