"""What every scenario shows: which images, when, with which odometry, and what is true of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import smooth_scene

from saane_ros.data.poses.files import yaw_quaternion
from saane_ros.data.poses.signed_way import BAND_M
from saane_ros.evaluation.drives.drive import (
    BLANKS,
    Away,
    Drive,
    Step,
    View,
    blank,
    noisy,
    signed_travelled,
)
from saane_ros.evaluation.drives.scenarios import PAUSE_NS, Scenario, Span, build_scenarios
from saane_ros.evaluation.drives.truth import Whereabouts
from saane_ros.types import Embedding

SECOND = 10**9


def view(*values: float) -> Embedding:
    return Embedding(np.array(values, np.float32))


def told(one: View) -> list[float]:
    assert one is not None
    return [float(value) for value in one.descriptor]


def drive_of(count: int, spots: int = 4, odometry: bool = True) -> Drive:
    """View i is (i, 0), further ones of it (i, 1), (i, 2), blanks (i, -1) to (i, -3).

    Intervals are 1, 2, 3, 1, 2, 3, ... s; two metres a step, from 100 m on.
    """
    stamps = np.cumsum([0, *(1 + np.arange(count - 1) % 3)])
    steps = [
        Step(
            view(i, 0),
            int(stamps[i]) * SECOND,
            100 + 2.0 * i if odometry else None,
            Whereabouts(np.array([i])),
        )
        for i in range(count)
    ]
    chosen = sorted({int(i) for i in np.linspace(0, count - 1, spots)})
    again: dict[int, list[View]] = {i: [view(i, 1), view(i, 2)] for i in chosen}
    blanks: dict[int, list[View]] = {i: [view(i, -1 - k) for k in range(3)] for i in chosen}
    return Drive(steps, again, blanks)


def park(count: int) -> Away:
    """Views (1000 + i, 0), two parked ones."""
    views: list[View] = [view(1000 + i, 0) for i in range(count)]
    return Away("park", views, [[views[0], view(1000, 1)], [views[-1], view(999 + count, 1)]])


def scenarios(count: int = 130, away: int = 150, seed: int = 0) -> dict[str, Scenario]:
    sources = [park(away)] if away else []
    return {one.name: one for one in build_scenarios(drive_of(count), sources, seed)}


def shown(scenario: Scenario, span: Span | None = None) -> list[int]:
    steps = scenario.steps if span is None else scenario.steps[span.first : span.end]
    return [int(told(step.view)[0]) for step in steps]


def seconds(scenario: Scenario) -> list[float]:
    return [float(apart) / SECOND for apart in np.diff([s.stamp_ns for s in scenario.steps])]


def without(scenario: Scenario, kind: str) -> list[int]:
    """Indices of the views outside the spans of a kind."""
    inside = {i for s in scenario.spans if s.kind == kind for i in range(s.first, s.end)}
    return [one for i, one in enumerate(shown(scenario)) if i not in inside]


def test_plain_and_reverse_keep_time_and_odometry() -> None:
    found = scenarios()
    plain, back = found["plain, odometry"], found["reverse, odometry"]
    assert shown(plain) == list(range(130)) == shown(back)[::-1]
    assert seconds(plain) == [1 + i % 3 for i in range(129)] == seconds(back)[::-1]
    assert [step.travelled for step in plain.steps] == [100 + 2.0 * i for i in range(130)]
    assert np.diff([step.travelled or 0 for step in back.steps]).tolist() == [-2.0] * 129
    for name in ("plain", "reverse"):
        assert shown(found[name]) == shown(found[f"{name}, odometry"])
        assert all(step.travelled is None for step in found[name].steps)


def test_fewer_and_more_frames() -> None:
    found = scenarios()
    assert shown(found["every 8th frame"]) == list(range(0, 130, 8))
    assert seconds(found["every 8th frame"])[:3] == [15, 16, 17]
    again = found["every frame 8 times"]
    assert shown(again) == [i for i in range(130) for _ in range(8)]
    assert sum(seconds(again)) == pytest.approx(sum(seconds(found["plain"])) + 2 * 7 / 8, abs=0.5)
    dropped = shown(found["30 % dropped"])
    assert dropped == sorted(set(dropped))
    assert 0.6 * 130 < len(dropped) < 0.8 * 130
    stamps = [step.stamp_ns for step in found["plain"].steps]
    assert [s.stamp_ns for s in found["30 % dropped"].steps] == [stamps[i] for i in dropped]
    assert dropped == shown(scenarios()["30 % dropped"]) != shown(scenarios(seed=1)["30 % dropped"])


def test_blank_frames_in_turns() -> None:
    scenario = scenarios()["blank frames"]
    assert without(scenario, "blank") == list(range(130))
    assert [span.end - span.first for span in scenario.spans] == [3] * 4
    for turn, (span, spot) in enumerate(zip(scenario.spans, (0, 43, 86, 129), strict=True)):
        for step in scenario.steps[span.first : span.end]:
            assert told(step.view) == [spot, -1 - turn % 3]
            assert step.where.rows is not None
            assert step.where.rows.tolist() == [spot]


def test_kidnaps_are_where_they_are_said_to_be() -> None:
    scenario = scenarios()["kidnaps"]
    order = shown(scenario)
    assert sorted(order) == list(range(130))
    breaks = [i for i in range(1, 130) if order[i] != order[i - 1] + 1]
    assert [span.first for span in scenario.spans] == breaks
    assert len(breaks) == 3
    assert {span.kind for span in scenario.spans} == {"kidnap"}
    ends = [0, *breaks, 130]
    assert sorted(np.diff(ends).tolist()) == [10, 40, 40, 40]
    assert [span.end for span in scenario.spans] == ends[2:]
    assert order != shown(scenarios(seed=1)["kidnaps"])
    assert [span.first for span in scenarios(9)["kidnaps"].spans] == [3, 6]
    assert "kidnaps" not in scenarios(2)


def test_a_pause_of_28_hours_elsewhere() -> None:
    scenario = scenarios()["28 h pause"]
    assert shown(scenario) == [*range(43), *range(87, 130)]
    assert scenario.spans == [Span("pause", 43, 86)]
    long = [i for i, apart in enumerate(seconds(scenario)) if apart > 3]
    assert long == [42]
    assert seconds(scenario)[42] * SECOND == PAUSE_NS == 28 * 3600 * SECOND


@pytest.mark.parametrize("name", ["stops", "stops, odometry"])
def test_stops_show_one_view_with_noise(name: str) -> None:
    scenario = scenarios()[name]
    assert without(scenario, "stop") == list(range(130))
    spots = []
    for span in scenario.spans:
        inside = scenario.steps[span.first : span.end]
        assert len(inside) == 25
        views = [told(step.view) for step in inside]
        spot = int(views[0][0])
        assert {tuple(one) for one in views} == {(spot, 0), (spot, 1), (spot, 2)}
        assert all(a != b for a, b in itertools.pairwise(views))
        assert all(s.where.rows is not None and s.where.rows.tolist() == [spot] for s in inside)
        before = scenario.steps[span.first - 1]
        assert told(before.view)[0] == spot
        assert {step.travelled for step in [before, *inside]} == {
            100 + 2.0 * spot if "odometry" in name else None
        }
        spots.append(spot)
    assert spots == [0, 43, 86, 129]


def test_stretches_from_elsewhere_lie_in_the_drive() -> None:
    scenario = scenarios()["inserted"]
    assert scenario.tag == "park"
    assert without(scenario, "away") == list(range(130))
    away = [span for span in scenario.spans if span.kind == "away"]
    back = [span for span in scenario.spans if span.kind == "return"]
    assert [span.end for span in away] == [span.first for span in back]
    assert [shown(scenario, span)[0] for span in back] == [44, 87]
    for span in away:
        order = shown(scenario, span)
        assert order == list(range(order[0], order[0] + len(order)))
        assert min(order) >= 1000
        assert 50 <= len(order) <= 100
    for i, step in enumerate(scenario.steps):
        inside = any(span.first <= i < span.end for span in away)
        assert step.where.rows is not None
        assert (len(step.where.rows) == 0) == inside
    short = scenarios(away=20)["inserted"]
    assert sum(one >= 1000 for one in shown(short)) == 40


def test_elsewhere_alone_and_parked() -> None:
    found = scenarios()
    assert shown(found["alone"]) == list(range(1000, 1150))
    assert found["alone"].spans == [Span("away", 0, 150)]
    parked = found["parked"]
    assert parked.fresh == (0, 40)
    assert parked.spans == [Span("parked", 0, 40), Span("parked", 40, 80)]
    assert [set(shown(parked, span)) for span in parked.spans] == [{1000}, {1149}]
    assert all(step.where.rows is not None and not len(step.where.rows) for step in parked.steps)
    assert not {"inserted", "alone", "parked"} & set(scenarios(away=0))


@given(st.integers(1, 90), st.integers(0, 60), st.booleans(), st.integers(0, 5))
def test_every_scenario_is_a_possible_drive(
    count: int, away: int, odometry: bool, seed: int
) -> None:
    drive = drive_of(count, odometry=odometry)
    sources = [park(away)] if away else []
    found = list(build_scenarios(drive, sources, seed))
    names = [one.name for one in found]
    assert len(names) == len(set(names))
    assert ("plain, odometry" in names) == odometry
    for one in found:
        assert (np.diff([step.stamp_ns for step in one.steps]) > 0).all()
        has = {step.travelled is not None for step in one.steps}
        assert has == {"odometry" in one.name}
        assert all(0 <= span.first < span.end <= len(one.steps) for span in one.spans)
        assert (one.tag != "") == (one.name in ("inserted", "alone", "parked"))


def test_a_view_a_moment_later_and_a_view_of_nothing() -> None:
    image = np.full((80, 100, 3), 120, np.uint8)
    later = noisy(image, np.random.default_rng(0)).astype(np.float64)
    assert later.std() == pytest.approx(3.0, abs=0.1)
    assert later.mean() == pytest.approx(120, abs=0.1)
    scene = smooth_scene(3)
    rng = np.random.default_rng(1)
    black, white, flat = (blank(scene, kind, rng).astype(np.float64) for kind in BLANKS)
    assert black.mean() < 2
    assert (white == 255).mean() > 0.8
    assert flat.mean() == pytest.approx(128, abs=2)
    assert flat.std() < 6 < scene.std()


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.floats(-3.1, 3.1))
def test_metres_along_the_heading_fall_where_the_robot_backs(
    steps: list[float], yaw: float
) -> None:
    along = np.concatenate(([0.0], np.cumsum(steps)))
    positions = np.stack((np.cos(yaw) * along, np.sin(yaw) * along, 0 * along), axis=1) + 7.0
    orientations = np.tile(yaw_quaternion(yaw), (len(along), 1))
    metres = signed_travelled(positions, orientations)
    np.testing.assert_allclose(metres, along, atol=BAND_M)  # less is noise of standing
