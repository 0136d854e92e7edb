from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saane_ros.ros.intake.travelled import TravelledDistance

S = 1_000_000_000
HZ = 50
STEP = S // HZ
NONE = (0.0, 0.0, 0.0, 0.0)


def yawed(yaw: float, size: float = 1.0) -> tuple[float, float, float, float]:
    return (0.0, 0.0, size * math.sin(yaw / 2), size * math.cos(yaw / 2))


def fed(positions: np.ndarray, yaws: np.ndarray | None = None, start: int = 0) -> TravelledDistance:
    track = TravelledDistance()
    for index, position in enumerate(positions):
        turn = yawed(float(yaws[index])) if yaws is not None else NONE
        track.add(start + index * STEP, position.tolist(), turn)
    return track


def drive(speeds: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 3) and yaws (n,) of a body at 50 Hz, by its speeds and rates of turn."""
    yaws = np.cumsum(turns) / HZ
    moves = speeds[:, None] / HZ * np.stack([np.cos(yaws), np.sin(yaws), 0 * yaws], axis=1)
    return np.cumsum(moves, axis=0), yaws


@given(
    parts=st.lists(st.tuples(st.floats(-4, 15), st.floats(-0.5, 0.5)), min_size=1, max_size=6),
    share=st.floats(0, 1),
)
@settings(max_examples=40)
def test_metres_are_the_speed_along_the_heading_summed(
    parts: list[tuple[float, float]], share: float
) -> None:
    speeds = np.interp(np.arange(len(parts) * HZ) / HZ, range(len(parts)), [p[0] for p in parts])
    positions, yaws = drive(speeds, np.repeat([p[1] for p in parts], HZ))
    track = fed(positions, yaws)
    row = round(share * (len(speeds) - 1))
    naive = float(speeds[1 : row + 1].sum()) / HZ
    way = float(np.abs(speeds[: row + 1]).sum()) / HZ
    assert track.at(row * STEP) == pytest.approx(naive, abs=0.03 + 2e-3 * way)
    assert track.faults() == {}


def test_backwards_is_negative_and_without_orientation_it_counts_up() -> None:
    x = np.concatenate([np.linspace(0, 3, 150), np.linspace(3, 1, 100)])
    positions = np.column_stack([x, 0 * x, 0 * x])
    end = (len(x) - 1) * STEP
    assert fed(positions, 0 * x).at(end) == pytest.approx(1.0, abs=0.03)
    unsigned = fed(positions)
    assert unsigned.at(end) == pytest.approx(5.0, abs=0.05)
    assert unsigned.faults() == {"no_heading": len(x)}
    assert "orientation" in unsigned.told()


def test_standing_with_noise_of_two_millimetres_adds_nothing() -> None:
    noise = np.random.default_rng(1).normal(0, 0.002, (600 * HZ // 10, 3))
    for yaws in (None, np.zeros(len(noise))):
        assert fed(noise, yaws).at((len(noise) - 1) * STEP) == 0.0


def test_no_odometry_near_the_image_is_no_distance() -> None:
    track = TravelledDistance()
    assert track.at(0) is None
    track.add(10 * S, (0.0, 0.0, 0.0), NONE)
    track.add(11 * S, (3.0, 4.0, 0.0), NONE)
    assert track.at(11 * S) == 5.0
    assert track.at(int(11.9 * S)) == 5.0
    assert track.at(13 * S) is None
    assert track.at(8 * S) is None


@pytest.mark.parametrize("where", [0, 100])
@pytest.mark.parametrize(
    "bad", [(1e200, 0.0, 0.0), (math.nan, 0.0, 0.0), (0.0, math.inf, 0.0), (500.0, 0.0, 0.0)]
)
def test_nonsense_contributes_no_motion_and_is_counted(
    where: int, bad: tuple[float, float, float]
) -> None:
    positions, yaws = drive(np.full(200, 5.0), np.zeros(200))
    positions[where] = bad
    track = fed(positions, yaws)
    assert track.at(199 * STEP) == pytest.approx(199 * 5 / HZ, abs=0.15)
    assert sum(track.faults().values()) == 1
    assert track.told()


def test_a_frame_set_anew_is_no_motion() -> None:
    positions, yaws = drive(np.full(200, 5.0), np.zeros(200))
    positions[100:] -= positions[100]
    track = fed(positions, yaws)
    assert track.at(199 * STEP) == pytest.approx(198 * 5 / HZ, abs=0.03)
    assert track.faults() == {"jumps": 1}


def test_a_bag_played_again_goes_on_measuring() -> None:
    track = TravelledDistance()
    for stamp, x in ((100, 0.0), (101, 5.0), (50, 0.0), (51, 2.0)):
        track.add(stamp * S, (x, 0.0, 0.0), yawed(0))
    assert track.at(51 * S) == pytest.approx(7.0)
    assert track.at(100 * S) is None
    assert track.faults()["restarts"] == 1


def test_a_stamp_of_another_year_does_not_stop_the_measuring() -> None:
    track = TravelledDistance()
    for index in range(100):
        stamp = 2 * 10**9 * S if index == 30 else index * STEP
        track.add(stamp, (index / 10, 0.0, 0.0), yawed(0))
    assert track.at(99 * STEP) == pytest.approx(9.9)
    assert track.faults() == {"stamps": 1}


def test_repeated_and_late_samples_are_left_out() -> None:
    track = TravelledDistance()
    for stamp, x in ((0, 0.0), (100, 0.5), (100, 0.9), (50, 0.2), (200, 1.0)):
        track.add(stamp * S // 1000, (x, 0.0, 0.0), yawed(0))
    assert track.at(S // 5) == pytest.approx(1.0)
    assert track.faults() == {"stamps": 2}


def test_images_of_another_clock_have_no_distance_and_it_is_said() -> None:
    positions, yaws = drive(np.full(50, 5.0), np.zeros(50))
    track = fed(positions, yaws, start=1_700_000_000 * S)
    assert track.at(12 * S) is None
    assert track.faults() == {"other_clock": 1}
    assert "1970-01-01" in track.told()
    assert "2023-11-14" in track.told()


def test_odometry_across_its_heading_is_told() -> None:
    positions, _ = drive(np.full(500, 5.0), np.zeros(500))
    track = fed(positions, np.full(500, math.pi / 2))
    assert track.at(499 * STEP) == pytest.approx(0.0, abs=1e-6)
    assert track.faults() == {"sideways": 2}


def test_a_quaternion_of_any_length_is_an_orientation() -> None:
    track = TravelledDistance()
    for index in range(10):
        track.add(index * STEP, (0.0, -index / 10, 0.0), yawed(math.pi / 2, size=3.0))
    assert track.at(9 * STEP) == pytest.approx(-0.9)
