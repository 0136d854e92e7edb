"""Parameters, lifecycle, QoS and process of the localizer node."""

from __future__ import annotations

import time
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import DescribeParameters
from rclpy.parameter import Parameter
from ros_world import (
    MS,
    Peer,
    change,
    image_message,
    run_module,
    set_parameter,
    spinning,
    state,
    until,
    values,
)
from scenes import ColourGridEmbedder, smooth_scene
from sensor_msgs.msg import Image, PointCloud2

from saane_ros.errors import SaaneError
from saane_ros.ros.localizer.node import LocalizerNode
from saane_ros.ros.shared.qos import BEST_EFFORT, RELIABLE, keep_last
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings, default_settings, described_settings


def localizer(embedder: Any = None, **given: Any) -> Any:
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    return spinning(
        lambda context: LocalizerNode(
            lambda settings: embedder or ColourGridEmbedder(),
            context=context,
            parameter_overrides=overrides,
        )
    )


def test_parameters_are_the_settings_with_their_descriptions_and_limits(peer: Peer) -> None:
    names = list(default_settings())
    with localizer(autostart=False) as node:
        request = DescribeParameters.Request(names=names)
        answer = peer.ask(DescribeParameters, "/localizer/describe_parameters", request)
        assert node.settings == Settings()
        assert {name: node.get_parameter(name).value for name in names} == default_settings()
    for shown, (name, setting) in zip(
        answer.descriptors, described_settings().items(), strict=True
    ):
        assert shown.name == name
        assert shown.description == setting.description
        limits = [*shown.integer_range, *shown.floating_point_range]
        if setting.low is None:
            assert limits == []
        else:
            assert (limits[0].from_value, limits[0].to_value) == (setting.low, setting.high)
        assert ("unconfigured" in shown.additional_constraints) is not setting.live


def test_live_parameters_change_the_running_localizer_and_others_are_refused(
    route_map: RouteMap, peer: Peer
) -> None:
    clouds = peer.hear(PointCloud2, "/localizer/candidates")
    with localizer(map=str(route_map.path)) as node:
        camera = peer.talk(Image, "image")
        until(lambda: node.output.wanted("candidates"), "the peer's subscription")
        camera.publish(image_message(smooth_scene(1), 1000 * MS))
        until(lambda: len(clouds) == 1, "candidates")
        assert set_parameter(peer, "candidates", 2).successful
        assert set_parameter(peer, "silent_after", 3).successful  # a whole number is a good float
        assert node.get_parameter("silent_after").type_ == Parameter.Type.DOUBLE
        assert (node.get_parameter("silent_after").value, node.settings.silent_after) == (3.0, 3.0)
        camera.publish(image_message(smooth_scene(1), 2000 * MS))
        until(lambda: len(clouds) == 2, "candidates")
        assert [cloud.width for cloud in clouds] == [5, 2]
        for name, value, reason in (
            ("candidates", 0, "candidates"),
            ("candidates", "many", "str"),
            ("map", "elsewhere", "no route map at elsewhere"),
            ("model", "elsewhere", "configured"),
            ("overlay_opacity", 1.5, "overlay_opacity"),
        ):
            refused = set_parameter(peer, name, value)
            assert not refused.successful
            assert reason in refused.reason
        assert node.settings.candidates == 2
        assert node.settings.map == str(route_map.path)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("candidates", 0, "from 1 to 100"),
        ("candidates", "five", "give a int"),
        ("reliability", "sometimes", "choose one of auto, reliable, best_effort"),
        ("sequence_filter", 1, "give a bool"),
    ],
)
def test_a_node_with_a_bad_parameter_is_not_made(name: str, value: Any, reason: str) -> None:
    with pytest.raises(SaaneError, match=reason), localizer(**{name: value}):
        pass


def test_an_unknown_parameter_is_named_with_the_one_that_was_meant(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with localizer(autostart=False, candidate=3):
        pass
    assert "Parameter candidate is unknown and was ignored: did you mean candidates?" in (
        capfd.readouterr().err
    )


def test_a_failed_configure_says_why_and_can_be_mended(route_map: RouteMap, peer: Peer) -> None:
    reports = peer.hear(DiagnosticArray, "/diagnostics")
    with localizer(map="/no/such.routemap") as node:
        until(lambda: node.problem, "the failure")
        assert state(peer) == "unconfigured"
        assert not change(peer, Transition.TRANSITION_CONFIGURE)
        reports.clear()
        until(lambda: reports, "a report")
        status = reports[-1].status[0]
        assert status.level == DiagnosticStatus.ERROR
        assert "There is no route map at /no/such.routemap" in status.message
        assert values(status)["last_error"] == status.message
        assert set_parameter(peer, "map", str(route_map.path)).successful
        assert change(peer, Transition.TRANSITION_CONFIGURE)
        assert change(peer, Transition.TRANSITION_ACTIVATE)
        assert state(peer) == "active"
        assert node.problem == ""


def test_a_node_without_a_map_says_what_to_give(peer: Peer) -> None:
    with localizer() as node:
        until(lambda: node.problem, "the failure")
        assert node.problem.startswith("No map is named: set the parameter map")


def test_paths_may_begin_with_a_tilde(
    route_map: RouteMap, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(route_map.path.parent))
    with localizer(map="~/no.routemap", weights="~") as node:
        until(lambda: node.problem, "the failure")
        assert f"There is no route map at {route_map.path.parent / 'no.routemap'}" in node.problem
        assert node.get_parameter("weights").value == str(route_map.path.parent)
        assert set_parameter(peer, "map", "~/street.routemap").successful
        assert node.get_parameter("map").value == str(route_map.path)
        assert change(peer, Transition.TRANSITION_CONFIGURE)
        assert node.loaded.localizer.maps[0].path == route_map.path
        assert set_parameter(peer, "map", "~/street.routemap").successful  # the same as before


def test_a_map_of_another_model_is_refused(route_map: RouteMap, peer: Peer) -> None:
    class Other(ColourGridEmbedder):
        fingerprint = "other-weights"

    with localizer(Other(), map=str(route_map.path)) as node:
        until(lambda: node.problem, "the refusal")
        assert "other-weights" in node.problem
        assert "colour-grid-4x6" in node.problem
        assert state(peer) == "unconfigured"


def test_a_map_of_a_card_of_ones_own_asks_for_that_card(route_map: RouteMap, peer: Peer) -> None:
    with spinning(
        lambda context: LocalizerNode(
            context=context,
            parameter_overrides=[Parameter("map", value=str(route_map.path))],
        )
    ) as node:
        until(lambda: node.problem, "the refusal")
        assert node.problem == (
            f"Route map {route_map.path} was made by model 'colour-grid', which is no card of the "
            "package: name its card by --model (the node: parameter model)."
        )
        assert set_parameter(peer, "model", "saane-stret").successful
        assert not change(peer, Transition.TRANSITION_CONFIGURE)
        assert "There is no model 'saane-stret'" in node.problem
        assert set_parameter(peer, "model", "colour-grid").successful
        assert not change(peer, Transition.TRANSITION_CONFIGURE)
        assert "There is no model 'colour-grid'" in node.problem


def test_lifecycle_by_hand(route_map: RouteMap, peer: Peer) -> None:
    with localizer(map=str(route_map.path), autostart=False) as node:
        assert state(peer) == "unconfigured"
        assert change(peer, Transition.TRANSITION_CONFIGURE)
        assert node.count_subscribers("image") == 0
        assert change(peer, Transition.TRANSITION_ACTIVATE)
        camera = peer.talk(Image, "image")
        camera.publish(image_message(smooth_scene(1), 1000 * MS))
        until(lambda: node.counters["processed"] == 1, "a match")
        assert change(peer, Transition.TRANSITION_DEACTIVATE)
        assert node.count_subscribers("image") == 0
        assert change(peer, Transition.TRANSITION_CLEANUP)
        assert node.loaded is None
        assert change(peer, Transition.TRANSITION_CONFIGURE)
        assert change(peer, Transition.TRANSITION_ACTIVATE)
        until(camera.get_subscription_count, "the new subscription")
        camera.publish(image_message(smooth_scene(1), 2000 * MS))
        until(lambda: node.counters["processed"] == 2, "another match")
        assert change(peer, Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert state(peer) == "finalized"


def test_reliability_follows_publishers_that_come_and_go(route_map: RouteMap, peer: Peer) -> None:
    with localizer(map=str(route_map.path)) as node:
        until(lambda: node.intake and node.intake.reliability == "reliable", "the start")
        best_effort = peer.create_publisher(Image, "image", keep_last(5, BEST_EFFORT))
        until(lambda: node.intake.reliability == "best effort", "the change to best effort")
        until(best_effort.get_subscription_count, "the subscription")
        stamp = iter(range(1, 10_000))
        until(
            lambda: (
                best_effort.publish(image_message(smooth_scene(1), next(stamp) * MS))
                or node.counters["processed"]
            ),
            "a match of a best-effort image",
        )
        reliable = peer.create_publisher(Image, "image", keep_last(5, RELIABLE))
        peer.destroy_publisher(best_effort)
        until(lambda: node.intake.reliability == "reliable", "the change to reliable")
        until(reliable.get_subscription_count, "the subscription")


def test_an_incompatible_publisher_is_reported_with_the_remedy(
    route_map: RouteMap, peer: Peer
) -> None:
    reports = peer.hear(DiagnosticArray, "/diagnostics")
    with localizer(map=str(route_map.path), reliability="reliable"):
        peer.create_publisher(Image, "image", keep_last(5, BEST_EFFORT))
        until(
            lambda: reports and "set the parameter reliability to" in reports[-1].status[0].message,
            "the report",
        )
    assert reports[-1].status[0].level == DiagnosticStatus.WARN


def test_a_silent_topic_is_reported_with_the_topics_that_have_images(
    route_map: RouteMap, peer: Peer
) -> None:
    peer.create_publisher(Image, "front/image_raw", 1)
    for picture in ("overview", "attention/semantic"):  # as another localizer publishes them
        peer.create_publisher(Image, f"peer/{picture}", 1)
    with localizer(map=str(route_map.path), silent_after=0.3) as node:
        until(lambda: node.problem, "the report")
        until(lambda: "(images are on /front/image_raw)" in node.problem, "the other topic")
        camera = peer.talk(Image, "image")
        stamp = iter(range(1, 10_000))
        until(
            lambda: (
                camera.publish(image_message(smooth_scene(1), next(stamp) * MS)) or not node.problem
            ),
            "the end of the report",
        )


def test_under_overload_the_newest_frame_wins_and_every_drop_is_counted(
    route_map: RouteMap, peer: Peer
) -> None:
    class Slow(ColourGridEmbedder):
        def embed(self, images: Any, *wanted: Any, **more: Any) -> Any:
            time.sleep(0.1)
            return super().embed(images, *wanted, **more)

    sent = 60
    found = peer.hear(DiagnosticArray, "/localizer/place_match")
    with localizer(Slow(), map=str(route_map.path)) as node:
        camera = peer.talk(Image, "image", keep_last(sent))
        until(lambda: node.output.wanted("place_match"), "the peer's subscription")
        for index in range(1, sent + 1):
            camera.publish(image_message(smooth_scene(index % 12), index * 20 * MS))
            time.sleep(0.02)
        counters = node.counters
        until(
            lambda: counters["processed"] + counters["dropped"] == counters["in"],
            "the last frame",
        )
        until(lambda: len(found) == counters["processed"], "the matches")
        # A keep-last-1 subscription may itself have skipped frames; those are told by the stamps.
        assert counters["in"] + counters["lost"] == sent
        assert counters["dropped"] > counters["processed"] > 3
        assert counters["failed"] == 0
        stamps = [
            message.header.stamp.sec * 1000 + message.header.stamp.nanosec // MS
            for message in found
        ]
        assert stamps == sorted(set(stamps))
        assert stamps[-1] == sent * 20


def test_the_process_refuses_a_bad_parameter_in_one_sentence() -> None:
    process = run_module("saane_ros.ros.localizer.node", "-p", "candidates:=0")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.strip() == "saane: Setting candidates is 0: give a value from 1 to 100."
