"""A map grows by the road that a drive leads on to, and a second drive is localized there."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from metric_town import EVERY, PLACES, MetricTown
from numpy.typing import NDArray
from scenes import ColourGridEmbedder, smooth_scene, strange_scene

from saane_ros.data.poses.files import yaw_quaternion
from saane_ros.data.poses.transforms import IDENTITY, compose, inverse
from saane_ros.errors import SaaneError
from saane_ros.localization.body import Base
from saane_ros.localization.extension import MapExtension
from saane_ros.localization.localizer import Localizer
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.statistics import drive_names
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import REFINED, Frame, Match, MatchState, Pose

SPACING = 2.0
LEAVES, TURNED = 25, np.radians(30.0)
SHIFT = np.array((500.0, -80.0))
SCALE = 1.01
"""Metres of odometry a metre."""


def true_pose(step: int, leaves: int = LEAVES) -> tuple[NDArray[np.float64], float]:
    """East along the map, and north from where the drive leaves it."""
    east = SPACING * min(step, leaves)
    return np.array((east, SPACING * max(0, step - leaves))), 0.0 if step <= leaves else np.pi / 2


def odometry(step: int, leaves: int = LEAVES) -> tuple[Pose, float]:
    """The true pose in a frame that is turned and elsewhere, and the metres driven."""
    position, yaw = true_pose(step, leaves)
    turn = np.array(((np.cos(TURNED), -np.sin(TURNED)), (np.sin(TURNED), np.cos(TURNED))))
    x, y = turn @ (SCALE * position) + SHIFT
    return Pose((float(x), float(y), 0.0), yaw_quaternion(yaw + TURNED)), SPACING * step


def scene(step: int, leaves: int = LEAVES, new: int = 1000) -> int:
    return step if step <= leaves else new + step


@pytest.fixture
def street(tmp_path: Path) -> RouteMap:
    frames = [
        Frame(smooth_scene(i), i * 10**9, f"{i}", Pose((SPACING * i, 0.0, 0.0))) for i in range(40)
    ]
    return build_map(frames, ColourGridEmbedder(), tmp_path / "street.routemap")


def view(number: int, seed: int) -> Frame:
    noise = np.random.default_rng(seed).normal(0, 10, (120, 160, 3))
    shown = smooth_scene(number)
    if number >= 1000:
        shown = strange_scene(number, patches=16 if number < 5000 else 32)
    image = np.clip(shown + noise, 0, 255).astype(np.uint8)
    return Frame(image, (1000 + seed) * 10**9)


def drive(
    route_map: RouteMap,
    extension: MapExtension | None,
    steps: range,
    leaves: int = LEAVES,
    new: int = 1000,
    clock: int = 0,
) -> list[Match]:
    """Matches of a drive; an extension takes its frames."""
    localizer = Localizer(ColourGridEmbedder(), route_map, Settings())
    found = []
    for step in steps:
        frame = view(scene(step, leaves, new), clock + step)
        found.append(localizer.localize(frame).match)
        if extension is not None:
            extension.take(frame, found[-1], odometry(step, leaves))
    return found


def test_a_second_drive_is_localized_on_the_new_road(street: RouteMap) -> None:
    extension = MapExtension(ColourGridEmbedder(), street, Base(street, Settings()))
    first = drive(street, extension, range(10, 65))
    states = [match.state for match in first]
    assert MatchState.LOCALIZED not in states[18:]
    assert MatchState.OFF_ROUTE in states
    added = len(extension)
    assert 38 <= added <= 50
    assert RouteMap.open(street.path).info.count == 40  # until it is finished
    assert extension.finish() == added
    grown = RouteMap.open(street.path)
    assert grown.info.count == 40 + added
    assert sorted(set(drive_names(grown))) == ["street", "street.1"]
    assert [one.name for one in street.path.parent.iterdir()] == ["street.routemap"]
    # Every new place lies where the robot truly was, but for what odometry is off.
    for place in grown.places:
        if place.name.startswith("street.1/"):
            step = round(place.stamp_ns / 1e9) - 1000
            assert place.pose is not None
            truth, yaw = true_pose(step)
            error = np.linalg.norm(np.array(place.pose.position[:2]) - truth)
            assert error < 0.5 + 0.01 * SPACING * (step - 10)
            assert abs(np.dot(place.pose.orientation, yaw_quaternion(yaw))) > np.cos(0.1)
    second = drive(grown, None, range(10, 65), clock=500)
    errors = []
    for step, match in zip(range(10, 65), second, strict=True):
        if match.pose is not None:
            errors.append(np.linalg.norm(np.array(match.pose.position[:2]) - true_pose(step)[0]))
    on_new = [match.state for match in second[LEAVES - 10 + 1 :]]
    assert on_new.count(MatchState.LOCALIZED) >= 36
    assert np.median(errors) < 0.6
    assert max(errors) < 2.5
    # The old road is there as before.
    assert drive(grown, None, range(0, 40), leaves=100, clock=900)[-1].place.name == "street/39"


def test_a_drive_on_the_map_or_lost_for_a_moment_adds_nothing(street: RouteMap) -> None:
    extension = MapExtension(ColourGridEmbedder(), street, Base(street, Settings()))
    drive(street, extension, range(0, 40), leaves=100)
    assert len(extension) == 0
    localizer = Localizer(ColourGridEmbedder(), street, Settings())
    for step in range(30):
        frame = view(step if step not in (15, 16) else 2000 + step, 100 + step)
        extension.take(frame, localizer.localize(frame).match, odometry(step, 100))
    assert len(extension) == 0
    assert extension.finish() == 0
    assert RouteMap.open(street.path).info == street.info
    assert [one.name for one in street.path.parent.iterdir()] == ["street.routemap"]


def test_a_robot_that_stands_or_has_no_odometry_or_was_never_on_the_map_adds_nothing(
    street: RouteMap,
) -> None:
    extension = MapExtension(ColourGridEmbedder(), street, Base(street, Settings()))
    drive(street, extension, range(60, 80))  # never on the map
    assert len(extension) == 0
    first = drive(street, extension, range(10, 45), clock=100)
    before = len(extension)
    assert before > 10
    for step in range(20):
        extension.take(view(4000 + step, 300 + step), first[-1], odometry(44))
        extension.take(view(5000 + step, 400 + step), first[-1], None)
    assert len(extension) == before
    extension.close()


def test_an_interrupted_extension_is_taken_over_and_the_next_is_a_drive_of_its_own(
    street: RouteMap,
) -> None:
    extension = MapExtension(ColourGridEmbedder(), street, Base(street, Settings()))
    drive(street, extension, range(10, 50))
    gathered = len(extension)
    assert gathered > 15
    extension.close()
    again = MapExtension(ColourGridEmbedder(), street, Base(street, Settings()))
    assert len(again) == gathered
    assert again.finish() == gathered
    grown = RouteMap.open(street.path)
    third = MapExtension(ColourGridEmbedder(), grown, Base(grown, Settings()))
    drive(grown, third, range(0, 45), leaves=12, new=5000, clock=2000)
    added = third.finish()
    assert added > 20
    twice = RouteMap.open(street.path)
    assert twice.info.count == 40 + gathered + added
    assert sorted(set(drive_names(twice))) == ["street", "street.1", "street.2"]


def test_a_merge_that_fails_leaves_the_map_and_the_places(
    street: RouteMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    extension = MapExtension(ColourGridEmbedder(), street, Base(street, Settings()))
    drive(street, extension, range(10, 50))
    gathered = len(extension)

    def full(*_: object) -> RouteMap:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("saane_ros.localization.extension.merge_maps", full)
        with pytest.raises(OSError, match="No space"):
            extension.finish()
    assert RouteMap.open(street.path).info.count == 40
    assert MapExtension(ColourGridEmbedder(), street, Base(street, Settings())).finish() == gathered


def test_maps_without_poses_or_with_a_projection_are_refused(tmp_path: Path) -> None:
    frames = [Frame(smooth_scene(i), i * 10**9, str(i)) for i in range(12)]
    bare = build_map(frames, ColourGridEmbedder(), tmp_path / "bare.routemap")
    with pytest.raises(SaaneError, match="Map bare has no poses"):
        MapExtension(ColourGridEmbedder(), bare, Base(bare, Settings()))
    posed = [
        Frame(one.image, one.stamp_ns, one.name, Pose((2.0 * n, 0.0, 0.0)))
        for n, one in enumerate(frames)
    ]
    white = build_map(
        posed, ColourGridEmbedder(), tmp_path / "white.routemap", postprocessing="pca512"
    )
    with pytest.raises(SaaneError, match="went through pca512"):
        MapExtension(ColourGridEmbedder(), white, Base(white, Settings()))


def test_places_after_odometry_was_set_anew_are_not_posed_by_what_was_before(
    street: RouteMap,
) -> None:
    extension = MapExtension(ColourGridEmbedder(), street, Base(street, Settings()))
    localizer = Localizer(ColourGridEmbedder(), street, Settings())
    for step in range(10, 60):
        frame = view(scene(step), step)
        there, metres = odometry(step)
        if step >= 40:  # a reset, while the robot is on the new road
            x, y, z = there.position
            there = Pose((x - 500.0, y + 80.0, z), there.orientation)
        extension.take(frame, localizer.localize(frame).match, (there, metres))
    added = extension.finish()
    assert added > 10
    new = [p for p in RouteMap.open(street.path).places if p.name.startswith("street.1/")]
    assert len(new) == added
    assert max(place.stamp_ns for place in new) < 1040 * 10**9


def test_new_places_of_a_map_with_points_have_some_too(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap", reason="the extra metric is absent")
    town = MetricTown()
    route_map = town.build(tmp_path)
    before = route_map.points
    assert before is not None
    localizer = Localizer(ColourGridEmbedder(), route_map, Settings())
    extension = MapExtension(ColourGridEmbedder(), route_map, Base(route_map, Settings()))
    last = EVERY * (PLACES - 1)
    # Odometry has a zero of its own.
    zero = inverse(town.frame(0).pose or IDENTITY)
    for index in range(last + 34):
        frame = town.frame(index)
        if index <= last + 1:
            match = localizer.localize(frame).match
        else:
            match = replace(match, state=MatchState.OFF_ROUTE, pose=None)
        assert frame.pose is not None
        there = compose(zero, frame.pose)
        extension.take(replace(frame, pose=None), match, (there, 0.8 * index))
    added = extension.finish()
    grown = RouteMap.open(route_map.path)
    assert added >= 10
    assert grown.points is not None
    assert grown.points.places == len(grown.points) == PLACES + added
    assert grown.points.points > before.points
    again = Localizer(ColourGridEmbedder(), grown, Settings())
    errors = []
    for index in range(last + 6, last + 30, 4):
        frame = town.frame(index)
        match = again.localize(frame).match
        assert frame.pose is not None
        if match.source == REFINED and match.pose is not None:
            errors.append(math.dist(match.pose.position, frame.pose.position))
    assert len(errors) >= 5
    assert np.median(errors) < 0.3


def test_an_extension_without_intrinsics_keeps_the_points_that_there_are(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap", reason="the extra metric is absent")
    town = MetricTown()
    route_map = town.build(tmp_path)
    localizer = Localizer(ColourGridEmbedder(), route_map, Settings())
    extension = MapExtension(ColourGridEmbedder(), route_map, Base(route_map, Settings()))
    last = EVERY * (PLACES - 1)
    for index in range(last + 12):
        frame = replace(town.frame(index), camera=None)
        if index <= last + 1:
            match = localizer.localize(frame).match
        else:
            match = replace(match, state=MatchState.OFF_ROUTE, pose=None)
        extension.take(frame, match, (frame.pose or IDENTITY, 0.8 * index))
    added = extension.finish()
    points = RouteMap.open(route_map.path).points
    assert added > 0
    assert points is not None
    assert (points.places, len(points)) == (PLACES, PLACES + added)
