"""How the camera of a bag sees, and how it sits on what its poses are of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from saane_ros.data.bags.raw_messages import STATIC_TRANSFORMS
from saane_ros.data.bags.reader import BagReader, UndecodableError, deserialized
from saane_ros.data.poses.transforms import StaticTransforms, frame_name
from saane_ros.types import Pose

_TF = "tf2_msgs/msg/TFMessage"


def camera_on(bag: BagReader, image_topic: str, body: str) -> Pose | None:
    """The pose of a camera on a body by /tf_static, axes x forward, y left, z up; else None."""
    info = bag.topics().get(STATIC_TRANSFORMS)
    first = _first(bag, image_topic)
    if not body or first is None or info is None or info.type != _TF or not info.count:
        return None
    transforms = StaticTransforms()
    for raw in bag.messages([STATIC_TRANSFORMS]):
        try:
            transforms.take(deserialized(raw))
        except UndecodableError:
            continue
    return transforms.camera(first.header.frame_id, body)


def camera_info_topic(image_topic: str) -> str:
    """Where CameraInfo lies beside the images of a topic, as image_transport has it."""
    raw_topic = image_topic.removesuffix("/compressed").rstrip("/")
    return f"{raw_topic.rpartition('/')[0]}/camera_info"


def camera_infos(bag: BagReader, image_topic: str, topic: str = "") -> Iterator[Any]:
    """The CameraInfo messages of an image topic, all that can be read.

    topic: theirs; by default `camera_info` beside the images, as image_transport has it.
    """
    topic = topic or camera_info_topic(image_topic)
    info = bag.topics().get(topic)
    if info is None or not info.type.endswith("/CameraInfo"):
        return
    for raw in bag.messages([topic]):
        with suppress(UndecodableError):
            yield deserialized(raw)


def body_of(bag: BagReader, pose_topic: str) -> str:
    """The frame whose poses a topic tells, as far as `frame_of_poses` knows."""
    return frame_of_poses(_first(bag, pose_topic))


def frame_of_poses(message: Any) -> str:
    """Whose poses a message tells: of Odometry its child, of NavSatFix its own frame; else ""."""
    if hasattr(message, "child_frame_id"):
        return frame_name(message.child_frame_id)
    return frame_name(message.header.frame_id) if hasattr(message, "latitude") else ""


def _first(bag: BagReader, topic: str) -> Any:
    """The first message of a topic that can be read; None where there is none."""
    for raw in bag.messages([topic]):
        try:
            return deserialized(raw)
        except UndecodableError:
            continue
    return None
