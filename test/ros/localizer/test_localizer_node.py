"""The localizer node with real messages over DDS, between two participants."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from rclpy.parameter import Parameter
from ros_world import MS, Peer, drive, image_message, noisy, spinning, until, values
from rosgraph_msgs.msg import Clock
from scenes import ColourGridEmbedder, smooth_scene
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker, MarkerArray

from saane_ros.localization.localizer import Localizer
from saane_ros.localization.map_choice import MapChoice
from saane_ros.messages.encode import rgb_to_jpeg_fields
from saane_ros.ros.localizer.node import LocalizerNode
from saane_ros.ros.shared.clock import nanoseconds, to_stamp
from saane_ros.ros.shared.interface import DIAGNOSTIC_KEYS, MATCH_KEYS
from saane_ros.ros.shared.qos import LATCHED
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, MatchState
from saane_ros.visualization import overlay_attention

PLACES = 30
POINT = np.dtype("<f4, <f4, <f4, <u4, <f4, <f4, <f8, <f8, <f8")
POINT.names = (*"xyz", "place", "distance", "probability", "exact_x", "exact_y", "exact_z")


def street(folder: Path, postprocessing: str = "none") -> RouteMap:
    frames = drive([smooth_scene(seed) for seed in range(PLACES)])
    path = folder / "street.routemap"
    return build_map(
        frames, ColourGridEmbedder(), path, frame_id="street", postprocessing=postprocessing
    )


@pytest.fixture(scope="module")
def route_map(tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    return street(tmp_path_factory.mktemp("map"))


def localizer(route_map: RouteMap, embedder: Any = None, **parameters: Any) -> Any:
    """The node under test, matching on this map, spinning in a participant of its own."""
    given = {"map": str(route_map.path), **parameters}
    return spinning(
        lambda context: LocalizerNode(
            lambda settings: embedder or ColourGridEmbedder(),
            context=context,
            parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
        )
    )


def connected(node: LocalizerNode, peer: Peer) -> None:
    """Wait until both ends have found each other on everything that the peer listens to."""
    for topic in peer.heard:
        until(lambda topic=topic: peer.count_publishers(topic), f"the publisher of {topic}")
    publishers = [p for p in node.publishers if p.topic_name in peer.heard]
    until(lambda: all(p.get_subscription_count() for p in publishers), "the subscriptions")


def settled(node: LocalizerNode, frames: int) -> None:
    counters = node.counters
    until(
        lambda: counters["processed"] + counters["failed"] + counters["dropped"] == frames,
        f"{frames} frames",
    )


@pytest.mark.parametrize("postprocessing", ["none", "standardise"])
def test_matches_are_those_of_the_localizer_and_carry_the_images_stamp(
    tmp_path: Path, peer: Peer, postprocessing: str
) -> None:
    route_map = street(tmp_path, postprocessing)
    found = peer.hear(DiagnosticArray, "/localizer/place_match")
    clouds = peer.hear(PointCloud2, "/localizer/candidates")
    poses = peer.hear(PoseWithCovarianceStamped, "/localizer/pose")
    markers = peer.hear(MarkerArray, "/localizer/markers")
    settings = Settings(map=str(route_map.path))
    reference = Localizer(ColourGridEmbedder(), route_map, settings)
    with localizer(route_map) as node:
        camera = peer.talk(Image, "image")
        connected(node, peer)
        expected = []
        for index in range(12):
            frame = Frame(noisy(smooth_scene(index + 3), index), (100 + index) * 1000 * MS)
            expected.append(reference.localize(frame).match)
            camera.publish(image_message(frame.image, frame.stamp_ns))
            until(lambda: len(found) == len(expected), "a match")
        until(lambda: len(clouds) == len(markers) == len(expected), "candidates and markers")
        assert node.counters["dropped"] == node.counters["failed"] == 0
    for match, message, cloud in zip(expected, found, clouds, strict=True):
        assert nanoseconds(message.header.stamp) == match.stamp_ns
        assert nanoseconds(cloud.header.stamp) == match.stamp_ns
        assert message.header.frame_id == cloud.header.frame_id == "street"
        said = values(message.status[0])
        assert list(said) == list(MATCH_KEYS)
        assert said["state"] == match.state.value
        assert int(said["place"]) == match.place.id
        assert said["place_name"] == match.place.name
        assert float(said["distance"]) == pytest.approx(match.distance, rel=1e-5)
        assert float(said["ratio"]) == pytest.approx(match.ratio, rel=1e-5)
        assert float(said["confidence"]) == pytest.approx(match.confidence, rel=1e-5, abs=1e-9)
        assert float(said["off_route"]) == pytest.approx(match.off_route, rel=1e-5, abs=1e-9)
        assert int(said["best_place"]) == match.candidates.places[0]
        assert said["travelled_m"] == ""
        points = np.frombuffer(bytes(cloud.data), POINT)
        np.testing.assert_array_equal(points["place"], match.candidates.places)
        np.testing.assert_array_equal(points["distance"], match.candidates.distances)
        for axis in ("x", "exact_x"):
            np.testing.assert_array_equal(points[axis], 2.0 * match.candidates.places)
    assert int(values(found[-1].status[0])["place"]) == 14
    localized = [match for match in expected if match.state is MatchState.LOCALIZED]
    assert 0 < len(localized) == len(poses)
    for match, message in zip(localized, poses, strict=True):
        assert match.pose is not None
        position = message.pose.pose.position
        assert (position.x, position.y, position.z) == pytest.approx(match.pose.position)
        assert tuple(message.pose.covariance) == pytest.approx(match.covariance)
    kinds = [marker.type for marker in markers[-1].markers[1:]]
    assert kinds == [Marker.SPHERE] * 5 + [Marker.ARROW, Marker.TEXT_VIEW_FACING]


def test_bad_frames_are_counted_and_the_next_good_one_is_matched(
    route_map: RouteMap, peer: Peer
) -> None:
    good = smooth_scene(4)
    unknown = image_message(good, 2000 * MS)
    unknown.encoding = "rgb3"
    short = image_message(good, 3000 * MS)
    short.data = short.data[:-1]
    black = image_message(np.zeros_like(good), 4000 * MS)
    repeated = image_message(good, 4000 * MS)
    found = peer.hear(DiagnosticArray, "/localizer/place_match")
    reasons = []
    with localizer(route_map) as node:
        camera = peer.talk(Image, "image")
        connected(node, peer)
        for number, message in enumerate((unknown, short, black, repeated), start=1):
            camera.publish(message)
            settled(node, number)
            reasons.append(node.counters.last_error)
        camera.publish(image_message(good, 5000 * MS))
        settled(node, 5)
        assert node.counters["failed"] == 4
        assert node.counters["processed"] == 1
    until(lambda: len(found) == 1, "the match of the good frame")
    assert values(found[0].status[0])["place"] == "4"
    for reason, word in zip(reasons, ("rgb3", "cut short", "black", "stamp"), strict=True):
        assert word in reason


def test_compressed_images_are_matched_and_a_cut_jpeg_is_refused(
    route_map: RouteMap, peer: Peer
) -> None:
    fields = rgb_to_jpeg_fields(smooth_scene(7))
    whole = CompressedImage(header=image_message(smooth_scene(7), 2000 * MS).header, **fields)
    cut = CompressedImage(header=image_message(smooth_scene(7), 1000 * MS).header, **fields)
    cut.data = cut.data[: len(cut.data) // 2]
    found = peer.hear(DiagnosticArray, "/localizer/place_match")
    with localizer(route_map, image_transport="compressed") as node:
        camera = peer.talk(CompressedImage, "image/compressed")
        connected(node, peer)
        for number, message in enumerate((cut, whole), start=1):
            camera.publish(message)
            settled(node, number)
        assert "cut short" in node.counters.last_error
    until(lambda: len(found) == 1, "a match")
    assert values(found[0].status[0])["place"] == "7"


def test_a_large_jpeg_is_halved_while_it_is_decoded_unless_pictures_of_it_are_wanted(
    route_map: RouteMap, peer: Peer
) -> None:
    class Small(ColourGridEmbedder):
        input_size = (30, 40)
        shapes: list[tuple[int, ...]] = []  # noqa: RUF012

        def embed(self, images: Any, *more: Any, **named: Any) -> Any:
            self.shapes.extend(image.shape for image in images)
            return super().embed(images, *more, **named)

    embedder = Small()
    scene = cv2.resize(smooth_scene(7), (320, 240), interpolation=cv2.INTER_LINEAR)
    fields = rgb_to_jpeg_fields(scene)
    found = peer.hear(DiagnosticArray, "/localizer/place_match")
    with localizer(route_map, embedder, image_transport="compressed") as node:
        camera = peer.talk(CompressedImage, "image/compressed")
        connected(node, peer)
        embedder.shapes.clear()
        header = image_message(scene, 1000 * MS).header
        camera.publish(CompressedImage(header=header, **fields))
        settled(node, 1)
        peer.hear(Image, "/localizer/overview", 1)
        connected(node, peer)
        header = image_message(scene, 2000 * MS).header
        camera.publish(CompressedImage(header=header, **fields))
        settled(node, 2)
    assert embedder.shapes == [(60, 80, 3), (240, 320, 3)]
    until(lambda: len(found) == 2, "two matches")
    first, second = (values(message.status[0]) for message in found)
    assert first["place"] == second["place"] == "7"
    assert float(first["distance"]) == pytest.approx(float(second["distance"]), abs=0.1)


def test_pictures_are_made_only_for_subscribers(route_map: RouteMap, peer: Peer) -> None:
    class Asked(ColourGridEmbedder):
        asked: list[tuple[bool, bool]] = []  # noqa: RUF012

        def embed(
            self, images: Any, attention: bool = False, labels: bool = False, grid: bool = False
        ) -> Any:
            self.asked.append((attention, labels))
            return super().embed(images, attention, labels, grid)

    embedder = Asked()
    with localizer(route_map, embedder, overlay_opacity=0.25) as node:
        camera = peer.talk(Image, "image")
        connected(node, peer)
        embedder.asked.clear()
        camera.publish(image_message(smooth_scene(2), 1000 * MS))
        settled(node, 1)
        assert embedder.asked == [(False, False)]
        heard = {
            topic: peer.hear(Image, f"/localizer/{topic}", 1)
            for topic in ("attention/appearance", "matched_image", "overview", "segmentation")
        }
        connected(node, peer)
        camera.publish(image_message(smooth_scene(2), 2000 * MS, "front"))
        until(lambda: all(heard.values()), "every picture")
    assert embedder.asked[-1] == (True, True)
    for messages in heard.values():
        assert nanoseconds(messages[0].header.stamp) == 2000 * MS
        assert messages[0].header.frame_id == "front"
    scene = smooth_scene(2)
    attention = ColourGridEmbedder().embed([scene], attention=True)[0].attention["appearance"]
    shown = heard["attention/appearance"][0]
    assert bytes(shown.data) == overlay_attention(scene, attention, 0.25).tobytes()
    thumbnail = cv2.cvtColor(cv2.imread(str(route_map.places[2].thumbnail)), cv2.COLOR_BGR2RGB)
    assert bytes(heard["matched_image"][0].data) == thumbnail.tobytes()


def test_the_route_is_there_for_latecomers(route_map: RouteMap, peer: Peer) -> None:
    with localizer(route_map) as node:
        until(lambda: node.state == "active", "activation")
        routes = peer.hear(PathMessage, "/localizer/route", LATCHED)
        until(lambda: routes, "the route")
    assert routes[0].header.frame_id == "street"
    assert [pose.pose.position.x for pose in routes[0].poses] == [2.0 * i for i in range(PLACES)]


def test_reset_forgets_and_the_travelled_distance_comes_from_odometry(
    route_map: RouteMap, peer: Peer
) -> None:
    found = peer.hear(DiagnosticArray, "/localizer/place_match")

    class Forgetful(Localizer):
        resets = 0

        def reset(self) -> None:
            Forgetful.resets += 1
            super().reset()

    with localizer(route_map) as node:
        camera = peer.talk(Image, "image")
        connected(node, peer)
        wheels = peer.talk(Odometry, "odometry")
        until(lambda: node.state == "active", "activation")
        loaded = node.loaded
        alone = Forgetful(loaded.embedder, route_map, node.settings)
        node.loaded = replace(loaded, localizer=MapChoice([alone]))
        Forgetful.resets = 0
        # Odometry is taken best effort: what is sent before both ends know each other is lost.
        start = Odometry()
        until(lambda: wheels.publish(start) or node._travelled.at(0) == 0, "the first odometry")
        for index in range(1, 4):
            message = Odometry(header=image_message(smooth_scene(0), index * 100 * MS).header)
            message.pose.pose.position.x = 1.5 * index
            wheels.publish(message)
        until(lambda: node._travelled.at(300 * MS) == 4.5, "the odometry")
        camera.publish(image_message(smooth_scene(1), 150 * MS))
        until(lambda: len(found) == 1, "a match")
        assert float(values(found[0].status[0])["travelled_m"]) == pytest.approx(2.25)
        answer = peer.ask(Trigger, "/localizer/reset", Trigger.Request())
        assert answer.success
        camera.publish(image_message(smooth_scene(1), 200 * MS))
        until(lambda: len(found) == 2, "a second match")
        assert Forgetful.resets == 1
        # A bag played again: the stream begins anew with older stamps.
        camera.publish(image_message(smooth_scene(1), 5000 * MS))
        until(lambda: len(found) == 3, "a third match")
        camera.publish(image_message(smooth_scene(1), 250 * MS))
        until(lambda: node.counters["failed"] == 1, "the image that may be stamped wrong")
        camera.publish(image_message(smooth_scene(1), 300 * MS))
        until(lambda: len(found) == 4, "a match after the jump back")
        assert Forgetful.resets == 2
        assert node.counters["failed"] == 1


def test_diagnostics_count_every_frame(route_map: RouteMap, peer: Peer) -> None:
    reports = peer.hear(DiagnosticArray, "/diagnostics")
    with localizer(route_map) as node:
        camera = peer.talk(Image, "image")
        connected(node, peer)
        for number in range(1, 6):
            camera.publish(image_message(smooth_scene(number), number * 100 * MS))
            settled(node, number)
        broken = image_message(smooth_scene(1), 600 * MS)
        broken.encoding = ""
        camera.publish(broken)
        settled(node, 6)
        until(lambda: reports and values(reports[-1].status[0])["frames_failed"] == "1", "a report")
    status = reports[-1].status[0]
    said = values(status)
    assert status.name == "localizer: images"
    assert status.level == DiagnosticStatus.WARN
    assert set(said) == set(DIAGNOSTIC_KEYS)
    assert said["frames_in"] == "6"
    assert said["frames_matched"] == "5"
    assert said["frames_dropped"] == said["frames_lost"] == "0"
    assert "encoding" in said["last_error"]
    assert said["map"] == f"street, {PLACES} places"
    assert said["model"] == "colour-grid (colour-grid-4x6)"
    assert said["reliability"] == "reliable"
    assert said["publishers"] == "1"


def test_simulated_time_measures_the_age(route_map: RouteMap, peer: Peer) -> None:
    found = peer.hear(DiagnosticArray, "/localizer/place_match")
    with localizer(route_map, use_sim_time=True) as node:
        clock = peer.talk(Clock, "/clock")
        camera = peer.talk(Image, "image")
        connected(node, peer)
        now = Clock(clock=to_stamp(5_250 * MS))
        until(
            lambda: clock.publish(now) or node.get_clock().now().nanoseconds == 5_250 * MS,
            "the simulated time",
        )
        camera.publish(image_message(smooth_scene(1), 5_000 * MS))
        until(lambda: found, "a match")
    assert float(values(found[0].status[0])["image_age_ms"]) == pytest.approx(250.0)


def test_images_without_a_stamp_get_the_time_of_their_arrival(
    route_map: RouteMap, peer: Peer
) -> None:
    found = peer.hear(DiagnosticArray, "/localizer/place_match")
    with localizer(route_map) as node:
        camera = peer.talk(Image, "image")
        connected(node, peer)
        began = node.get_clock().now().nanoseconds
        for number in range(1, 4):
            camera.publish(image_message(smooth_scene(number), 0))
            until(lambda number=number: len(found) == number, f"match {number}")
        ended = node.get_clock().now().nanoseconds
        stamps = [nanoseconds(match.header.stamp) for match in found]
        assert began <= stamps[0] < stamps[1] < stamps[2] <= ended
        assert node.counters["failed"] == 0
