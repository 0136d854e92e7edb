"""Poses by points of a map, in the localizer: refined, left out and why, and as evidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from metric_town import MOUNT, MetricTown
from scenes import ColourGridEmbedder, line_graph

from saane_ros.data.poses.transforms import compose, inverse, read_mount, turn_between
from saane_ros.localization import evidence as evidence_of_frames
from saane_ros.localization.belief import TEMPER, Belief
from saane_ros.localization.candidates import Group
from saane_ros.localization.evidence import FrameEvidence, with_testimony
from saane_ros.localization.localizer import Localizer
from saane_ros.localization.map_choice import MapChoice
from saane_ros.localization.motion import Interval
from saane_ros.localization.points import (
    ENOUGH,
    FOUND,
    MEMORY,
    MOST_FOUND,
    Answer,
    MapPoints,
)
from saane_ros.localization.sequence import tolerance_steps
from saane_ros.metric.cameras import camera_with
from saane_ros.metric.features import RootSift
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import BY_PLACE, REFINED, Frame, Match, MatchState, Pose

pytest.importorskip("pycolmap", reason="the extra metric is absent")

STEPS = range(1, 32, 2)


@pytest.fixture(scope="module")
def town() -> MetricTown:
    return MetricTown()


@pytest.fixture(scope="module")
def route_map(town: MetricTown, tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    return town.build(tmp_path_factory.mktemp("with"))


@pytest.fixture(scope="module")
def plain_map(town: MetricTown, tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    return town.build(tmp_path_factory.mktemp("without"), points=False)


@pytest.fixture(scope="module")
def frames(town: MetricTown) -> list[Frame]:
    """A drive along the map, between its places and at some of them."""
    return [town.frame(index) for index in STEPS]


def drive(
    route_map: RouteMap,
    frames: list[Frame],
    behind: Callable[[], bool] | None = None,
    **settings: object,
) -> tuple[list[Match], Localizer]:
    localizer = Localizer(ColourGridEmbedder(), route_map, Settings(**settings))
    return [localizer.localize(frame, behind=behind).match for frame in frames], localizer


def off(pose: Pose | None, frame: Frame) -> float:
    assert pose is not None
    assert frame.pose is not None
    return math.dist(pose.position, frame.pose.position)


@pytest.mark.parametrize("sequence_filter", [True, False])
def test_a_drive_is_refined_to_centimetres(
    route_map: RouteMap, frames: list[Frame], sequence_filter: bool
) -> None:
    matches, localizer = drive(route_map, frames, sequence_filter=sequence_filter)
    assert {match.state for match in matches} == {MatchState.LOCALIZED}
    assert {match.source for match in matches} == {REFINED}
    errors = [off(match.pose, frame) for match, frame in zip(matches, frames, strict=True)]
    by_place = [
        off(match.by_place[0] if match.by_place else None, frame)
        for match, frame in zip(matches, frames, strict=True)
    ]
    assert max(errors) < 0.15
    assert np.median(by_place) > 5 * np.median(errors)
    for match, frame in zip(matches, frames, strict=True):
        points = match.points
        assert points is not None
        assert points.inliers == len(points.pixels) == len(points.projected) >= 10
        apart = [math.dist(a, b) for a, b in zip(points.pixels, points.projected, strict=True)]
        naive = math.sqrt(sum(one * one for one in apart) / len(apart))
        assert points.error == pytest.approx(naive, rel=1e-3)
        covariance = np.array(match.covariance).reshape(6, 6)
        assert np.linalg.eigvalsh((covariance + covariance.T) / 2).min() > 0
        assert covariance[0, 0] < 0.1**2
        assert frame.pose is not None
        assert turn_between(match.pose or Pose((0, 0, 0)), frame.pose) < math.radians(0.5)
        assert match.timings_ms["points"] > 0
    assert "points, " in localizer.points.told


def test_the_same_frames_give_the_same_poses(route_map: RouteMap, frames: list[Frame]) -> None:
    first, localizer = drive(route_map, frames[:6])
    localizer.reset()
    again = [localizer.localize(frame).match for frame in frames[:6]]
    assert [(m.pose, m.covariance, m.confidence) for m in again] == [
        (m.pose, m.covariance, m.confidence) for m in first
    ]


def test_the_pose_is_that_of_the_robots_base(route_map: RouteMap, frames: list[Frame]) -> None:
    told = "0.4 -0.2 0.9 0.02 -0.1 0.3"
    own = read_mount(told)
    assert own is not None
    matches, _ = drive(route_map, frames[:6], camera_pose=told)
    for match, frame in zip(matches, frames, strict=False):
        assert frame.pose is not None
        base = compose(compose(frame.pose, MOUNT), inverse(own))
        assert match.source == REFINED
        assert match.pose is not None
        assert math.dist(match.pose.position, base.position) < 0.15
        assert turn_between(match.pose, base) < math.radians(0.5)


def plainly(matches: list[Match]) -> list[tuple[object, ...]]:
    return [(m.state, m.place.id, m.confidence, m.off_route, m.pose, m.covariance) for m in matches]


def test_without_intrinsics_time_or_wish_all_is_as_in_a_map_without_points(
    route_map: RouteMap, plain_map: RouteMap, frames: list[Frame]
) -> None:
    expected, without = drive(plain_map, frames)
    assert without.points.told == "the map has no points"
    blind = [replace(frame, camera=None) for frame in frames]
    camera = frames[0].camera
    assert camera is not None
    other = replace(camera, height=camera.height // 2)
    cropped = [replace(frame, camera=other) for frame in frames]
    tried = {
        "nothing tells the camera's intrinsics": drive(route_map, blind),
        "left out, as a newer image waits": drive(route_map, frames, lambda: True),
        "longer than refine_budget_ms": drive(
            route_map, frames, lambda: False, refine_budget_ms=1e-3
        ),
        "another shape: give those of this image": drive(route_map, cropped),
    }
    for told, (matches, localizer) in tried.items():
        assert told in localizer.points.told
        assert bool(localizer.points.fault) == told.startswith("another")
        assert plainly(matches) == plainly(expected)
        assert all(match.points is None and match.source == BY_PLACE for match in matches)
    matches, localizer = drive(route_map, frames, refine_budget_ms=0.0)
    assert plainly(matches) == plainly(expected)
    assert localizer.points.told == ""


def test_zoom_that_is_told_goes_on_to_centimetres(route_map: RouteMap, frames: list[Frame]) -> None:
    """The middle of every second image, enlarged, with a CameraInfo that says so."""
    camera = frames[0].camera
    assert camera is not None
    height, width = camera.height * 4 // 5, camera.width * 4 // 5
    top, left = camera.height // 10, camera.width // 10
    k = np.reshape(camera.k, (3, 3)) - [[0, 0, left], [0, 0, top], [0, 0, 0]]
    cut = replace(camera_with(camera), width=width, height=height, k=tuple(k.ravel().tolist()))
    zoomed = cut.rescaled(camera.width, camera.height)
    size = (camera.width, camera.height)
    shown = [
        replace(
            frame,
            image=cv2.resize(
                frame.image[top : top + height, left : left + width],
                size,
                interpolation=cv2.INTER_CUBIC,
            ),
            camera=zoomed,
        )
        if number % 2
        else frame
        for number, frame in enumerate(frames)
    ]
    assert zoomed.focal == pytest.approx(1.25 * camera_with(camera).focal)
    matches, localizer = drive(route_map, shown)
    refined = [m.source == REFINED for m in matches]
    assert sum(refined[1::2]) >= 6
    assert all(refined[::2])
    for match, frame in zip(matches, frames, strict=True):
        if match.source == REFINED:
            assert off(match.pose, frame) < 0.2
    assert localizer.points.fault == ""


@pytest.mark.parametrize("pixels", [5, 15, 41])
def test_blurred_images_are_refined_well_or_not_at_all(
    route_map: RouteMap, frames: list[Frame], pixels: int
) -> None:
    kernel = np.full((1, pixels), 1 / pixels)
    blurred = [replace(one, image=cv2.filter2D(one.image, -1, kernel)) for one in frames]
    matches, _ = drive(route_map, blurred)
    assert {match.state for match in matches} == {MatchState.LOCALIZED}
    refined = [
        off(match.pose, frame)
        for match, frame in zip(matches, frames, strict=True)
        if match.source == REFINED
    ]
    assert max(refined, default=0.0) < 0.5
    assert len(refined) >= (len(frames) // 2 if pixels == 5 else 0)
    if pixels == 41:
        assert len(refined) < len(frames) // 2


def test_a_robot_that_stands_has_one_pose(route_map: RouteMap, frames: list[Frame]) -> None:
    matches, _ = drive(route_map, [frames[5]] * 12)
    poses = [match.pose for match in matches]
    assert {match.source for match in matches} == {REFINED}
    assert max(off(pose, frames[5]) for pose in poses) < 0.15
    assert len({pose.position for pose in poses if pose is not None}) <= 2


def test_a_live_drive_that_keeps_up_is_refined(route_map: RouteMap, frames: list[Frame]) -> None:
    asked = []

    def behind() -> bool:
        asked.append(1)
        return len(asked) == 2

    matches, _ = drive(route_map, frames[:4], behind, refine_budget_ms=10_000.0)
    assert [match.source for match in matches] == [REFINED, BY_PLACE, REFINED, REFINED]


@pytest.mark.parametrize(("factor", "told"), [(0.9, "too short"), (1.25, "too long")])
def test_wrong_intrinsics_are_noticed_and_do_not_lose_the_place(
    route_map: RouteMap, plain_map: RouteMap, frames: list[Frame], factor: float, told: str
) -> None:
    camera = frames[0].camera
    assert camera is not None
    k = np.array(camera.k) * [factor, 1, 1, 1, factor, 1, 1, 1, 1]
    wrong = [replace(frame, camera=replace(camera, k=tuple(k.tolist()))) for frame in frames]
    matches, localizer = drive(route_map, wrong)
    assert told in localizer.points.fault
    found = np.cumsum([bool(match.points and match.points.inliers) for match in matches])
    assert {m.source for m, count in zip(matches, found, strict=True) if count >= ENOUGH} == {
        BY_PLACE
    }
    expected, _ = drive(plain_map, frames)
    assert [m.place.id for m in matches] == [m.place.id for m in expected]
    assert {m.state for m in matches} == {MatchState.LOCALIZED}
    right = localizer.localize(frames[-1])
    assert (right.match.source, localizer.points.fault) == (REFINED, "")


def test_a_pose_elsewhere_than_the_belief_is_not_told(
    route_map: RouteMap, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = MapPoints.ask

    def elsewhere(self: MapPoints, *arguments: object) -> Answer | None:
        answer = ask(self, *arguments)  # type: ignore[arg-type]
        return None if answer is None else replace(answer, place=0)

    monkeypatch.setattr(MapPoints, "ask", elsewhere)
    monkeypatch.setattr(MapPoints, "log_ratio", lambda *_: 0.0)
    matches, _ = drive(route_map, frames)
    graph = route_map.localizable().graph
    first = graph.around(int(graph.spot[0]), tolerance_steps(graph.step))
    near = [bool(np.isin(graph.spot[match.place.id], first)) for match in matches]
    assert True in near
    assert False in near
    for match, by_first in zip(matches, near, strict=True):
        assert (match.source == REFINED) == by_first


def test_the_map_with_points_is_the_one_that_is_asked(
    route_map: RouteMap, plain_map: RouteMap, frames: list[Frame]
) -> None:
    embedder = ColourGridEmbedder()
    choice = MapChoice([Localizer(embedder, one, Settings()) for one in (plain_map, route_map)])
    assert choice.points.there
    choice.current = choice.localizers[1]
    assert choice.localize(frames[0]).match.source == REFINED
    choice.current = choice.localizers[0]
    assert choice.localize(frames[1]).match.points is None
    assert not choice.points.there


def test_points_make_a_place_surer_and_their_loss_less_sure(
    route_map: RouteMap, plain_map: RouteMap, frames: list[Frame]
) -> None:
    hazy = dict(sequence_filter=False, error_rate=0.5)
    with_points, _ = drive(route_map, frames[:3], **hazy)
    without, _ = drive(plain_map, frames[:3], **hazy)
    for seen, plain in zip(with_points, without, strict=True):
        assert seen.confidence >= plain.confidence
        assert seen.off_route < plain.off_route


def test_absence_counts_as_often_as_points_were_found(route_map: RouteMap) -> None:
    points = Localizer(ColourGridEmbedder(), route_map, Settings()).points
    assert [points.log_ratio(0) for _ in range(20)] == [0.0] * 20  # a drive by night
    share = 0.0
    for inliers in (9 + 1, 200, 0, 40, 0, 0):
        against = math.log(1 - min(share, MOST_FOUND))
        expected = dict.get({10: FOUND[0][1], 200: FOUND[-1][1], 40: FOUND[-1][1]}, inliers)
        ratio = points.log_ratio(inliers)
        assert ratio == pytest.approx(against if expected is None else expected)
        share = MEMORY * share + (1 - MEMORY) * (inliers > 0)
    for _ in range(30):
        points.log_ratio(50)
    assert points.log_ratio(0) == pytest.approx(math.log(1 - MOST_FOUND))
    points.reset()
    assert points.log_ratio(0) == 0.0


def test_a_testimony_multiplies_the_odds_of_its_spots() -> None:
    evidence = FrameEvidence(np.array([0.3, 0.2]), 0.1, 0.4)
    told = evidence_of_frames.Testimony(np.array([4, 5]), math.log(6.0))
    found = with_testimony(evidence, [np.array([1, 2]), np.array([5, 9])], told)
    total = 0.3 + 6 * 0.2 + 0.1 + 0.4
    np.testing.assert_allclose(found.groups, [0.3 / total, 1.2 / total])
    assert (found.missed, found.off) == pytest.approx((0.1 / total, 0.4 / total))

    groups = [Group(3, 1.0, np.array([3]), np.ones(1)), Group(9, 1.1, np.array([9]), np.ones(1))]
    beliefs = [Belief(line_graph(20), 2.0) for _ in range(2)]
    asked: list[list[int]] = []

    def witness(spots: np.ndarray, masses: np.ndarray) -> evidence_of_frames.Testimony:
        asked.append(spots[np.argsort(-masses)][:2].tolist())
        return evidence_of_frames.Testimony(np.array([8, 9, 10]), math.log(6.0))

    plain = beliefs[0].update(groups, evidence, Interval(0.1, None), 0.5)
    told_estimate = beliefs[1].update(groups, evidence, Interval(0.1, None), 0.5, witness)
    assert asked == [[3, 9]]
    before = beliefs[0].masses_of(np.array([3, 9]))
    after = beliefs[1].masses_of(np.array([3, 9]))
    factor = 6.0 ** (0.5 * TEMPER)
    assert after[1] / after[0] == pytest.approx(factor * before[1] / before[0])
    assert after[0] / beliefs[1].off == pytest.approx(before[0] / beliefs[0].off)
    one = beliefs[1]
    assert one.masses.sum() + one.rest + one.off == pytest.approx(1.0)
    assert (plain.spot, told_estimate.spot) == (3, 9)


def with_features(route_map: RouteMap, features: str) -> RouteMap:
    """A map whose points are of other local features."""
    assert route_map.points is not None
    return RouteMap(
        route_map.path,
        route_map.info,
        route_map.places,
        route_map.descriptors,
        route_map.postprocessing,
        route_map.bearings,
        replace(route_map.points, features=features),
    )


def test_an_image_is_asked_only_in_maps_of_the_features_that_looked_at_it(
    route_map: RouteMap, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(RootSift):
        name = "other"

    monkeypatch.setattr(
        "saane_ros.localization.points.load_features",
        lambda name, *_: Other() if name == "other" else RootSift(),
    )
    maps = (route_map, with_features(route_map, "other"))
    choice = MapChoice([Localizer(ColourGridEmbedder(), one, Settings()) for one in maps])
    first, second = (one.points for one in choice.localizers)
    assert choice.localize(frames[0]).match.source == REFINED
    assert first.told.endswith("pixels")
    assert second.told == "the image was looked at by rootsift-corners, for another map"


def test_maps_whose_points_cannot_be_used_say_why(route_map: RouteMap, tmp_path: Path) -> None:
    assert route_map.points is not None
    points = Localizer(
        ColourGridEmbedder(), with_features(route_map, "surf@0a1b2c3d"), Settings()
    ).points
    assert points.there
    assert not points.usable
    assert "There is no feature card 'surf'" in points.fault
    former = with_features(route_map, "rootsift-upright")
    matches, localizer = drive(former, [MetricTown().frame(5)])
    assert matches[0].source == BY_PLACE
    assert "of an earlier release: build the map again" in localizer.points.fault
