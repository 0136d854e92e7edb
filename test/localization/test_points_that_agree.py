"""Poses by points that go with those of the images before, and those that do not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from metric_town import MetricTown
from scenes import ColourGridEmbedder

from saane_ros.localization.localizer import Localizer
from saane_ros.localization.points import Answer, MapPoints
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import REFINED, Frame, Match, MatchState

pytest.importorskip("pycolmap", reason="the extra metric is absent")


@pytest.fixture(scope="module")
def route_map(tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    return MetricTown().build(tmp_path_factory.mktemp("map"))


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    town = MetricTown()
    return [town.frame(index) for index in range(1, 32, 2)]


def drive(route_map: RouteMap, frames: list[Frame]) -> tuple[list[Match], Localizer]:
    localizer = Localizer(ColourGridEmbedder(), route_map, Settings())
    return [localizer.localize(frame).match for frame in frames], localizer


def off(match: Match, frame: Frame) -> float:
    assert match.pose is not None
    assert frame.pose is not None
    return math.dist(match.pose.position, frame.pose.position)


def test_a_pose_that_odometry_contradicts_is_not_told(
    route_map: RouteMap, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = frames[0].pose
    assert first is not None
    driven = [
        replace(one, travelled=50 + math.dist(one.pose.position, first.position))
        for one in frames
        if one.pose is not None
    ]
    ask, asked = MapPoints.ask, 0

    def shifted(self: MapPoints, *arguments: object) -> Answer | None:
        """Every fifth pose lies as windows of one facade lie apart."""
        nonlocal asked
        answer = ask(self, *arguments)  # type: ignore[arg-type]
        asked += 1
        if answer is None or answer.refinement is None or asked % 5:
            return answer
        x, y, z = answer.refinement.pose.position
        moved = replace(answer.refinement.pose, position=(x + 3.2, y, z))
        return replace(answer, refinement=replace(answer.refinement, pose=moved))

    monkeypatch.setattr(MapPoints, "ask", shifted)
    matches, localizer = drive(route_map, driven)
    wrong = [number % 5 == 4 for number in range(len(driven))]
    told = [match.source == REFINED for match in matches]
    assert told == [not bad for bad in wrong]
    assert max(off(m, f) for m, f, one in zip(matches, driven, told, strict=True) if one) < 0.15
    localizer.reset()
    assert localizer.localize(driven[5]).match.source == REFINED


def test_a_lone_pose_among_images_without_points_waits_for_another(
    route_map: RouteMap, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by night: hardly any image shows a point, and the one that does is mistaken."""
    ask, asked, shown = MapPoints.ask, -1, (2, 9, 10)

    def seldom(self: MapPoints, *arguments: object) -> Answer | None:
        nonlocal asked
        asked += 1
        answer = ask(self, *arguments)  # type: ignore[arg-type]
        return answer if answer is None or asked in shown else Answer(answer.places)

    monkeypatch.setattr(MapPoints, "ask", seldom)
    matches, _ = drive(route_map, frames)
    assert [n for n, match in enumerate(matches) if match.source == REFINED] == [10]
    assert {match.state for match in matches} == {MatchState.LOCALIZED}
