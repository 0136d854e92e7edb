"""Maps of several cameras of one robot, and of a fisheye, in the localizer."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from lenses import FISHEYE, NORMAL, Rig, lens
from scenes import ColourGridEmbedder

from saane_ros.data.poses.transforms import read_mount, turn_between
from saane_ros.localization.localizer import Localizer
from saane_ros.metric.cameras import Camera
from saane_ros.metric.features import MOST_OF_MAP, RootSift
from saane_ros.metric.triangulation import PLACE_POINTS
from saane_ros.route_map.builder import RouteMapBuilder
from saane_ros.route_map.merge import merge_maps
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.simulation import Town, Traverse
from saane_ros.types import REFINED, Match, MatchState

pytest.importorskip("pycolmap", reason="the extra metric is absent")

FRONT, LEFT = "1.2 0.1 1.5 0 0.03 0", "0.3 0.5 1.4 0 0 1.2"
SIDE = lens(280, 210, 190.0)
STEPS = range(1, 32, 3)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig(Traverse(Town(2001, 50.0), "day", 1, lateral_m=-1.75))


def build(rig: Rig, camera: Camera, told: str, path: Path, every: int = 2) -> RouteMap:
    """A map by one camera of the robot."""
    mount = read_mount(told)
    assert mount is not None
    builder = RouteMapBuilder(
        ColourGridEmbedder(),
        path,
        body="base_link",
        camera=mount,
        features=RootSift(MOST_OF_MAP),
        intrinsics=camera,
    )
    builder.add(rig.frame(i, camera, mount) for i in range(0, 36, every))
    return builder.finish()


@pytest.fixture(scope="module")
def both(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    """The maps of two cameras merged."""
    folder = tmp_path_factory.mktemp("rig")
    front = build(rig, NORMAL, FRONT, folder / "front.routemap")
    left = build(rig, SIDE, LEFT, folder / "left.routemap")
    return merge_maps([front, left], folder / "both.routemap")


def errors(
    rig: Rig, route_map: RouteMap, camera: Camera, told: str, steps: range = STEPS
) -> tuple[list[Match], list[float]]:
    """Matches of a drive with one camera, and metres of the base from where it was."""
    localizer = Localizer(ColourGridEmbedder(), route_map, Settings(camera_pose=told))
    mount = read_mount(told)
    assert mount is not None
    matches, apart, turns = [], [], []
    for frame in (rig.frame(i, camera, mount) for i in steps):
        match = localizer.localize(frame).match
        assert frame.pose is not None
        if match.source == REFINED and match.pose is not None:
            apart.append(math.dist(match.pose.position, frame.pose.position))
            turns.append(turn_between(match.pose, frame.pose))
        matches.append(match)
    # One image of a rig's side shows next to nothing but a wall.
    assert sorted(turns)[-2] < math.radians(1.0)
    return matches, apart


@pytest.mark.parametrize(("camera", "told"), [(NORMAL, FRONT), (SIDE, LEFT)], ids=["front", "left"])
def test_either_camera_of_a_rig_is_refined_by_their_map(
    rig: Rig, both: RouteMap, camera: Camera, told: str
) -> None:
    assert both.points is not None
    assert (np.diff(both.points.starts) >= PLACE_POINTS).mean() > 0.8
    matches, apart = errors(rig, both, camera, told)
    assert {match.state for match in matches} == {MatchState.LOCALIZED}
    drive = "front/" if told == FRONT else "left/"
    assert all(both.places[match.place.id].name.startswith(drive) for match in matches)
    # Three images of the left side face a bare wall.
    assert len(apart) >= 0.7 * len(matches)
    assert np.median(apart) < 0.1


def test_a_fisheye_is_refined_by_its_own_map_and_tells_the_base(rig: Rig, tmp_path: Path) -> None:
    route_map = build(rig, FISHEYE, FRONT, tmp_path / "fish.routemap", 3)
    matches, apart = errors(rig, route_map, FISHEYE, FRONT, range(1, 32, 5))
    assert {match.state for match in matches} == {MatchState.LOCALIZED}
    assert len(apart) >= 0.9 * len(matches)
    assert np.median(apart) < 0.1
