"""Another map while running, and a folder of maps, over DDS."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.srv import GetState
from localizer_world import Robot, localizer, street
from nav_msgs.msg import Path as PathMessage
from own_features import own_embedder
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from ros_world import Peer, drive, until
from scenes import smooth_scene

from saane_ros.localization import map_choice
from saane_ros.ros.localizer import loaded
from saane_ros.ros.shared.interface import SERVICES
from saane_ros.ros.shared.qos import LATCHED
from saane_ros.route_map.builder import RouteMapBuilder

LoadMap = SERVICES["load_map"].type


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    street(folder, "north", 0)
    street(folder, "south", 100, frame_id="yard")
    return folder


def set_map(peer: Peer, path: Path) -> Any:
    message = Parameter("map", value=str(path)).to_parameter_msg()
    request = SetParameters.Request(parameters=[message])
    return peer.ask(SetParameters, "/localizer/set_parameters", request).results[0]


def get_map(peer: Peer) -> str:
    request = GetParameters.Request(names=["map"])
    answer = peer.ask(GetParameters, "/localizer/get_parameters", request)
    return str(answer.values[0].string_value)


def test_the_parameter_changes_the_map_between_two_images_of_one_subscription(
    maps: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    opening = map_choice.open_choice

    def slow(path: str, *more: Any) -> Any:
        if path.endswith("south.routemap"):
            assert go.wait(60)
        return opening(path, *more)

    monkeypatch.setattr(loaded, "open_choice", slow)
    routes = peer.hear(PathMessage, "/localizer/route", LATCHED)
    with localizer(maps / "north.routemap") as node:
        robot = Robot(node, peer)
        until(lambda: node.intake is not None, "the activation")
        subscription = node.intake._subscription
        assert robot.follow(5, 8)[-1]["map"] == "north"
        assert robot.told["state"] == "localized"
        assert set_map(peer, maps / "south.routemap").successful
        # The old map is used, and the node answers, until the new one is there.
        assert robot.follow(13, 3)[-1]["state"] == "localized"
        answer = peer.ask(GetState, "/localizer/get_state", GetState.Request())
        assert answer.current_state.label == "active"
        refused = set_map(peer, maps)
        assert not refused.successful
        assert "Another map is being opened" in refused.reason
        go.set()
        until(lambda: node.loaded.path.endswith("south.routemap"), "the new map")
        assert not node._localized._value
        said = robot.follow(105, 8)
        assert {one["map"] for one in said} == {"south"}
        assert (said[-1]["state"], said[-1]["place"]) == ("localized", "12")
        assert robot.matches[-1].header.frame_id == "yard"
        until(lambda: len(routes) >= 2, "the route of the new map")
        assert routes[-1].header.frame_id == "yard"
        assert node.intake._subscription is subscription
        assert node.counters["dropped"] == node.counters["failed"] == 0
        assert get_map(peer) == str(maps / "south.routemap")


def test_a_map_that_cannot_be_leaves_the_old_one(
    maps: Path, peer: Peer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = maps / "north.routemap"
    broken = street(tmp_path, "broken", 0, 5).path
    with (broken / "descriptors.npy").open("r+b") as file:
        file.truncate(200)
    with localizer(path) as node:
        robot = Robot(node, peer)
        assert robot.follow(5, 6)[-1]["state"] == "localized"
        before = node.loaded
        refused = set_map(peer, tmp_path / "nothing")
        assert not refused.successful
        assert "There is no route map at" in refused.reason
        # Its head is well, and what is wrong is found on the way.
        assert set_map(peer, broken).successful
        until(lambda: get_map(peer) == str(path), "the way back")
        assert node.loaded is before
        assert node.settings.map == str(path)
        assert robot.follow(11, 2)[-1]["state"] == "localized"
    said = capfd.readouterr().err
    assert f"Map {path} stays in use. {broken / 'descriptors.npy'} was truncated" in said


def test_load_map_answers_when_the_map_is_there(maps: Path, peer: Peer, tmp_path: Path) -> None:
    def ask(path: Path) -> int:
        request = LoadMap.Request(map_url=str(path))
        return int(peer.ask(LoadMap, "/localizer/load_map", request).result)

    answers = LoadMap.Response
    broken = street(tmp_path, "broken", 0, 5).path
    (broken / "descriptors.npy").write_bytes(b"")
    with localizer(maps / "north.routemap") as node:
        until(lambda: node.state == "active", "the node")
        assert ask(maps / "south.routemap") == answers.RESULT_SUCCESS
        assert [one.info.name for one in node.loaded.localizer.maps] == ["south"]
        assert get_map(peer) == str(maps / "south.routemap")
        assert ask(tmp_path / "nothing") == answers.RESULT_MAP_DOES_NOT_EXIST
        assert ask(broken) == answers.RESULT_INVALID_MAP_DATA
        before = node.loaded
        assert ask(maps / "south.routemap") == answers.RESULT_SUCCESS  # read again
        assert node.loaded is not before
        assert ask(maps) == answers.RESULT_SUCCESS
        assert [one.info.name for one in node.loaded.localizer.maps] == ["north", "south"]
        robot = Robot(node, peer)
        assert robot.follow(105, 8)[-1]["map"] == "south"
    with localizer(tmp_path / "nothing") as node:
        until(lambda: node.problem, "the failure")
        assert ask(maps) == answers.RESULT_UNDEFINED_FAILURE


def test_in_a_folder_of_maps_the_one_that_is_seen_is_used(maps: Path, peer: Peer) -> None:
    routes = peer.hear(PathMessage, "/localizer/route", LATCHED)
    with localizer(maps) as node:
        robot = Robot(node, peer)
        assert routes == []
        assert node.report()["map"] == "north, 40 places, south, 40 places"
        south = robot.follow(105, 15)
        sure = [one for one in south if one["state"] == "localized"]
        assert len(sure) >= 10
        assert {one["map"] for one in sure} == {"south"}
        assert node.report()["map"] == "south, 40 places"
        until(lambda: routes, "the route")
        assert routes[-1].header.frame_id == "yard"
        north = robot.follow(3, 30)
        sure = [one for one in north[2:] if one["state"] == "localized"]
        assert {one["map"] for one in sure} == {"north"}
        assert sure[-1]["place"] == "32"
        until(lambda: routes[-1].header.frame_id == "site", "the other route")


def test_a_map_of_local_features_takes_the_place_of_one_of_grids(
    tmp_path: Path, peer: Peer
) -> None:
    """The model of the node stays; what it makes of an image beside the descriptor is the map's."""
    embedder = own_embedder("own-mutual")
    for name in ("grids", "own"):
        builder = RouteMapBuilder(embedder, tmp_path / f"{name}.routemap", rerank=name)
        builder.add(drive([smooth_scene(number) for number in range(12)]))
        builder.finish()
    with localizer(tmp_path / "grids.routemap", embedder) as node:
        robot = Robot(node, peer)
        until(lambda: node.intake is not None, "the activation")
        assert robot.show(smooth_scene(3))["place"] == "3"
        assert set_map(peer, tmp_path / "own.routemap").successful
        until(lambda: node.loaded.path.endswith("own.routemap"), "the new map")
        for place in (5, 6):
            told = robot.show(smooth_scene(place))
            assert (told["map"], told["place"]) == ("own", str(place))
        assert node.counters["failed"] == 0
