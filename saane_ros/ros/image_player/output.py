"""Publishing recorded messages as they are, in a type that is known by name only."""

from __future__ import annotations

import importlib
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node

from saane_ros.data.bags import RawMessage, TopicInfo
from saane_ros.data.bags.raw_messages import STATIC_TRANSFORMS
from saane_ros.ros.image_player.pacing import shifted, stamp_of
from saane_ros.ros.shared.qos import BEST_EFFORT, RELIABLE, keep_last, overridable

_DEPTH = 20
_MOST_LATCHED = 1000
_ACKNOWLEDGED_WITHIN = Duration(seconds=10)
"""Fast DDS asks for acknowledgments every 3 s only."""
_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


class Output:
    """One topic, which takes serialized messages.

    Its QoS is keep last 20, volatile. A topic that was latched when it was recorded, and
    /tf_static always, is latched again: whoever subscribes later hears all of it, reliably.
    """

    def __init__(self, node: Node, topic: str, info: TopicInfo, reliable: bool) -> None:
        kind = message_class(info.type)
        self.topic = topic
        self.is_image = info.type in _IMAGES
        self.stamped = _begins_with_header(kind)
        latched = info.latched or topic == STATIC_TRANSFORMS
        self._reliable = reliable or latched
        # Several nodes may have latched one message each, such as a transform.
        depth = min(max(info.count, 1), _MOST_LATCHED) if latched else _DEPTH
        qos = keep_last(depth, RELIABLE if self._reliable else BEST_EFFORT, latched)
        self._publisher = node.create_publisher(
            kind, topic, **overridable(node, topic, qos, "publisher")
        )

    def publish(self, message: RawMessage, shift_ns: int | None) -> None:
        """Publish the recorded bytes; with a shift, their header's stamp is moved by it."""
        data = message.data
        if shift_ns is not None and self.stamped:
            # A stamp that the publisher left 0 becomes the time of recording.
            unset = 0 if stamp_of(data) else message.stamp_ns
            data = shifted(data, shift_ns + unset)
        self._publisher.publish(bytes(data))

    def recorded_stamp(self, message: RawMessage) -> int:
        """The header's stamp (ns), else the time of recording."""
        return (stamp_of(message.data) if self.stamped else 0) or message.stamp_ns

    def subscribers(self) -> int:
        return self._publisher.get_subscription_count()

    def is_acknowledged(self) -> bool:
        """Whether every reliable subscription has what was published; waits some seconds for it."""
        return not self._reliable or self._publisher.wait_for_all_acked(_ACKNOWLEDGED_WITHIN)


def message_class(type_: str) -> Any:
    """The Python class of "sensor_msgs/msg/Image"; ImportError where it is not installed."""
    package, name = type_.split("/msg/") if "/msg/" in type_ else (type_, "")
    module = importlib.import_module(f"{package}.msg")
    if not hasattr(module, name):
        raise ImportError(f"{package}.msg has no {name}")
    return getattr(module, name)


def _begins_with_header(kind: Any) -> bool:
    return next(iter(kind.get_fields_and_field_types().values()), "") == "std_msgs/Header"
