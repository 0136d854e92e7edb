"""`~/localized` over DDS: True only with a frame that is LOCALIZED, and False whatever else."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from hypothesis import given
from hypothesis import strategies as st
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from ros_world import MS, Peer, drive, image_message, noisy, spinning, until, values
from scenes import ColourGridEmbedder, smooth_scene
from sensor_msgs.msg import Image
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from saane_ros.ros.localizer import node as localizer_node
from saane_ros.ros.localizer.localized import LocalizedFlag
from saane_ros.ros.localizer.node import LocalizerNode
from saane_ros.ros.shared.qos import LATCHED
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Rgb

PLACES = 40
S = 1000 * MS


def elsewhere(number: int) -> Rgb:
    """A view that is bright above, as streets are, and like no place of the map."""
    sky = np.linspace(255, 30, 120)[:, None, None]
    return (0.45 * sky + 0.55 * smooth_scene(1000 + number)).astype(np.uint8)


@pytest.fixture(scope="module")
def route_map(tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    frames = drive([smooth_scene(seed) for seed in range(PLACES)])
    return build_map(frames, ColourGridEmbedder(), tmp_path_factory.mktemp("map") / "m.routemap")


class Held(ColourGridEmbedder):
    """Waits with an image until it may go on."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.at_work = threading.Event()

    def embed(self, images: Any, *wanted: Any, **more: Any) -> Any:
        self.at_work.set()
        assert self.go.wait(60)
        return super().embed(images, *wanted, **more)


class Drive:
    """A node on a map, its camera, and all that it says; `show` waits for what became of an image.

    flags: every value of `~/localized`.  matches, poses: messages.
    """

    def __init__(self, node: LocalizerNode, peer: Peer) -> None:
        self.node, self.peer = node, peer
        self.matches = peer.hear(DiagnosticArray, "/localizer/place_match")
        self.poses = peer.hear(PoseWithCovarianceStamped, "/localizer/pose")
        self.reports = peer.hear(DiagnosticArray, "/diagnostics")
        self._flags = peer.hear(Bool, "/localizer/localized", LATCHED)
        self.camera = peer.talk(Image, "image")
        for topic in ("/localizer/place_match", "/localizer/pose"):
            (publisher,) = [p for p in node.publishers if p.topic_name == topic]
            until(publisher.get_subscription_count, f"the subscription of {topic}")
        until(lambda: self._flags, "the latched flag")
        self.stamp = 0

    @property
    def flags(self) -> list[bool]:
        return [message.data for message in self._flags]

    def show(self, image: Rgb, after_ns: int = S) -> str:
        """Publish an image and wait for it; its state, "" where it could not be used."""
        self.stamp += after_ns
        matched, failed = len(self.matches), self.failed
        self.camera.publish(image_message(image, self.stamp))
        until(lambda: len(self.matches) > matched or self.failed > failed, "the end of a frame")
        return values(self.matches[-1].status[0])["state"] if self.failed == failed else ""

    @property
    def failed(self) -> int:
        return self.node.counters["failed"]

    def follow(self, first: int, count: int = 6) -> str:
        """Show successive places as on a drive; the state of the last."""
        return [self.show(noisy(smooth_scene(first + i), i)) for i in range(count)][-1]

    def change(self, transition: int) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        assert self.peer.ask(ChangeState, "/localizer/change_state", request).success

    def until_flag(self, value: bool, why: str) -> None:
        until(lambda: self.flags[-1] is value, f"{value} after {why}")


def localizer(route_map: RouteMap, embedder: Any = None, **given: Any) -> Any:
    overrides = {"map": str(route_map.path), "silent_after": 3600.0, **given}
    return spinning(
        lambda context: LocalizerNode(
            lambda settings: embedder or ColourGridEmbedder(),
            context=context,
            parameter_overrides=[Parameter(name, value=v) for name, v in overrides.items()],
        )
    )


def test_it_follows_the_state_and_is_said_on_every_change_alone(
    route_map: RouteMap, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(localizer_node, "PAUSE_S", 3600.0)
    with localizer(route_map) as node:
        drive = Drive(node, peer)
        assert drive.flags == [False]
        states = [drive.show(noisy(smooth_scene(5 + i), i)) for i in range(8)]
        states += [drive.show(elsewhere(i)) for i in range(12)]
        states += [drive.show(noisy(smooth_scene(20 + i), i)) for i in range(8)]
        expected = [False]
        for state in states:
            if (state == "localized") is not expected[-1]:
                expected.append(state == "localized")
        until(lambda: len(drive.flags) == len(expected), "the changes")
        assert drive.flags == expected
        assert states[7] == states[-1] == "localized"
        assert states[19] != "localized"
        # Whoever comes later hears how it stands now.
        late = peer.hear(Bool, "/localizer/localized", LATCHED)
        until(lambda: late, "the latched flag")
        assert [message.data for message in late] == [True]
        told = {m.header.stamp.sec for m in drive.poses}
        right = {i + 1 for i, state in enumerate(states) if state == "localized"}
        assert told == right


@pytest.mark.parametrize("grey", [0, 120, 255], ids=["black", "covered", "over-exposed"])
def test_a_blank_image_a_reset_and_a_deactivation_end_it(
    route_map: RouteMap, peer: Peer, grey: int
) -> None:
    blank = np.full((120, 160, 3), grey, np.uint8)
    with localizer(route_map) as node:
        drive = Drive(node, peer)
        assert drive.follow(3) == "localized"
        drive.until_flag(True, "a drive")
        assert drive.show(blank) == ""
        drive.until_flag(False, "a blank image")
        assert drive.follow(9) == "localized"
        drive.until_flag(True, "the drive went on")
        assert peer.ask(Trigger, "/localizer/reset", Trigger.Request()).success
        drive.until_flag(False, "a reset")
        assert drive.follow(15) == "localized"
        drive.until_flag(True, "the place was found again")
        drive.change(Transition.TRANSITION_DEACTIVATE)
        drive.until_flag(False, "a deactivation")
        drive.change(Transition.TRANSITION_CLEANUP)
        late = peer.hear(Bool, "/localizer/localized", LATCHED)
        until(lambda: late, "the latched flag")
        assert [message.data for message in late] == [False]


@pytest.mark.parametrize("watch", ["silent_after", "age of the belief"])
def test_it_ends_while_no_image_is_worked_on(
    route_map: RouteMap, peer: Peer, watch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = watch == "silent_after"
    monkeypatch.setattr(localizer_node, "PAUSE_S", 3600.0 if silent else 0.5)
    with localizer(route_map, silent_after=0.5 if silent else 3600.0) as node:
        drive = Drive(node, peer)
        assert drive.follow(3) == "localized"
        until(lambda: True in drive.flags, "a drive")
        drive.until_flag(False, "silence")
        raised = drive.flags.count(True)
        drive.show(noisy(smooth_scene(9), 0))
        until(lambda: drive.flags.count(True) > raised, "the next image")
        drive.until_flag(False, "silence again")


def test_a_frame_that_was_in_work_at_a_reset_does_not_raise_it(
    route_map: RouteMap, peer: Peer
) -> None:
    embedder = Held()
    with localizer(route_map, embedder) as node:
        drive = Drive(node, peer)
        assert drive.follow(3) == "localized"
        drive.until_flag(True, "a drive")
        embedder.go.clear()
        embedder.at_work.clear()
        drive.camera.publish(image_message(noisy(smooth_scene(9), 0), 7 * S))
        until(embedder.at_work.is_set, "the frame in work")
        assert peer.ask(Trigger, "/localizer/reset", Trigger.Request()).success
        drive.until_flag(False, "a reset")
        before = len(drive.flags)
        embedder.go.set()
        until(lambda: len(drive.matches) == 7, "the match of the frame in work")
        assert values(drive.matches[-1].status[0])["state"] == "localized"
        drive.stamp = 7 * S
        assert drive.show(elsewhere(0)) != "localized"
        assert drive.flags[before - 1 :] == [False]


@pytest.mark.parametrize("reactivated", [True, False])
def test_a_pause_does_not_bring_the_old_place_back(
    route_map: RouteMap, peer: Peer, reactivated: bool
) -> None:
    with localizer(route_map) as node:
        drive = Drive(node, peer)
        assert drive.follow(3) == "localized"
        drive.until_flag(True, "a drive")
        if reactivated:
            drive.change(Transition.TRANSITION_DEACTIVATE)
            drive.until_flag(False, "a deactivation")
            drive.change(Transition.TRANSITION_ACTIVATE)
            until(drive.camera.get_subscription_count, "the new subscription")
        poses = len(drive.poses)
        pause = 600 * S
        for i in range(8):
            assert drive.show(elsewhere(i), pause if i == 0 else S) != "localized"
        drive.until_flag(False, "another place")
        # And where the robot was carried along the route meanwhile, it is there and not here.
        assert drive.follow(25) == "localized"
        drive.until_flag(True, "another place of the route")
        assert len(drive.poses) > poses
        assert all(pose.pose.pose.position.x > 40 for pose in drive.poses[poses:])


def test_diagnostics_tell_whether_odometry_is_used_and_why_not(
    route_map: RouteMap, peer: Peer
) -> None:
    with localizer(route_map) as node:
        drive = Drive(node, peer)
        wheels = peer.talk(Odometry, "odometry")

        def told() -> str:
            return values(drive.reports[-1].status[0])["odometry"] if drive.reports else ""

        def stands_at(x: float, stamp_ns: int) -> None:
            message = Odometry(header=image_message(smooth_scene(0), stamp_ns).header)
            message.pose.pose.position.x = x
            message.pose.pose.orientation.w = 1.0
            until(
                lambda: wheels.publish(message) or node._travelled.at(stamp_ns) is not None,
                "the odometry",
            )

        drive.show(smooth_scene(0))
        until(lambda: told() == "unused", "a report without odometry")
        for i in range(1, 4):
            stands_at(2.0 * i, (i + 1) * S)
            drive.show(smooth_scene(i))
        until(lambda: told() == "used", "a report with odometry")
        assert drive.reports[-1].status[0].level == DiagnosticStatus.OK
        for i in range(4, 20):  # the wheels stand while the camera moves on
            stands_at(6.0, (i + 1) * S)
            drive.show(smooth_scene(i))
        until(lambda: "odometry stands" in told(), "the fault")
        status = drive.reports[-1].status[0]
        assert status.level == DiagnosticStatus.WARN
        assert "check what is published on /odometry" in status.message
        assert values(drive.matches[-1].status[0])["place"] == "19"


OPERATIONS = st.lists(
    st.sampled_from(["claim", "right", "wrong", "withdraw", "announce", "expire"]), max_size=40
)


@given(OPERATIONS)
def test_what_happens_between_a_claim_and_its_answer_makes_it_void(names: list[str]) -> None:
    """The flag by its whole history: True after a right answer whose claim nothing touched."""
    said: list[bool] = []
    flag = LocalizedFlag(said.append)
    claim = flag.claim()
    for name in names:
        if name == "claim":
            claim = flag.claim()
        elif name in ("right", "wrong"):
            flag.say(name == "right", claim)
        elif name == "expire":
            flag.expire(-1.0)
        else:
            getattr(flag, name)()
    expected, now = [], False
    for at, name in enumerate(names):
        if name == "claim":
            continue
        since = max((i for i in range(at) if names[i] == "claim"), default=0)
        value = name == "right" and "withdraw" not in names[since:at]
        if value is not now or name == "announce":
            expected.append(value)
        now = value
    assert said == expected
