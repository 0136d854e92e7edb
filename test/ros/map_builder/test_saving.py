"""Saving a map over DDS: beside what goes on meanwhile, and beside a map that is there already."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from map_builder_world import PERIOD, deliver, feed, map_builder, odometry, save, send
from nav_msgs.msg import Odometry
from ros_world import Peer, drive, image_message, until, values
from scenes import ColourGridEmbedder, smooth_scene
from sensor_msgs.msg import Image

from saane_ros.localization.localizer import Localizer
from saane_ros.ros.map_builder.node import MapBuilderNode
from saane_ros.route_map import snapshot, writing
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.place_index import build_index
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.writing import write_map
from saane_ros.settings import Settings
from saane_ros.types import Frame

BY_TIME = {"pose_source": "none", "unit": "seconds", "every": 0.01}
PLACES = 60


class SlowWriter:
    """Writes a map, or trains its index, once it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, held: str = "map") -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        if held == "map":
            monkeypatch.setattr(snapshot, "write_map", self._held(write_map))
        else:
            monkeypatch.setattr(writing, "wants_index", lambda count, size: True)
            monkeypatch.setattr(writing, "build_index", self._held(build_index))

    def _held(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def wait(*arguments: Any) -> Any:
            self.begun.set()
            assert self.go_on.wait(60)
            return work(*arguments)

        return wait


@pytest.mark.parametrize("held", ["map", "index"])
def test_nothing_waits_for_a_map_that_is_written(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    path, slow = tmp_path / "m.routemap", SlowWriter(monkeypatch, held)
    reports = peer.hear(DiagnosticArray, "/diagnostics")
    with map_builder(map=str(path), **BY_TIME) as node, ThreadPoolExecutor(1) as caller:
        camera = peer.talk(Image, "image")
        for number in range(1, 4):
            send(node, camera, number)
        try:
            answer = caller.submit(save, peer)
            assert slow.begun.wait(60)
            state = peer.ask(GetState, "/map_builder/get_state", GetState.Request())
            assert state.current_state.label == "active"
            for number in range(4, 7):
                send(node, camera, number)
            reports.clear()
            until(lambda: reports, "a report")
            said = values(reports[-1].status[0])
            assert (said["places"], said["unsaved_places"]) == ("6", "6")
            again = save(peer)
            assert not again.success
            assert "is being written" in again.message
            assert not answer.done()
        finally:
            slow.go_on.set()
        assert answer.result(60).message == f"3 places written to {path}."
        assert node.report()["unsaved_places"] == 3
        assert node.counters["dropped"] == node.counters["failed"] == 0
        assert RouteMap.open(path).info.count == 3
        assert save(peer).message == f"6 places written to {path}."
    assert [place.stamp_ns for place in RouteMap.open(path).places] == [
        number * PERIOD for number in range(1, 7)
    ]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_node_that_is_cleaned_up_meanwhile_ends_what_it_writes(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, slow = tmp_path / "m.routemap", SlowWriter(monkeypatch)
    with map_builder(map=str(path), **BY_TIME) as node, ThreadPoolExecutor(1) as caller:
        camera = peer.talk(Image, "image")
        for number in range(1, 4):
            send(node, camera, number)
        try:
            answer = caller.submit(save, peer)
            assert slow.begun.wait(60)
            node.trigger_deactivate()
            node.trigger_cleanup()
            assert node.state == "unconfigured"
            node.trigger_configure()
            assert "Another build is writing" in node.problem
        finally:
            slow.go_on.set()
        assert answer.result(60).success
        until(lambda: [entry.name for entry in tmp_path.iterdir()] == [path.name], "the end")
    assert RouteMap.open(path).info.count == 3


def finished(path: Path) -> None:
    scenes = [smooth_scene(1000 + number) for number in range(PLACES)]
    build_map(drive(scenes), ColourGridEmbedder(), path)


def extend(node: MapBuilderNode, peer: Peer, begin: float, count: int) -> list[Frame]:
    """Drive on from so many metres on the same road, an image every 2 m; what was seen."""
    camera, wheels = peer.talk(Image, "image"), peer.talk(Odometry, "odometry")

    def turn(number: int) -> None:
        wheels.publish(odometry(number * PERIOD, begin + 2.0 * number))

    start = feed(node, turn, 1)
    seen = []
    for number in range(start, start + count):
        deliver(node, turn, number + 1)
        send(node, camera, number)
        seen.append(Frame(smooth_scene(number), number * PERIOD, str(begin + 2.0 * number)))
    return seen


def test_a_restart_does_not_replace_a_finished_map(peer: Peer, tmp_path: Path) -> None:
    path = tmp_path / "road.routemap"
    finished(path)
    with map_builder(map=str(path)) as node:
        until(lambda: node.problem, "the refusal")
        assert f"{path} is a finished map of 60 places" in node.problem
        assert "set existing to extend or replace" in node.problem
        until(lambda: node.state == "unconfigured", "the way back from configuring")
        assert not save(peer).success
    assert RouteMap.open(path).info.count == PLACES
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    with map_builder(map=str(path), existing="replace", **BY_TIME) as node:
        camera = peer.talk(Image, "image")
        for number in range(1, 6):
            send(node, camera, number)
        assert save(peer).message == f"5 places written to {path}."
    assert RouteMap.open(path).info.count == 5


def test_a_map_is_extended_by_a_drive_that_goes_on(peer: Peer, tmp_path: Path) -> None:
    path = tmp_path / "road.routemap"
    finished(path)  # 0 to 118 m
    with map_builder(map=str(path), existing="extend", every=2.0) as node:
        first = extend(node, peer, 90.0, 30)
        assert save(peer).message == f"90 places written to {path}."
        assert save(peer).message == f"90 places written to {path}."
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    both = RouteMap.open(path)
    names = [place.name.split("/")[0] for place in both.places]
    assert (names.count("road"), names.count("road-2")) == (PLACES, 30)
    old = [
        Frame(smooth_scene(1000 + number), (number + 1) * 10**9, str(2.0 * number))
        for number in range(PLACES)
    ]
    for frames in (old, first):
        localizer = Localizer(ColourGridEmbedder(), both, Settings())
        matches = [localizer.localize(frame).match for frame in frames]
        found = [match.pose.position[0] if match.pose else np.inf for match in matches]
        truth = [float(frame.name) for frame in frames]
        np.testing.assert_allclose(found[10:], truth[10:], atol=2.5)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"frame_id": "odom"}, "has the frame map and the new drive odom"),
        ({"pose_source": "none", "unit": "seconds"}, "extended by where its places lie"),
        ({"pose_source": "fix"}, "does not tell where on Earth it lies, as fixes do"),
    ],
)
def test_a_drive_that_cannot_extend_the_map_fails_the_configure(
    given: dict[str, str], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "road.routemap"
    finished(path)
    with map_builder(map=str(path), existing="extend", **given) as node:
        until(lambda: node.problem, "the failure")
        assert reason in node.problem
    assert RouteMap.open(path).info.count == PLACES
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_bag_that_is_played_again_adds_nothing(peer: Peer, tmp_path: Path) -> None:
    path = tmp_path / "m.routemap"
    given = {"pose_source": "none", "unit": "seconds", "every": 0.2}
    with map_builder(map=str(path), **given) as node:
        camera = peer.talk(Image, "image")
        lap = [image_message(smooth_scene(number), number * PERIOD) for number in range(100, 130)]

        def play(images: list[Image]) -> None:
            for image in images:
                taken = node.counters["in"]
                camera.publish(image)
                until(lambda taken=taken: node.counters["in"] > taken, "an image")
                until(
                    lambda: (
                        sum(node.counters[kind] for kind in ("processed", "failed"))
                        == node.counters["in"]
                    ),
                    "its end",
                )

        lost = [image for number, image in enumerate(lap) if number % 7]
        play(lost)  # some do not arrive the first time
        places = node.report()["places"]
        assert places > 10
        for _ in range(2):
            play(lap)
            assert node.report()["places"] == places
        assert node.report()["repeated_images"] == 2 * (len(lap) - 1)  # the first one leaps
        # Another drive by a clock that was set back shows something else.
        play([image_message(smooth_scene(number), number * PERIOD) for number in range(20, 50)])
        assert node.report()["places"] == pytest.approx(places + 10, abs=2)
