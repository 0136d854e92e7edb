"""The live intake: 16-bit images over DDS, and what is said of a topic that is silent."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from ros_world import Peer, spinning, until
from scenes import smooth_scene
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from saane_ros.messages.image import ImageDecoder
from saane_ros.ros.intake.counters import FrameCounters
from saane_ros.ros.intake.image_intake import ImageIntake
from saane_ros.ros.shared.clock import to_stamp
from saane_ros.ros.shared.qos import BEST_EFFORT, RELIABLE, keep_last

SETTINGS = SimpleNamespace(image_transport="raw", reliability="auto", silent_after=60.0)


def test_a_16_bit_drive_looks_the_same_live() -> None:
    scene = 29_800 + smooth_scene(2, 48, 64)[..., 1].astype(np.uint16) // 4
    drive = [scene + np.uint16(4 * number) for number in range(6)]
    drive[3][:, :8] = 31_000
    drive += drive[:3]  # played again, believed from the second stamp on, and begun anew there
    stamps = [(number % 6 + 1) * 10**9 for number in range(len(drive))]
    seen: list[np.ndarray] = []
    counters = FrameCounters()

    def listening(context):
        node = Peer(context)

        def deliver(message: Image | CompressedImage, _: bool) -> None:
            seen.append(node.intake.rgb(message))

        node.intake = ImageIntake(node, lambda: SETTINGS, counters, deliver)
        return node

    with spinning(listening), spinning(Peer) as camera:
        publisher = camera.talk(Image, "image", keep_last(10))
        for number, (values, stamp) in enumerate(zip(drive, stamps, strict=True)):
            header = Header(stamp=to_stamp(stamp), frame_id="camera")
            fields = {"height": 48, "width": 64, "step": 128, "encoding": "mono16"}
            publisher.publish(Image(header=header, data=values.tobytes(), **fields))
            until(lambda n=number: len(seen) + counters["failed"] > n, "an image")
    assert (len(seen), counters["failed"]) == (8, 1)
    for images, numbers in ((seen[:6], range(6)), (seen[6:], range(1, 3))):
        decoder = ImageDecoder()
        for image, number in zip(images, numbers, strict=True):
            message = SimpleNamespace(
                **{"height": 48, "width": 64, "step": 128, "encoding": "mono16"},
                **{"is_bigendian": 0, "data": drive[number].tobytes()},
            )
            expected = decoder.rgb(message, False, stamps[number])
            np.testing.assert_array_equal(image, expected)


def test_a_new_subscription_is_not_called_silent_before_it_could_hear(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def listening(context):
        node = Peer(context)
        node.intake = ImageIntake(node, lambda: SETTINGS, FrameCounters(), lambda *_: None)
        return node

    with spinning(listening) as node, spinning(Peer) as camera:
        intake = node.intake
        assert intake.problem == ""
        for since in ("_last_arrival", "_subscribed"):
            setattr(intake, since, time.monotonic() - 1000)
        until(lambda: "nobody publishes it" in intake.problem, "the report")
        camera.create_publisher(Image, "image", keep_last(5, BEST_EFFORT))
        until(lambda: intake.reliability == "best effort", "the new subscription")
        until(lambda: not intake.problem, "the end of the report")
        assert intake.silent_s > 1000
        intake._subscribed -= 1000
        until(lambda: "publishes it best effort" in intake.problem, "the report")
    assert "come well again" not in capfd.readouterr().err


def test_a_publisher_without_a_name_is_not_called_by_a_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def listening(context):
        node = Peer(context)
        publisher = SimpleNamespace(
            node_name="_NODE_NAME_UNKNOWN_",
            node_namespace="_NODE_NAMESPACE_UNKNOWN_",
            topic_type="sensor_msgs/msg/Image",
            qos_profile=SimpleNamespace(reliability=RELIABLE),
        )
        monkeypatch.setattr(node, "get_publishers_info_by_topic", lambda _: [publisher])
        node.intake = ImageIntake(node, lambda: SETTINGS, FrameCounters(), lambda *_: None)
        for since in ("_last_arrival", "_subscribed"):
            setattr(node.intake, since, time.monotonic() - 1000)
        return node

    with spinning(listening) as node:
        until(lambda: node.intake.problem, "the report")
        assert "an unnamed publisher is connected but sends nothing" in node.intake.problem
