"""Which frames become places."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.data.selection import Selector
from saane_ros.errors import SaaneError


def taken(count: int, metres: float, seconds: float, selector: Selector) -> list[int]:
    """Which frames of a steady drive are kept, by number."""
    return [i for i in range(count) if selector.keep(round(i * seconds * 1e9), i * metres)]


def test_without_a_step_every_frame_is_taken() -> None:
    assert taken(7, 0.0, 0.1, Selector()) == list(range(7))


def test_every_so_many_metres_and_seconds() -> None:
    assert taken(101, 0.1, 0.05, Selector(every_metres=2.0)) == [0, 20, 40, 60, 80, 100]
    assert taken(101, 0.1, 0.05, Selector(every_seconds=2.5)) == [0, 50, 100]


@given(st.lists(st.floats(0, 5), max_size=60), st.floats(0.01, 20))
def test_taken_frames_are_apart_and_no_gap_is_left(steps: list[float], every: float) -> None:
    positions = [0.0, *np.cumsum(steps).tolist()]
    selector = Selector(every_metres=every)
    kept = [p for i, p in enumerate(positions) if selector.keep(i, p)]
    assert kept[0] == 0.0
    gaps = np.diff(kept)
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
