"""Which frames become places."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.data.selection import Selector, select
from saane_ros.errors import SaaneError
from saane_ros.types import Frame

IMAGE = np.zeros((1, 1, 3), np.uint8)


def drive(count: int, metres: float, seconds: float) -> list[Frame]:
    return [
        Frame(IMAGE, round(i * seconds * 1e9), str(i), travelled=i * metres) for i in range(count)
    ]


def test_without_a_step_every_frame_is_taken() -> None:
    assert len(list(select(drive(7, 0.0, 0.1)))) == 7


def test_every_so_many_metres_and_seconds() -> None:
    frames = drive(101, metres=0.1, seconds=0.05)
    assert [f.name for f in select(frames, every_metres=2.0)] == [
        "0",
        "20",
        "40",
        "60",
        "80",
        "100",
    ]
    assert [f.name for f in select(frames, every_seconds=2.5)] == ["0", "50", "100"]


@given(st.lists(st.floats(0, 5), max_size=60), st.floats(0.01, 20))
def test_taken_frames_are_apart_and_no_gap_is_left(steps: list[float], every: float) -> None:
    positions = [0.0, *np.cumsum(steps).tolist()]
    selector = Selector(every_metres=every)
    taken = [p for i, p in enumerate(positions) if selector.keep(i, p)]
    assert taken[0] == 0.0
    gaps = np.diff(taken)
    assert (gaps >= every - 2e-3).all()
    assert (gaps < every + 5.0).all()


@pytest.mark.parametrize("every", [0.0, -1.0, float("nan"), float("inf")])
def test_a_step_must_be_a_length(every: float) -> None:
    with pytest.raises(SaaneError, match="give a number above 0"):
        Selector(every_metres=every)


def test_both_steps_and_missing_distances_are_told() -> None:
    with pytest.raises(SaaneError, match="give one"):
        Selector(1.0, 1.0)
    with pytest.raises(SaaneError, match="need a pose or odometry"):
        Selector(every_metres=1.0).keep(0)
