"""Figures of a drive, each worked out a second time frame by frame."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.evaluation.drives.drive import Step
from saane_ros.evaluation.drives.metrics import (
    answers_of,
    calibration_error,
    figures,
    jumps_of,
    longest_run,
    nees_of,
    reliability,
)
from saane_ros.evaluation.drives.scenarios import Scenario, Span
from saane_ros.evaluation.drives.truth import OFF_MAP, UNKNOWN, Whereabouts
from saane_ros.types import Candidates, Match, MatchState, Place, Pose

FLAGS = st.lists(st.booleans(), max_size=40)
SAID = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def match(
    row: int, state: MatchState, confidence: float, pose: Pose | None = None, deviation: float = 2.0
) -> Match:
    covariance = None
    if pose is not None:
        covariance = tuple((deviation**2 * np.eye(6)).ravel().tolist())
    return Match(
        0,
        state,
        Place(row, str(row), 0),
        1.0,
        1.0,
        confidence,
        0.0,
        Candidates(np.array([row]), np.ones(1, np.float32), 1.0),
        np.ones(1, np.float32),
        pose,
        covariance,
        {"search": float(row), "filter": 2.0 * row},
    )


@st.composite
def drives(draw: st.DrawFn) -> tuple[Scenario, list[Match | None]]:
    """Random truth, answers and spans; true places are 3 to 5."""
    count = draw(st.integers(1, 30))
    truths = [Whereabouts(np.array([3, 4, 5])), OFF_MAP, UNKNOWN]
    steps = [Step(None, i * 10**9, None, truths[draw(st.integers(0, 2))]) for i in range(count)]
    matches = [
        None
        if draw(st.integers(0, 5)) == 0
        else match(
            draw(st.integers(0, 8)), draw(st.sampled_from(list(MatchState))), draw(st.floats(0, 1))
        )
        for _ in range(count)
    ]
    spans = []
    for kind in ("kidnap", "stop", "parked", "away", "return"):
        first = draw(st.integers(0, count - 1))
        spans.append(Span(kind, first, draw(st.integers(first + 1, count))))
    return Scenario("s", "t", steps, spans), matches


@given(drives())
def test_figures_frame_by_frame(drive: tuple[Scenario, list[Match | None]]) -> None:
    scenario, matches = drive
    found = figures(scenario, answers_of(scenario, matches))
    on = off = right = wrong = false = said = 0
    verdicts = []
    for step, one in zip(scenario.steps, matches, strict=True):
        rows = step.where.rows
        verdict = ""
        if one is not None and rows is not None:
            localized = one.state is MatchState.LOCALIZED
            if len(rows):
                on += 1
                if localized:
                    verdict = "right" if one.place.id in (3, 4, 5) else "wrong"
            else:
                off += 1
                said += one.state is MatchState.OFF_ROUTE
                verdict = "false" if localized else ""
        verdicts.append(verdict)
        right += verdict == "right"
        wrong += verdict == "wrong"
        false += verdict == "false"
    assert (found.on, found.off, found.right, found.wrong) == (on, off, right, wrong)
    assert (found.false_localized, found.said_off) == (false, said)
    assert found.refused == matches.count(None)
    assert sum(found.states.values()) == len(matches) == found.frames
    assert found.precision == (right / (right + wrong) if right + wrong else None)
    assert found.false_share == (false / off if off else None)
    first = verdicts.index("right") if "right" in verdicts else None
    assert found.first_fix == (None if first is None else first + 1)
    assert found.first_fix_s == (None if first is None else float(first))
    by_kind = {span.kind: span for span in scenario.spans}
    assert found.stops_wrong == (verdicts[by_kind["stop"].end - 1] == "wrong")
    assert found.parked_localized == (verdicts[by_kind["parked"].end - 1] == "false")
    for span, bad, recovery in zip(
        (by_kind["kidnap"], by_kind["return"]),
        found.jumps.wrong,
        found.jumps.recovery,
        strict=True,
    ):
        inside = verdicts[span.first : span.end]
        assert bad == inside.count("wrong")
        assert recovery == (inside.index("right") + 1 if "right" in inside else None)
    rows = [one.place.id for one in matches if one is not None]
    if rows:
        assert found.search_ms is not None
        assert found.search_ms[0] == pytest.approx(statistics.median(rows))
        assert found.filter_ms == pytest.approx(tuple(2 * one for one in found.search_ms))
    else:
        assert found.search_ms is None


@given(SAID)
def test_calibration_error_is_that_of_its_bins(said: list[tuple[float, bool]]) -> None:
    confidence = np.array([one for one, _ in said])
    right = np.array([one for _, one in said])
    bins: dict[int, list[tuple[float, bool]]] = {}
    for one in said:
        bins.setdefault(min(int(one[0] * 10), 9), []).append(one)
    error = sum(
        abs(sum(c for c, _ in inside) - sum(r for _, r in inside)) for inside in bins.values()
    )
    assert calibration_error(confidence, right) == pytest.approx(error / len(said), abs=1e-12)
    diagram = reliability(confidence, right)
    assert sum(diagram.counts) == len(said)
    for number, inside in bins.items():
        assert diagram.counts[number] == len(inside)
        assert diagram.right[number] == pytest.approx(sum(r for _, r in inside) / len(inside))
    assert [c is None for c in diagram.confidence] == [count == 0 for count in diagram.counts]


def test_a_confidence_that_means_what_it_says_has_no_error() -> None:
    said = np.repeat([0.25, 0.75], 8)
    right = np.array([True] * 2 + [False] * 6 + [True] * 6 + [False] * 2)
    assert calibration_error(said, right) == pytest.approx(0.0)
    assert calibration_error(said, ~right) == pytest.approx(0.5)
    assert calibration_error(np.empty(0), np.empty(0, bool)) is None


@given(FLAGS)
def test_the_longest_run(flags: list[bool]) -> None:
    longest = max(
        (b - a for a in range(len(flags)) for b in range(a + 1, len(flags) + 1) if all(flags[a:b])),
        default=0,
    )
    assert longest_run(np.array(flags, bool)) == longest


def test_one_that_never_recovers_is_the_worst_and_counts_in_the_median() -> None:
    spans = [Span("kidnap", 2, 4), Span("pause", 4, 7), Span("stop", 4, 5), Span("return", 7, 9)]
    good = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0], bool)
    bad = np.array([0, 0, 1, 0, 1, 0, 1, 0, 0], bool)
    jumps = jumps_of(spans, good, bad)
    assert (jumps.wrong, jumps.recovery) == ([1, 2, 0], [2, None, None])
    assert jumps.median_recovery is None
    assert jumps.worst_recovery is None
    few = jumps_of(spans[:1], good, bad)
    assert (few.median_recovery, few.worst_recovery) == (2.0, 2)
    assert jumps_of([], good, bad).median_recovery is None


def test_nees_of_a_pose_against_the_truth() -> None:
    true = Whereabouts(np.array([4]), 4, np.array([10.0, 20.0]))
    steps = [Step(None, i, None, true) for i in range(3)]
    near = match(4, MatchState.LOCALIZED, 1.0, Pose((13.0, 16.0, 9.0)), deviation=2.0)
    matches = [near, match(4, MatchState.LOST, 0.1), None]
    nees = figures(Scenario("s", "", steps), answers_of(Scenario("s", "", steps), matches)).nees
    assert nees is not None
    assert (nees.count, nees.mean) == (1, pytest.approx((3**2 + 4**2) / 2**2))


@pytest.mark.parametrize("count", [5, 10, 100, 5000])
def test_the_band_is_that_of_chi_square(count: int) -> None:
    found = nees_of(np.append(np.full(count, 2.0), np.nan))
    assert found is not None
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    exact = stats.chi2.ppf([0.025, 0.975], 2 * count) / count
    assert [found.low, found.high] == pytest.approx(exact, rel=0.03)
    assert nees_of(np.array([np.nan])) is None
