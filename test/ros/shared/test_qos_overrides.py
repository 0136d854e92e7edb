"""`qos_overrides` in a parameter file: seen from the other end of the topics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy
from ros_world import (
    MS,
    Peer,
    change,
    image_message,
    spinning,
    until,
    values,
)
from scenes import ColourGridEmbedder, smooth_scene
from sensor_msgs.msg import Image

from saane_ros.errors import SaaneError
from saane_ros.ros.localizer.node import LocalizerNode
from saane_ros.ros.shared.qos import BEST_EFFORT, RELIABLE, keep_last
from saane_ros.route_map.store import RouteMap


def localizer(route_map: RouteMap, **options: Any) -> Any:
    return spinning(
        lambda context: LocalizerNode(
            lambda settings: ColourGridEmbedder(),
            context=context,
            parameter_overrides=[Parameter("map", value=str(route_map.path))],
            **options,
        )
    )


def given(tmp_path: Path, overrides: str) -> list[str]:
    """The arguments of a node that reads a parameter file with these overrides."""
    file = tmp_path / "params.yaml"
    file.write_text("/**:\n  ros__parameters:\n    qos_overrides:\n" + overrides)
    return ["--ros-args", "--params-file", str(file)]


def test_a_parameter_file_overrides_what_the_graph_shows(
    route_map: RouteMap, peer: Peer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = given(
        tmp_path,
        """
      /image: {subscription: {reliability: best_effort}}
      /odometry: {subscription: {reliability: reliable, depth: 7}}
      /localizer/pose: {publisher: {depth: 3, durability: transient_local}}
      /localizer/candidates: {publisher: {reliability: best_effort, history: keep_all}}
      /diagnostics: {publisher: {depth: 2}}
      /localizer/poze: {publisher: {depth: 3}}
      /localizer/markers: {publisher: {deadline: 100}}
      /clock: {subscription: {depth: 1}}
""",
    )
    reports = peer.hear(DiagnosticArray, "/diagnostics")
    with localizer(route_map, cli_args=arguments) as node:
        until(lambda: node.state == "active", "the activation")
        profiles = {end.topic_name: end.qos_profile for end in node.publishers}
        assert profiles["/localizer/pose"].depth == 3
        assert profiles["/localizer/markers"].depth == 20
        assert profiles["/diagnostics"].depth == 2
        profiles = {end.topic_name: end.qos_profile for end in node.subscriptions}
        assert profiles["/odometry"].depth == 7
        assert node.get_parameter("qos_overrides./localizer/pose.publisher.depth").value == 3
        assert not node.has_parameter("qos_overrides./localizer/markers.publisher.depth")
        # Depth and history do not go over the wire.
        until(lambda: peer.get_subscriptions_info_by_topic("/odometry"), "the discovery")
        seen = peer.get_subscriptions_info_by_topic("/image")[0].qos_profile
        assert seen.reliability == BEST_EFFORT
        seen = peer.get_subscriptions_info_by_topic("/odometry")[0].qos_profile
        assert seen.reliability == RELIABLE
        seen = peer.get_publishers_info_by_topic("/localizer/pose")[0].qos_profile
        assert seen.durability == DurabilityPolicy.TRANSIENT_LOCAL
        seen = peer.get_publishers_info_by_topic("/localizer/candidates")[0].qos_profile
        assert seen.reliability == BEST_EFFORT
        seen = peer.get_publishers_info_by_topic("/localizer/markers")[0].qos_profile
        assert (seen.reliability, seen.durability) == (RELIABLE, DurabilityPolicy.VOLATILE)

        # The override stays, whatever the publishers offer.
        subscription = node.intake._subscription
        camera = peer.talk(Image, "image", keep_last(5, RELIABLE))
        stamp = iter(range(1, 10_000))
        until(
            lambda: (
                camera.publish(image_message(smooth_scene(1), next(stamp) * MS))
                or node.counters["processed"] > 5
            ),
            "matches",
        )
        assert node.intake._subscription is subscription
        reports.clear()
        until(lambda: reports, "a report")
        assert values(reports[0].status[0])["reliability"] == "best effort, by qos_overrides"
        assert reports[0].status[0].hardware_id == "auto, /image"
    told = capfd.readouterr().err
    for name in ("/localizer/poze.publisher.depth", "/localizer/markers.publisher.deadline"):
        assert f"Parameter qos_overrides.{name} overrides nothing" in told
    assert told.count("overrides nothing") == 2


def test_overrides_hold_after_another_activation(
    route_map: RouteMap, peer: Peer, tmp_path: Path
) -> None:
    arguments = given(tmp_path, "      /image: {subscription: {depth: 4}}\n")
    with localizer(route_map, cli_args=arguments) as node:
        until(lambda: node.state == "active", "the activation")
        assert change(peer, 4)  # deactivate
        assert change(peer, 3)  # activate
        assert node.intake._subscription.qos_profile.depth == 4
        best_effort = peer.create_publisher(Image, "image", keep_last(5, BEST_EFFORT))
        until(lambda: node.intake.reliability == "best effort", "the change to best effort")
        assert node.intake._subscription.qos_profile.depth == 4
        peer.destroy_publisher(best_effort)


def test_a_refused_override_is_reported_with_its_remedy(
    route_map: RouteMap, peer: Peer, tmp_path: Path
) -> None:
    arguments = given(tmp_path, "      /image: {subscription: {reliability: reliable}}\n")
    with localizer(route_map, cli_args=arguments) as node:
        peer.create_publisher(Image, "image", keep_last(5, BEST_EFFORT))
        until(lambda: "take it out of qos_overrides" in node.problem, "the report")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("/localizer/pose: {publisher: {reliability: sure}}", "choose one of reliable, best_eff"),
        ("/localizer/pose: {publisher: {depth: many}}", "a number of messages from 1 on"),
        ("/localizer/pose: {publisher: {depth: 0}}", "a number of messages from 1 on"),
    ],
)
def test_a_senseless_override_of_an_output_is_refused(
    route_map: RouteMap, tmp_path: Path, override: str, reason: str
) -> None:
    arguments = given(tmp_path, f"      {override}\n")
    with (
        pytest.raises(SaaneError, match=reason),
        localizer(route_map, cli_args=arguments),
    ):
        pass


def test_a_senseless_override_of_an_input_fails_the_activation_and_says_why(
    route_map: RouteMap, tmp_path: Path
) -> None:
    arguments = given(tmp_path, "      /odometry: {subscription: {depth: 0}}\n")
    with localizer(route_map, cli_args=arguments) as node:
        until(lambda: node.problem, "the failure")
        assert "qos_overrides./odometry.subscription.depth is 0" in node.problem
        assert node.state == "inactive"
        until(lambda: node._worker is None, "the end of what had begun")
        assert node.loaded is not None
