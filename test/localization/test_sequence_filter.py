"""The filter against a naive dense-matrix recomputation, and on simulated drives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from saane_ros.localization.calibration import fit_calibration, standardise
from saane_ros.localization.sequence_filter import (
    KIDNAPPED,
    LEAVE,
    LIMIT,
    PRIOR_OFF,
    STAY_OFF,
    TEMPER,
    SequenceFilter,
    StateMachine,
)

from saane_ros.localization.motion import FIRST_PACE, RouteMotion
from saane_ros.types import Calibration, MatchState

GENUINE, IMPOSTOR = (9.0, 0.8), (13.0, 0.8)
"""Mean and spread of simulated distances of one place and of two."""


def observed(rng: np.random.Generator, count: int, place: int | None) -> NDArray[np.float32]:
    """Distances of one frame: low at and around its place, or nowhere."""
    distances = rng.normal(*IMPOSTOR, count)
    if place is not None:
        for near in range(max(0, place - 2), min(count, place + 3)):
            share = 1 - abs(near - place) / 3
            distances[near] = rng.normal(IMPOSTOR[0] + share * (GENUINE[0] - IMPOSTOR[0]), 0.8)
    return distances.astype(np.float32)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Fitted on a drive of its own, as a model's is."""
    rng = np.random.default_rng(99)
    genuine, impostor = [], []
    for _ in range(200):
        place = int(rng.integers(0, 300))
        z = standardise(observed(rng, 300, place))
        genuine.append(z[place])
        impostor.extend(np.delete(z, range(max(0, place - 5), min(300, place + 6))))
    return fit_calibration(np.array(genuine), np.array(impostor))


def naive_transition(
    arc: list[float], metric: bool, travelled: float | None, pace: list[float]
) -> NDArray[np.float64]:
    """E (N, N), rows normalised where they reach anything, written out place by place."""
    count = len(arc)
    matrix = np.zeros((count, count))
    if travelled is None or not metric:
        for i in range(count):
            for number, j in enumerate(range(i - 2, i + 10)):
                if 0 <= j < count:
                    matrix[i, j] = 0.9 * pace[number] + 0.1 * FIRST_PACE[number]
    else:
        variance = 0.5**2 + (0.1 * travelled) ** 2 + (float(np.median(np.diff(arc))) / 2) ** 2
        for i in range(count):
            for j in range(count):
                off = arc[j] - arc[i] - travelled
                if abs(off) <= 3 * math.sqrt(variance):
                    matrix[i, j] = math.exp(-(off**2) / (2 * variance))
    for row in matrix:
        if row.sum() > 0:
            row /= row.sum()
    return matrix


def naive_beliefs(
    arc: list[float],
    metric: bool,
    calibration: Calibration | None,
    drive: list[tuple[NDArray[np.float32], float | None]],
) -> list[NDArray[np.float64]]:
    """Beliefs over places and off (the last entry) by one (N+1)^2 matrix per step, not in logs."""
    count, beliefs, belief = len(arc), [], np.zeros(0)
    pace = [math.exp(-abs(offset - 1) / 3) for offset in range(-2, 10)]
    pace = [value / sum(pace) for value in pace]
    first = drive[0][0].astype(np.float64)
    rate = math.log(5) / (np.quantile(first, 0.975) - np.quantile(first, 0.025))
    for step, (distances, travelled) in enumerate(drive):
        d = distances.astype(np.float64)
        if calibration is None:
            likelihood = np.append(np.exp(-rate * (d - d.min())), 0.0)
        else:
            spread = np.quantile(d, 0.975) - np.quantile(d, 0.025)
            z = (d - np.median(d)) / spread
            line = TEMPER * (calibration.offset - calibration.slope * z)
            logs = np.append(np.maximum(line, -LIMIT), max(0.0, line.max() - LIMIT))
            likelihood = np.exp(logs)
        if step == 0:
            off = PRIOR_OFF if calibration else 0.0
            belief = np.append(np.full(count, (1 - off) / count), off) * likelihood
        else:
            moves = naive_transition(arc, metric, travelled, pace)
            along = np.zeros((count + 1, count + 1))
            along[:count, :count] = (1 - KIDNAPPED) * moves
            elsewhere = np.zeros((count + 1, count + 1))
            elsewhere[:, :count] = KIDNAPPED / count
            for i in range(count):
                if calibration is not None:
                    along[i, :count] *= 1 - LEAVE
                    elsewhere[i, count] = 1 - along[i].sum() - elsewhere[i, :count].sum()
                elif moves[i].sum() == 0:
                    elsewhere[i, :count] = 1 / count
            elsewhere[count, :count] += (1 - KIDNAPPED) * (1 - STAY_OFF) / count
            elsewhere[count, count] = (1 - KIDNAPPED) * STAY_OFF
            joint = belief[:, None] * (along + elsewhere) * likelihood[None, :]
            if travelled is None or not metric:
                stepped = belief[:, None] * along * likelihood[None, :] / joint.sum()
                # Off-diagonal sums: how probable it is that the step was each of -2 to +9.
                found = [float(np.trace(stepped[:count, :count], k)) for k in range(-2, 10)]
                certainty = sum(found)
                pace = [
                    (1 - 0.1 * certainty) * p + 0.1 * f for p, f in zip(pace, found, strict=True)
                ]
            belief = joint.sum(axis=0)
        belief = belief / belief.sum()
        beliefs.append(belief)
    return beliefs


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("odometry", ["none", "even", "uneven"])
def test_beliefs_equal_a_dense_recomputation(
    calibrated: bool, odometry: str, calibration: Calibration
) -> None:
    rng = np.random.default_rng(5)
    count = 60
    steps = np.full(count - 1, 2.0) if odometry != "uneven" else rng.uniform(0.0, 9.0, count - 1)
    arc = np.concatenate(([0.0], np.cumsum(steps)))
    metric = odometry != "none"
    drive: list[tuple[NDArray[np.float32], float | None]] = []
    for step in range(40):
        # A start, a detour, a jump to twice the speed, then past the end of the route.
        place = step if step < 12 else None if step < 20 else min(count - 1, 2 * step)
        travelled = None if not metric or step % 9 == 0 else float(rng.uniform(0, 6))
        drive.append((observed(rng, count, place), travelled))
    given = calibration if calibrated else None
    sequence = SequenceFilter(arc, metric, given)
    for (distances, travelled), expected in zip(
        drive, naive_beliefs(arc.tolist(), metric, given, drive), strict=True
    ):
        belief = sequence.update(distances, travelled)
        np.testing.assert_allclose(belief.places, expected[:-1], rtol=1e-7, atol=1e-15)
        assert belief.off == pytest.approx(expected[-1], rel=1e-7, abs=1e-15)
        assert belief.places.sum() + belief.off == pytest.approx(1.0)
        best = int(expected[:-1].argmax())
        reach = 5
        around = expected[max(0, best - reach) : min(count, best + reach + 1)]
        assert belief.best == best
        assert belief.confidence == pytest.approx(around.sum())


@pytest.mark.parametrize("count", [1, 2, 5, 40])
@pytest.mark.parametrize("travelled", [None, 0.0, 7.3, 1e6])
def test_motion_keeps_all_mass(count: int, travelled: float | None) -> None:
    belief = np.random.default_rng(1).dirichlet(np.ones(count))
    moved, lost = RouteMotion(3.0 * np.arange(count), True).predict(belief, travelled)
    assert moved.sum() + lost == pytest.approx(1.0)
    assert (moved >= 0).all()
    assert lost == pytest.approx(1.0 if travelled == 1e6 else lost)


def test_a_dense_metric_map_counts_belief_by_metres() -> None:
    flat = np.ones(200)
    sparse = SequenceFilter(2.0 * np.arange(200), True).update(flat)
    dense = SequenceFilter(0.25 * np.arange(200), True).update(flat)
    assert sparse.window == slice(0, 6)
    assert dense.window == slice(0, 21)
    assert dense.confidence == pytest.approx(21 / 200)


def run(
    sequence: SequenceFilter, frames: list[NDArray[np.float32]], travelled: float | None = None
) -> list[tuple[MatchState, int]]:
    states = StateMachine()
    found = []
    for distances in frames:
        belief = sequence.update(distances, travelled)
        found.append((states.update(belief.confidence, belief.off, 0.9, 0.5), belief.best))
    return found


@pytest.mark.parametrize("travelled", [None, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_drive_is_followed(seed: int, travelled: float | None, calibration: Calibration) -> None:
    rng = np.random.default_rng(seed)
    frames = [observed(rng, 300, 50 + i) for i in range(60)]
    sequence = SequenceFilter(2.0 * np.arange(300), True, calibration)
    found = run(sequence, frames, travelled)
    # A few frames to begin with; from then on localized, and within two places.
    for step, (state, best) in enumerate(found[6:], start=6):
        assert state is MatchState.LOCALIZED
        assert abs(best - (50 + step)) <= 2


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_kidnapped_robot_is_found_again(calibrated: bool, calibration: Calibration) -> None:
    rng = np.random.default_rng(11)
    places = [*range(20, 50), *range(200, 250)]
    frames = [observed(rng, 300, place) for place in places]
    found = run(
        SequenceFilter(np.arange(300.0), False, calibration if calibrated else None), frames
    )
    within = 10 if calibrated else 40
    for (state, best), place in zip(found[30 + within :], places[30 + within :], strict=True):
        assert state is MatchState.LOCALIZED
        assert abs(best - place) <= 2


def test_a_detour_is_off_route_and_the_return_is_noticed(calibration: Calibration) -> None:
    rng = np.random.default_rng(12)
    places = [*range(20, 50), *[None] * 40, *range(60, 100)]
    found = run(
        SequenceFilter(np.arange(300.0), False, calibration),
        [observed(rng, 300, place) for place in places],
    )
    states = [state for state, _ in found]
    assert set(states[10:30]) == {MatchState.LOCALIZED}
    assert set(states[42:70]) == {MatchState.OFF_ROUTE}
    assert MatchState.LOCALIZED not in states[34:70]
    assert set(states[80:]) == {MatchState.LOCALIZED}
    assert all(abs(best - (60 + i)) <= 2 for i, (_, best) in enumerate(found[70:]) if i >= 10)


@pytest.mark.parametrize("seed", range(10))
def test_noise_is_never_localized(seed: int, calibration: Calibration) -> None:
    rng = np.random.default_rng(1000 + seed)
    frames = [observed(rng, 300, None) for _ in range(100)]
    found = run(SequenceFilter(np.arange(300.0), False, calibration), frames)
    assert MatchState.LOCALIZED not in [state for state, _ in found]
    assert {state for state, _ in found[20:]} == {MatchState.OFF_ROUTE}


def test_odometry_past_the_end_is_off_route(calibration: Calibration) -> None:
    rng = np.random.default_rng(13)
    sequence = SequenceFilter(2.0 * np.arange(50), True, calibration)
    for place in range(40, 50):
        sequence.update(observed(rng, 50, place), 2.0)
    flat = np.full(50, 13.0, dtype=np.float32)
    assert sequence.update(flat, 30.0).off > 0.5


def test_reset_forgets(calibration: Calibration) -> None:
    rng = np.random.default_rng(14)
    frames = [observed(rng, 100, i) for i in range(20)]
    sequence = SequenceFilter(np.arange(100.0), False, calibration)
    first = [sequence.update(frame).places for frame in frames]
    sequence.reset()
    for before, frame in zip(first, frames, strict=True):
        np.testing.assert_array_equal(sequence.update(frame).places, before)


def test_a_map_of_one_place_works(calibration: Calibration) -> None:
    belief = SequenceFilter(np.zeros(1), True, calibration).update(np.array([3.0]), 1.0)
    assert belief.best == 0


def test_states_have_hysteresis() -> None:
    states = StateMachine()
    told = [
        states.update(confidence, off, 0.9, 0.5)
        for confidence, off in [
            (0.7, 0.1),  # between: not found yet
            (0.95, 0.0),
            (0.7, 0.1),  # between: still found
            (0.4, 0.1),
            (0.7, 0.1),  # between: lost since
            *[(0.3, 0.6)] * 5,
            (0.95, 0.0),
            *[(0.3, 0.6)] * 4,
            (0.45, 0.45),
        ]
    ]
    uncertain, localized = MatchState.UNCERTAIN, MatchState.LOCALIZED
    lost, off_route = MatchState.LOST, MatchState.OFF_ROUTE
    assert told == [
        *[uncertain, localized, localized, lost, uncertain],
        *[lost] * 4,
        off_route,
        localized,
        *[lost] * 5,
    ]
