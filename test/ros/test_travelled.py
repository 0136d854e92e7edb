from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.ros.travelled import TravelledDistance

S = 1_000_000_000


@given(
    steps=st.lists(
        st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=40
    ),
    at=st.floats(0, 1),
)
def test_distance_is_the_sum_of_steps_and_linear_between(
    steps: list[tuple[float, float, float]], at: float
) -> None:
    positions = np.vstack([np.zeros(3), np.cumsum(np.array(steps), axis=0)])
    track = TravelledDistance()
    for index, position in enumerate(positions):
        track.add(index * S // 10, tuple(position))
    naive = [0.0]
    for before, after in itertools.pairwise(positions):
        naive.append(naive[-1] + math.dist(before, after))
    stamp = round(at * len(steps) * S / 10)
    expected = np.interp(stamp, [i * S // 10 for i in range(len(naive))], naive)
    assert track.at(stamp) == pytest.approx(expected, abs=1e-6)


def test_no_odometry_near_the_image_is_no_distance() -> None:
    track = TravelledDistance()
    assert track.at(0) is None
    track.add(10 * S, (0.0, 0.0, 0.0))
    track.add(11 * S, (3.0, 4.0, 0.0))
    assert track.at(11 * S) == 5.0
    assert track.at(int(11.9 * S)) == 5.0
    assert track.at(13 * S) is None
    assert track.at(8 * S) is None


def test_jumps_and_bad_positions_do_not_count() -> None:
    track = TravelledDistance()
    track.add(0, (0.0, 0.0, 0.0))
    track.add(S, (5.0, 0.0, 0.0))
    track.add(S, (9.0, 0.0, 0.0))  # repeated stamp
    track.add(2 * S, (math.nan, 0.0, 0.0))
    track.add(3 * S, (1e6, 0.0, 0.0))  # reset of the odometry
    track.add(4 * S, (1e6 + 2, 0.0, 0.0))
    assert track.at(4 * S) == pytest.approx(7.0)


def test_a_bag_played_again_goes_on_measuring() -> None:
    track = TravelledDistance()
    track.add(100 * S, (0.0, 0.0, 0.0))
    track.add(101 * S, (5.0, 0.0, 0.0))
    track.add(50 * S, (0.0, 0.0, 0.0))
    track.add(51 * S, (2.0, 0.0, 0.0))
    assert track.at(51 * S) == pytest.approx(7.0)
