"""Stamps and positions as sensors send them: what is believed, held back and left out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.data.poses.plausibility import (
    AGREEING,
    Displacement,
    Order,
    PositionGate,
    StampGate,
    StampSifter,
    moment,
    strays,
)

S = 10**9
YEAR = 365 * 86_400 * S
START = 1_700_000_000 * S


def sifted(stamps: list[int]) -> tuple[list[int], list[int]]:
    """Rows kept and rows left out; every row is one of them."""
    sifter: StampSifter[int] = StampSifter()
    found = [sifter.take(stamp, row) for row, stamp in enumerate(stamps)]
    found.append(sifter.settle())
    kept = [row for part in found for row in part.kept]
    left_out = [row for part in found for row, _ in part.left_out]
    assert sorted(kept + left_out) == list(range(len(stamps)))
    return kept, left_out


def test_a_single_leap_is_left_out_and_a_lasting_one_believed() -> None:
    drive = [START + row * S for row in range(40)]
    assert sifted(drive) == (list(range(40)), [])
    for leap in (12 * YEAR, -12 * YEAR, -3600 * S, 5 * S):
        glitch = [stamp + leap * (row == 3) for row, stamp in enumerate(drive)]
        assert sifted(glitch)[1] == [3]
        lasting = [stamp + leap * (row >= 10) for row, stamp in enumerate(drive)]
        assert sifted(lasting) == (list(range(40)), [])


@pytest.mark.parametrize("step", [S // 30, 5 * S, 120 * S, 3600 * S])
def test_slow_sources_and_sources_that_grow_slow_lose_nothing(step: int) -> None:
    stamps = [START + row * S for row in range(10)]
    stamps += [stamps[-1] + (row + 1) * step for row in range(10)]
    assert sifted(stamps)[1] == []
    assert sifted([START + row * step for row in range(2)])[1] == []


def test_the_orders_of_a_live_stream() -> None:
    gate = StampGate()
    orders = [gate.arrive(round(s * S)) for s in (10, 10.1, 10.1, 10, 40, 200, 200.1, 5, 5.1, 5.2)]
    assert orders == [
        *(Order.NEW, Order.NEW, Order.REPEATED, Order.OLDER, Order.NEW),
        *(Order.LEAPT, Order.RESUMED, Order.LEAPT, Order.RESTARTED, Order.NEW),
    ]


@given(
    faults=st.dictionaries(
        st.integers(0, 99), st.integers(-20 * YEAR, 20 * YEAR), min_size=1, max_size=5
    ),
    steps=st.dictionaries(st.integers(0, 99), st.integers(-7200 * S, 7200 * S), max_size=2),
)
def test_a_drive_of_any_stamps_loses_no_more_than_a_few_frames(
    faults: dict[int, int], steps: dict[int, int]
) -> None:
    clock, stamps = START, []
    for row in range(100):
        clock += S // 10 + steps.get(row, 0)
        stamps.append(clock + faults.get(row, 0))
    _, left_out = sifted(stamps)
    # A frame each, and up to a second of frames (here ten) after each step back that is short.
    assert len(left_out) <= 2 * len(faults) + 11 * (len(steps) + len(faults))
    lost = [row for row in left_out if all(abs(row - at) > 11 for at in (*faults, *steps))]
    assert lost == []


def gated(
    positions: np.ndarray, period: int = S // 10, **given_: float
) -> tuple[list[int], PositionGate]:
    gate: PositionGate[int] = PositionGate(1.0, **given_)  # type: ignore[arg-type]
    rows = [
        sample.item
        for row, position in enumerate(positions.tolist())
        for sample in gate.add(START + row * period, position, row)
    ]
    return [*rows, *(sample.item for sample in gate.settle())], gate


def drive(count: int = 100) -> np.ndarray:
    """10 m/s round a bend, ten samples a second."""
    angles = np.arange(count) / 60
    return np.column_stack([60 * np.sin(angles), 60 * (1 - np.cos(angles)), 0 * angles])


@given(
    bad=st.dictionaries(
        st.integers(3, 99),
        st.floats(3, 1e6) | st.sampled_from([1e200, math.nan, math.inf, -1e300]),
        min_size=1,
        max_size=AGREEING - 1,
    )
)
def test_outliers_never_become_the_reference(bad: dict[int, float]) -> None:
    positions = drive()
    for row, off in bad.items():
        positions[row, 1] += off
    rows, gate = gated(positions)
    assert rows == [row for row in range(100) if row not in bad]
    assert sum(gate.faults.counts.values()) == len(bad)


@given(st.dictionaries(st.integers(0, 4), st.floats(3, 1e6), min_size=1, max_size=4))
def test_a_wrong_start_does_not_last(bad: dict[int, float]) -> None:
    """Two wrong ones may agree by chance; the way is found all the same."""
    positions = drive()
    for row, off in bad.items():
        positions[row, 1] += off
    assert set(range(5 + AGREEING, 100)) <= set(gated(positions)[0])


@given(at=st.integers(3, 60), off=st.floats(5, 1e6), noise=st.sets(st.integers(61, 99), max_size=4))
def test_a_jump_of_the_frame_is_recognised_and_loses_nothing(
    at: int, off: float, noise: set[int]
) -> None:
    positions = drive()
    positions[at:, 0] += off
    for row in noise:
        positions[row, 2] = -7e6
    rows, gate = gated(positions)
    assert rows == [row for row in range(100) if row not in noise]
    assert gate.faults.counts["jumps"] == 1


def test_jumps_while_every_third_is_wrong_are_recognised_too() -> None:
    positions = drive()
    positions[50:, 0] += 500
    positions[::3, 1] += np.random.default_rng(0).uniform(1e3, 1e6, 34)
    assert gated(positions)[0] == [row for row in range(100) if row % 3]


def test_a_fast_jump_back_is_left_out_as_long_as_it_is_short() -> None:
    positions = drive()
    positions[40 : 40 + AGREEING - 1, 0] += 80
    rows, gate = gated(positions)
    assert rows == [*range(40), *range(40 + AGREEING - 1, 100)]
    assert gate.faults.counts == {"outliers": AGREEING - 1}


def test_noise_within_the_band_is_no_motion() -> None:
    displacement = Displacement(0.5)
    noise = np.random.default_rng(2).uniform(-0.2, 0.2, (1000, 3))
    assert not any(displacement.add(tuple(position)) for position in noise.tolist())
    assert displacement.add((3.0, 0.0, 0.0)) is not None
    assert displacement.add((9.0, 0.0, 0.0), jumped=True) is None


@pytest.mark.parametrize("row", [0, 7, 19])
def test_strays_of_places_without_times(row: int) -> None:
    positions = np.column_stack([np.arange(20) * 10.0, np.zeros((20, 2))])
    assert strays(positions) == []
    positions[row, 1] = 50_000
    assert strays(positions) == [row]
    spread = np.random.default_rng(1).uniform(0, 1e5, (50, 3))  # photographs of a county
    assert strays(spread) == []
    apart = np.repeat([[0.0, 0, 0], [9e4, 0, 0]], 10, axis=0) + positions * (1, 0, 0)
    assert strays(apart) == []


def test_moments_are_dates_where_they_are() -> None:
    assert moment(START) == "2023-11-14 22:13:20"
    assert moment(10**30) == "1000000000000000000000.000 s"


def test_every_sample_is_given_out_at_most_once() -> None:
    positions = np.random.default_rng(5).normal(0, 100, (300, 3))
    rows, _ = gated(positions)
    assert all(before < after for before, after in itertools.pairwise(rows))
