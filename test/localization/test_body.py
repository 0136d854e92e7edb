"""Whose pose comes out: that of a vehicle whose camera sits elsewhere than the mapping one's."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rigid import matrix, poses, same
from scenes import ColourGridEmbedder, smooth_scene
from scipy.spatial.transform import Rotation

from saane_ros.data.poses.files import yaw_quaternion
from saane_ros.errors import SaaneError
from saane_ros.localization.body import Base
from saane_ros.localization.localizer import Localizer
from saane_ros.localization.pose_prior import PosePrior
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.info import SEAL_NAME, sealed
from saane_ros.route_map.merge import merge_maps
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, MatchState, Pose

PLACES = 30
ON_ROOF = Pose((1.5, 0.0, 1.8))
"""The mapping camera: ahead of the axle, on the roof, looking ahead."""
NORTH = yaw_quaternion(math.pi / 2)


def street(
    folder: Path, camera: Pose | None, body: str = "base_link", name: str = "street"
) -> RouteMap:
    """A drive to the north, a place every two metres."""
    frames = [
        Frame(smooth_scene(n), n * 10**9, f"{n}", Pose((100.0, 2.0 * n, 0.0), NORTH))
        for n in range(PLACES)
    ]
    path = folder / f"{name}.routemap"
    return build_map(frames, ColourGridEmbedder(), path, body=body, camera=camera)


@pytest.fixture(scope="module")
def route_map(tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    return street(tmp_path_factory.mktemp("map"), ON_ROOF)


def based(route_map: RouteMap, **settings: str) -> Base:
    return Base(route_map, Settings(**settings))


@given(mapping=poses(5.0), own=poses(5.0), body=poses())
def test_both_cameras_look_from_one_point(
    route_map: RouteMap, mapping: Pose, own: Pose, body: Pose
) -> None:
    """What is asked for: base times own mount is body times the map's mount."""
    base = based(route_map)
    base._info = replace(route_map.info, camera=mapping)
    base.camera = own
    found, _ = base.moved(body, tuple(np.eye(6).ravel()))
    np.testing.assert_allclose(
        matrix(found) @ matrix(own), matrix(body) @ matrix(mapping), rtol=0, atol=1e-6
    )


@given(mapping=poses(5.0), own=poses(5.0), body=poses(), seed=st.integers(0, 99))
def test_the_covariance_is_that_of_small_errors(
    route_map: RouteMap, mapping: Pose, own: Pose, body: Pose, seed: int
) -> None:
    """A second way: differences of the moved pose for a small step along each of the six axes."""
    root = np.random.default_rng(seed).normal(size=(6, 6))
    covariance = root @ root.T + np.eye(6)
    base = based(route_map)
    base._info = replace(route_map.info, camera=mapping)
    base.camera = own
    pose, moved = base.moved(body, tuple(covariance.ravel()))
    jacobian = np.empty((6, 6))
    for axis in range(6):
        ends = []
        for size in (1e-5, -1e-5):
            step = size * np.eye(6)[axis]
            turned = Rotation.from_rotvec(step[3:]) * Rotation.from_quat(body.orientation)
            position = tuple((np.array(body.position) + step[:3]).tolist())
            stepped = Pose(position, tuple(turned.as_quat().tolist()))
            after, _ = base.moved(stepped, tuple(covariance.ravel()))
            turn = (
                Rotation.from_quat(after.orientation) * Rotation.from_quat(pose.orientation).inv()
            )
            ends.append(np.concatenate([after.position, turn.as_rotvec()]))
        jacobian[:, axis] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(
        np.array(moved).reshape(6, 6), jacobian @ covariance @ jacobian.T, rtol=1e-3, atol=1e-3
    )


def localized(route_map: RouteMap, settings: Settings, camera: Pose | None = None) -> list[Pose]:
    """Poses of a drive over the map's own images, where they are localized."""
    localizer = Localizer(ColourGridEmbedder(), route_map, settings)
    if camera is not None:
        localizer.base.camera = camera
    found = []
    for n in range(5, 20):
        match = localizer.localize(Frame(smooth_scene(n), n * 10**9)).match
        if match.state is MatchState.LOCALIZED and match.pose is not None:
            found.append(match.pose)
    assert len(found) > 5
    return found


def test_a_camera_mounted_elsewhere_tells_its_own_base(route_map: RouteMap) -> None:
    """A robot whose camera looks back from its rear, so that it stands the other way round."""
    of_body = localized(route_map, Settings())
    told = localized(route_map, Settings(camera_pose=f"-0.4 0.1 0.8 0 0 {math.pi!r}"))
    own = matrix(Pose((-0.4, 0.1, 0.8), yaw_quaternion(math.pi)))
    for body, base in zip(of_body, told, strict=True):
        same(base, matrix(body) @ matrix(ON_ROOF) @ np.linalg.inv(own))
        # The camera is 1.5 m north of the body; the base looks south, its own camera 0.4 m behind
        # it and 0.1 m to its left, which is east.
        assert base.position[0] == pytest.approx(100.0 - 0.1, abs=1e-6)
        assert base.position[1] == pytest.approx(body.position[1] + 1.5 - 0.4, abs=1e-6)
        assert base.position[2] == pytest.approx(1.0, abs=1e-6)
    assert localized(route_map, Settings(), Pose((-0.4, 0.1, 0.8), yaw_quaternion(math.pi))) == told


def test_the_mapping_vehicle_itself_and_no_base_frame_change_nothing(route_map: RouteMap) -> None:
    of_body = localized(route_map, Settings())
    for pose in localized(route_map, Settings(camera_pose="1.5 0 1.8 0 0 0")):
        same(pose, matrix(of_body.pop(0)))
    away = Settings(base_frame="", camera_pose="9 9 9 0 0 0")
    assert localized(route_map, away) == localized(route_map, Settings())


def test_what_is_not_known_is_told(route_map: RouteMap, tmp_path: Path) -> None:
    base = based(route_map)
    assert base.wanting
    assert (base.body, base.assumed) == ("base_link", "")
    base.camera = ON_ROOF
    assert not base.wanting
    older = based(street(tmp_path, None, ""), camera_pose="1 0 1 0 0 0")
    assert not older.wanting
    assert older.assumed == (
        "Map street does not tell where its camera sat on its vehicle, so its poses are taken for "
        "those of base_link."
    )
    silent = based(street(tmp_path, None))
    assert silent.assumed == ""
    assert "does not tell" in based(street(tmp_path, None), camera_pose="1 0 1 0 0 0").assumed
    assert older.moved(ON_ROOF, tuple(np.eye(6).ravel()))[0] == ON_ROOF
    assert based(street(tmp_path, None, "gps"), base_frame="").body == "gps"
    with pytest.raises(SaaneError, match="give six numbers"):
        based(route_map, camera_pose="1 2 3")


def test_a_pose_less_sure_than_allowed_is_so_at_the_base(route_map: RouteMap) -> None:
    """Five degrees at a base 100 m from the camera are 9 m; the body itself is sure to a metre."""
    far = Settings(camera_pose="100 0 0 0 0 0", max_deviation=5.0)
    localizer = Localizer(ColourGridEmbedder(), route_map, far)
    matches = [localizer.localize(Frame(smooth_scene(n), n * 10**9)).match for n in range(5, 20)]
    assert {match.pose for match in matches} == {None}
    assert any(match.state is MatchState.LOCALIZED for match in matches)


def test_maps_of_two_vehicles_merge_into_the_body_of_the_first(tmp_path: Path) -> None:
    low = Pose((0.5, 0.2, 0.4), yaw_quaternion(-0.3))
    first = street(tmp_path, ON_ROOF, name="car")
    second = street(tmp_path, low, "chassis", "cart")
    merged = merge_maps([first, second], tmp_path / "both.routemap")
    assert (merged.info.body, merged.info.camera) == ("base_link", ON_ROOF)
    places = {place.name: place.pose for place in merged.places}
    for place in second.places:
        pose = places[f"cart/{place.name}"]
        assert pose is not None
        assert place.pose is not None
        np.testing.assert_allclose(
            matrix(pose) @ matrix(ON_ROOF), matrix(place.pose) @ matrix(low), atol=1e-9
        )
    for place in first.places:
        assert places[f"car/{place.name}"] == place.pose
    # Of a map that does not tell, poses are taken as they are.
    unknown = street(tmp_path, None, "", "old")
    taken = merge_maps([first, unknown], tmp_path / "taken.routemap").places
    assert {place.pose for place in taken} == {place.pose for place in first.places}


def test_the_body_is_kept_on_disk(route_map: RouteMap, tmp_path: Path) -> None:
    again = RouteMap.open(route_map.path).info
    assert (again.body, again.camera) == ("base_link", ON_ROOF)
    old = RouteMap.open(street(tmp_path, None, "").path).info
    assert (old.body, old.camera) == ("", None)


def test_a_told_pose_of_the_base_is_the_bodys_again(route_map: RouteMap) -> None:
    base = based(route_map, camera_pose="0.4 0.1 0.9 0 0.2 0.3")
    body = route_map.places[7].pose
    assert body is not None
    told, _ = base.moved(body, tuple(np.eye(6).ravel()))
    assert np.linalg.norm(np.subtract(told.position, body.position)) > 0.3
    back = base.told(PosePrior(told, tuple(np.eye(6).ravel()), "map")).pose
    np.testing.assert_allclose(back.position, body.position, atol=1e-9)
    np.testing.assert_allclose(back.orientation, body.orientation, atol=1e-9)


@pytest.mark.parametrize(
    ("key", "value"),
    [("camera", [1, 2, 3]), ("camera", [0.0] * 7), ("camera", "roof"), ("body", 3)],
)
def test_a_damaged_body_is_told(tmp_path: Path, key: str, value: object) -> None:
    path = street(tmp_path, ON_ROOF).path
    head = yaml.safe_load((path / "map.yaml").read_text(encoding="utf-8"))
    del head[SEAL_NAME]
    text = sealed(yaml.safe_dump({**head, key: value}))
    (path / "map.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SaaneError, match="is damaged"):
        RouteMap.open(path)
