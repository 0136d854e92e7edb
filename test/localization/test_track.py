"""Which frames count, what a track has shown, and what follows from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import line_graph

from saane_ros.localization.belief import Belief, Estimate
from saane_ros.localization.decision import OFF_FRAMES, Decision
from saane_ros.localization.motion import FARTHEST
from saane_ros.localization.track import (
    BLIND_STEPS,
    BLIND_WEIGHT,
    CLOSE,
    LIMIT,
    LONGEST,
    MEMORY,
    MOVED_STEPS,
    NOVEL,
    SLACK_STEPS,
    STUCK_FRAMES,
    WINDOW,
    News,
    Track,
    confidence,
    log_odds,
)
from saane_ros.route_map.calibration import TRACK_SIGNALS, TrustWeights
from saane_ros.types import MatchState

STEP, STEP_M = 3.0, 2.0


def view(change: float) -> np.ndarray:
    """A descriptor so many of the map's steps from `view(0)`."""
    return np.array([change * STEP, 0.0], np.float32)


def test_only_what_looks_different_is_news() -> None:
    news = News(STEP, STEP_M)
    assert news.weight(view(0), None) == 1.0
    assert news.take(view(0), None) is None
    assert news.weight(view(0.9 * NOVEL), None) == 0.0
    assert news.weight(view(1.1 * NOVEL), None) == 1.0
    # Small changes add up until one frame counts.
    counted = 0
    for k in range(1, 41):
        if news.weight(view(k * NOVEL / 8), None):
            news.take(view(k * NOVEL / 8), None)
            counted += 1
    assert counted == 5
    news.reset()
    assert news.weight(view(5), None) == 1.0


def test_steps_are_those_since_the_last_frame_that_counted() -> None:
    news = News(STEP, STEP_M)
    news.take(view(0), 10.0)
    assert news.weight(view(0.1), 10.0 + 1.1 * MOVED_STEPS * STEP_M) == 0.0
    assert news.weight(view(1), 13.0) == 1.0
    assert news.take(view(1), 13.0) == pytest.approx(1.5)
    assert news.take(view(2), 9.0) == pytest.approx(-2.0)
    # A map without poses has no metres.
    bare = News(STEP, 0.0)
    bare.take(view(0), 10.0)
    assert bare.weight(view(0.1), 99.0) == 0.0
    assert bare.take(view(1), 12.0) is None
    assert bare.fault == ""


def test_noise_at_standstill_is_no_motion() -> None:
    news = News(STEP, STEP_M)
    news.take(view(0), 100.0)
    for noise in np.random.default_rng(0).uniform(-0.9, 0.9, 200) * MOVED_STEPS * STEP_M:
        assert news.weight(view(0.2), 100.0 + noise) == 0.0
    assert news.fault == ""


@pytest.mark.parametrize("change", [0.0, 0.1, 0.3])
def test_a_blind_camera_does_not_hold_a_robot_that_drives(change: float) -> None:
    """The same picture again and again counts a little, so that the belief goes with odometry."""
    news = News(STEP, STEP_M)
    news.take(view(0), 0.0)
    assert news.weight(view(change), 0.9 * BLIND_STEPS * STEP_M) == 0.0
    weight = news.weight(view(change), 1.1 * BLIND_STEPS * STEP_M)
    assert weight == pytest.approx(max(BLIND_WEIGHT, (change / NOVEL) ** 2))
    assert news.take(view(change), 1.1 * BLIND_STEPS * STEP_M) == pytest.approx(1.1 * BLIND_STEPS)


def test_odometry_that_stands_while_views_change_is_told_and_not_used() -> None:
    news = News(STEP, STEP_M)
    news.take(view(0), 7.0)
    for k in range(1, STUCK_FRAMES):
        assert news.weight(view(k), 7.0) == 0.0
        assert news.fault == ""
    assert news.weight(view(STUCK_FRAMES), 7.0) == 1.0
    assert "stands while the camera" in news.fault
    assert news.take(view(STUCK_FRAMES), 7.0) is None
    assert news.weight(view(STUCK_FRAMES + 1), 7.0) == 1.0
    assert news.take(view(STUCK_FRAMES + 1), 7.0) is None
    # Once it moves it is believed again.
    assert news.weight(view(STUCK_FRAMES + 2), 9.0) == 1.0
    assert news.fault == ""
    assert news.take(view(STUCK_FRAMES + 2), 9.0) == pytest.approx(1.0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 1e200, -1e9, 1e308])
def test_odometry_that_cannot_be_is_told_and_not_used(wrong: float) -> None:
    news = News(STEP, STEP_M)
    news.take(view(0), 4.0)
    assert news.weight(view(1), wrong) == 1.0
    assert "odometry" in news.fault
    assert news.take(view(1), wrong) is None
    # The first good one after it is no step, the next is.
    news.weight(view(2), 6.0)
    assert news.take(view(2), 6.0) is None
    assert news.weight(view(3), 8.0) == 1.0
    assert news.take(view(3), 8.0) == pytest.approx(1.0)
    assert news.fault == ""


def test_a_jump_of_odometry_is_told_in_metres() -> None:
    news = News(STEP, STEP_M)
    news.take(view(0), 0.0)
    far = 1.5 * FARTHEST * STEP_M
    assert news.weight(view(0.1), far) == 0.0
    assert news.fault == f"odometry went {far:.3g} m between two images"
    assert news.weight(view(0.1), 0.9 * FARTHEST * STEP_M) > 0
    assert news.fault == ""


def estimate(spot: int, mass: float = 0.9, off: float = 0.05, agreed: float = 2.0) -> Estimate:
    return Estimate(spot, mass, off, np.array([spot]), np.array([mass]), agreed)


def test_a_track_gathers_what_its_frames_say() -> None:
    graph = line_graph(200)
    track, belief = Track(graph), Belief(graph, 3.0)
    says = np.random.default_rng(2).normal(1, 4, 40)
    for k, agreed in enumerate(says):
        found = track.signals(estimate(10 + k, agreed=float(agreed)), belief)
        clipped = np.clip(says[: k + 1], -LIMIT, LIMIT)
        powers = MEMORY ** np.arange(k, -1, -1)
        gained = 1.0 if k > 2 else 0.5
        wanted = {
            "mass": math.log(0.9 / 0.1),
            "off": math.log(0.05 / 0.95),
            "support": float(powers @ clipped) / (float(powers.sum()) + 1),
            "now": clipped[-1],
            "against": min(clipped[-1], 0.0),
            "length": math.log(1 + min(k + 1, LONGEST)),
            "progress": gained,
        }
        assert dict(zip(TRACK_SIGNALS, found, strict=True)) == pytest.approx(wanted, abs=1e-6)
    # Standing on one spot, the window empties of progress.
    for _ in range(WINDOW):
        found = track.signals(estimate(49), belief)
    assert found[TRACK_SIGNALS.index("progress")] == 0.0
    # Backwards is progress as well.
    for k in range(WINDOW):
        found = track.signals(estimate(49 - k), belief)
    assert found[TRACK_SIGNALS.index("progress")] == pytest.approx((WINDOW - 1) / WINDOW)


def test_a_jump_begins_a_new_track() -> None:
    graph = line_graph(200)
    track, belief = Track(graph), Belief(graph, 3.0)
    length = TRACK_SIGNALS.index("length")
    for k in range(10):
        found = track.signals(estimate(10 + k), belief)
    assert found[length] == pytest.approx(math.log(11))
    reach = belief.reach[1] + SLACK_STEPS
    assert track.signals(estimate(19 + int(reach)), belief)[length] == pytest.approx(math.log(12))
    assert track.signals(estimate(150), belief)[length] == pytest.approx(math.log(2))
    track.reset()
    assert track.signals(estimate(150), belief)[length] == pytest.approx(math.log(2))


@given(st.floats(0, 1))
def test_log_odds_are_close_to_what_they_are_called(probability: float) -> None:
    found = log_odds(probability)
    assert abs(found) <= CLOSE
    if 1e-3 < probability < 1 - 1e-3:
        assert found == pytest.approx(math.log(probability / (1 - probability)), abs=1e-4)


@given(
    st.lists(st.floats(-9, 9), min_size=6, max_size=6),
    st.lists(st.floats(-9, 9), min_size=6, max_size=6),
    st.floats(-9, 9),
)
def test_confidence_is_logistic(values: list[float], weights: list[float], offset: float) -> None:
    score = sum(a * b for a, b in zip(values, weights, strict=True)) + offset
    trust = TrustWeights(tuple(weights), offset, (0.01,), (0.9,))
    assert confidence(np.array(values), trust) == pytest.approx(1 / (1 + math.exp(-score)))


def test_the_threshold_lies_between_the_measured_ones() -> None:
    trust = TrustWeights((0.0,) * 6, 0.0, (0.001, 0.01, 0.1), (0.99, 0.9, 0.6))
    for rate, level in ((0.001, 0.99), (0.01, 0.9), (0.1, 0.6), (0.5, 0.6)):
        assert trust.threshold(rate) == pytest.approx(level)
    assert trust.threshold(10**-1.5) == pytest.approx(0.75)
    assert trust.threshold(0.0001) == pytest.approx(1 - 0.01 / 10)
    rates = np.logspace(-4, -0.3, 60)
    levels = [trust.threshold(float(rate)) for rate in rates]
    assert (np.diff(levels) <= 0).all()
    assert 0 < min(levels) < max(levels) < 1


def test_states_follow_from_confidence_and_off() -> None:
    decision = Decision()
    uncertain, localized = MatchState.UNCERTAIN, MatchState.LOCALIZED
    lost, off_route = MatchState.LOST, MatchState.OFF_ROUTE
    frames = [
        *[(0.95, 0.0, localized), (0.9, 0.0, localized), (0.89, 0.0, uncertain)],
        *[(0.5, 0.49, uncertain), (0.49, 0.0, lost)],
        *[(0.2, 0.5, lost)] * (OFF_FRAMES - 1),
        *[(0.2, 0.9, off_route), (0.6, 0.6, off_route), (0.95, 0.6, localized)],
        *[(0.6, 0.4, uncertain), (0.3, 0.6, lost)],
    ]
    assert [decision.state(c, off, 0.9) for c, off, _ in frames] == [s for *_, s in frames]
    for _ in range(OFF_FRAMES):
        decision.state(0.1, 0.9, 0.9)
    decision.reset()
    assert decision.state(0.1, 0.9, 0.9) is lost
