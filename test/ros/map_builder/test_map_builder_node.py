"""The map builder node with real messages over DDS."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from map_builder_world import PERIOD, deliver, feed, map_builder, newest, odometry, save, send
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from ros_world import MS, Peer, image_message, until, values
from scenes import ColourGridEmbedder, smooth_scene
from sensor_msgs.msg import Image, NavSatFix, NavSatStatus

from saane_ros.ros.map_builder.settings import MapBuilderSettings
from saane_ros.ros.shared.clock import to_stamp
from saane_ros.ros.shared.qos import LATCHED
from saane_ros.route_map.postprocessing import fit
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import NodeSettings, default_settings


def test_a_place_every_two_metres_with_the_pose_at_the_images_stamp(
    peer: Peer, tmp_path: Path
) -> None:
    path = tmp_path / "drive.routemap"
    with map_builder(map=str(path), every=2.0, frame_id="odom", postprocessing="mean") as node:
        camera, wheels = peer.talk(Image, "image"), peer.talk(Odometry, "odometry")
        routes = peer.hear(PathMessage, "/map_builder/route", LATCHED)

        # Odometry lies between the images: 0.7 m per image, sampled half a period off.
        # Poses are taken best effort: what is sent before both ends know each other is lost.
        # Two must agree before they are believed.
        def start() -> bool:
            for stamp in (0, 10 * MS):
                wheels.publish(odometry(stamp, 7.0 * stamp / 1e9))
            return newest(node) == 10 * MS

        until(start, "the first poses")
        for stamp in (PERIOD // 2 + index * PERIOD for index in range(22)):
            wheels.publish(odometry(stamp, 7.0 * stamp / 1e9))
        until(lambda: newest(node) == stamp, "the odometry")
        for number in range(1, 20):
            send(node, camera, number)
        assert save(peer).message == f"7 places written to {path}."
        until(lambda: routes and len(routes[-1].poses) == 7, "the route")
    places = RouteMap.open(path).places
    # The first image is at 0.7 m and a place is every 2 m: every third image, 2.1 m apart.
    assert [place.stamp_ns for place in places] == [(1 + 3 * i) * PERIOD for i in range(7)]
    for index, place in enumerate(places):
        assert place.pose is not None
        assert place.pose.position == pytest.approx((0.7 + 2.1 * index, 0, 0))
    built = RouteMap.open(path)
    assert built.info.frame_id == "odom"
    embedded = ColourGridEmbedder().embed([smooth_scene(1 + 3 * i) for i in range(7)])
    expected = fit("mean", np.stack([embedding.descriptor for embedding in embedded]))
    assert expected is not None
    assert built.postprocessing is not None
    np.testing.assert_allclose(
        built.postprocessing.statistics.mean, expected.statistics.mean, atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.norm(built.descriptors, axis=1), 10, rtol=1e-5)
    assert not list(tmp_path.glob(".*.building"))


def test_fixes_become_metres_of_the_first_fix_even_after_a_restart(
    peer: Peer, tmp_path: Path
) -> None:
    path = tmp_path / "drive.routemap"
    metre = math.degrees(1 / 6_378_137.0)  # of longitude at the equator
    given = {"map": str(path), "pose_source": "fix", "unit": "seconds", "every": 0.05}

    def drive(numbers: range) -> None:
        with map_builder(**given) as node:
            camera, receiver = peer.talk(Image, "image"), peer.talk(NavSatFix, "fix")

            no_fix = NavSatFix(status=NavSatStatus(status=NavSatStatus.STATUS_NO_FIX))
            until(lambda: receiver.publish(no_fix) or node._poses.ignored, "the receiver")
            for number in (*numbers, numbers[-1] + 1):
                fix = NavSatFix(latitude=0.0, longitude=(5 + number) * metre, altitude=10.0)
                fix.status.status = NavSatStatus.STATUS_FIX
                fix.header.stamp = to_stamp(number * PERIOD)
                receiver.publish(fix)
            until(lambda: newest(node) == number * PERIOD, "the fixes")
            for number in numbers:
                send(node, camera, number)
            if numbers[0] > 1:
                assert save(peer).success

    drive(range(1, 4))
    assert not path.exists()
    drive(range(4, 7))
    built = RouteMap.open(path)
    assert built.info.origin == pytest.approx((0.0, 6 * metre, 10.0))
    positions = [place.pose.position for place in built.places if place.pose]
    np.testing.assert_allclose(positions, [(i, 0, 0) for i in range(6)], atol=1e-4)


def test_images_wait_for_poses_that_come_once_a_second(peer: Peer, tmp_path: Path) -> None:
    path = tmp_path / "drive.routemap"
    metre = math.degrees(1 / 6_378_137.0)
    given = {"map": str(path), "pose_source": "fix", "unit": "seconds", "every": 0.01}
    with map_builder(**given) as node:
        camera, receiver = peer.talk(Image, "image"), peer.talk(NavSatFix, "fix")
        no_fix = NavSatFix(status=NavSatStatus(status=NavSatStatus.STATUS_NO_FIX))
        until(lambda: receiver.publish(no_fix) or node._poses.ignored, "the receiver")

        def locate(second: int) -> None:
            message = NavSatFix(latitude=0.0, longitude=2 * metre * second, altitude=0.0)
            message.status.status = NavSatStatus.STATUS_FIX
            message.header.stamp = to_stamp(second * 10 * PERIOD)
            receiver.publish(message)

        def worked_on() -> int:
            return node.counters["processed"] + len(node._waiting)

        locate(1)  # and is believed with the second
        for number in range(10, 130):
            if number % 10 == 0 and number > 10:
                locate(number // 10)
                until(lambda number=number: newest(node) == number * PERIOD, f"fix {number // 10}")
            done = worked_on()
            camera.publish(image_message(smooth_scene(number), number * PERIOD))
            until(lambda done=done: worked_on() > done, f"image {number}")
        # The fix after the last nine has not come.
        assert save(peer).message == (
            f"111 places written to {path}. 9 images still wait for the pose after them."
        )
        locate(13)
        until(lambda: newest(node) == 130 * PERIOD, "the last fix")
        assert save(peer).message == f"120 places written to {path}."
        assert node.counters["failed"] == node.counters["dropped"] == 0
    places = RouteMap.open(path).places
    travelled = [place.pose.position[0] for place in places if place.pose]
    np.testing.assert_allclose(travelled, np.arange(120) / 5, atol=1e-6)


def test_a_pause_of_the_node_costs_no_road(peer: Peer, tmp_path: Path) -> None:
    with map_builder(map=str(tmp_path / "drive.routemap"), every=2.0) as node:
        camera, wheels = peer.talk(Image, "image"), peer.talk(Odometry, "odometry")

        def turn(number: int) -> None:
            wheels.publish(odometry(number * PERIOD, float(number)))

        def drive(first: int, count: int) -> None:
            for number in range(first, first + count):
                deliver(node, turn, number + 1)
                send(node, camera, number, seed=number % 50)

        start = feed(node, turn, 1)
        drive(start, 60)
        assert node.report()["places"] == 30  # every 2 m of 60 m
        node.trigger_deactivate()
        node.trigger_activate()
        connected = feed(node, turn, start + 70)
        drive(connected, 10)
        assert node.report()["places"] == 35


def test_by_seconds_without_poses_and_faulty_images_are_counted(peer: Peer, tmp_path: Path) -> None:
    path = tmp_path / "drive.routemap"
    reports = peer.hear(DiagnosticArray, "/diagnostics")
    given = {"map": str(path), "pose_source": "none", "unit": "seconds", "every": 0.2}
    with map_builder(**given) as node:
        camera = peer.talk(Image, "image")
        assert "no usable frame" in save(peer).message
        for number in range(1, 7):
            send(node, camera, number)
        camera.publish(image_message(np.zeros((60, 80, 3), np.uint8), 7 * PERIOD))
        until(lambda: node.counters["failed"] == 1, "the black image")
        assert "black" in node.counters.last_error
        assert save(peer).success
        send(node, camera, 9)
        reports.clear()
        until(lambda: reports, "a report")
        said = values(reports[-1].status[0])
        assert (said["places"], said["unsaved_places"]) == ("4", "1")
        assert said["frames_processed"] == "7"
    assert [place.stamp_ns for place in RouteMap.open(path).places] == [
        number * PERIOD for number in (1, 3, 5)
    ]
    # The unsaved place is kept for the next build of the same map.
    with map_builder(**given) as node:
        until(lambda: node.state == "active", "activation")
        assert node.report()["places"] == 4


def test_an_image_without_a_pose_is_counted_with_the_topic(peer: Peer, tmp_path: Path) -> None:
    with map_builder(map=str(tmp_path / "a.routemap"), pose_source="pose") as node:
        camera = peer.talk(Image, "image")
        peer.talk(PoseStamped, "pose")
        camera.publish(image_message(smooth_scene(1), PERIOD))
        until(lambda: node.report()["waiting_images"] == 1, "the image")
        camera.publish(image_message(smooth_scene(2), 40 * PERIOD))
        until(lambda: node.counters["failed"] == 1, "the failure")
        assert "no pose on /pose around the image of 0.100 s" in node.counters.last_error
        node.trigger_deactivate()
        assert node.counters["dropped"] == 1
        assert node.report()["waiting_images"] == 0


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "No map is named"),
        ({"map": "x.routemap", "pose_source": "none"}, "needs poses"),
        ({"map": "x.routemap", "metric": True, "features": "dsk"}, "did you mean disk"),
    ],
)
def test_settings_that_cannot_work_fail_the_configure(given: dict[str, Any], reason: str) -> None:
    with map_builder(**given) as node:
        until(lambda: node.problem, "the failure")
        assert reason in node.problem
        until(lambda: node.state == "unconfigured", "the way back from configuring")


def test_the_shipped_parameters_are_the_defaults() -> None:
    file = Path(__file__).resolve().parents[3] / "config" / "map_builder.yaml"
    shipped = yaml.safe_load(file.read_text(encoding="utf-8"))
    expected = default_settings(MapBuilderSettings) | default_settings(NodeSettings)
    assert shipped == {"/**": {"ros__parameters": expected}}
