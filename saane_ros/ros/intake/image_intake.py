"""The image subscription: follows the publishers' QoS, watches the stream, hands messages on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSPolicyKind
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image

from saane_ros.data.poses.plausibility import Order
from saane_ros.messages.image import ImageDecoder
from saane_ros.ros.intake.counters import FrameCounters
from saane_ros.ros.intake.stamps import SequenceNumbers, StampMonitor
from saane_ros.ros.intake.stream_health import Offer, Stream, problem
from saane_ros.ros.shared.clock import nanoseconds, steady_timer
from saane_ros.ros.shared.interface import INPUTS, OUTPUTS
from saane_ros.ros.shared.qos import (
    BEST_EFFORT,
    RELIABLE,
    image_reliability,
    keep_last,
    overridable,
    override,
    reliability_name,
)
from saane_ros.types import Rgb

ImageMessage: TypeAlias = Image | CompressedImage

_CHECK_S = 0.2
_UNKNOWN = "_NODE_NAME_UNKNOWN_"
_WRONG = {
    Order.REPEATED: "is that of",
    Order.OLDER: "is older than",
    Order.LEAPT: "leaps far away from",
}


class IntakeSettings(Protocol):
    """The settings that the intake reads; both nodes have them."""

    @property
    def image_transport(self) -> str: ...

    @property
    def reliability(self) -> str: ...

    @property
    def silent_after(self) -> float: ...


def image_topic(node: Node, settings: IntakeSettings) -> str:
    """Where a node looks for images, remapped and in full."""
    compressed = settings.image_transport == "compressed"
    return str(node.resolve_topic_name(INPUTS["compressed" if compressed else "image"].name))


class ImageIntake:
    """Receives the images of one topic and calls `deliver(message, restarted)` with each.

    `deliver` runs in the executor and must only keep the message. `restarted` is True for the
    first image of a stream that began again. Images whose stamp is not newer than the last one's
    are counted as failed.
    """

    def __init__(
        self,
        node: Node,
        settings: Callable[[], IntakeSettings],
        counters: FrameCounters,
        deliver: Callable[[ImageMessage, bool], None],
    ) -> None:
        self._node = node
        self._settings = settings
        self._counters = counters
        self._deliver = deliver
        self._stamps = StampMonitor()
        self._numbers = SequenceNumbers()
        self._decoder = ImageDecoder()
        self._last_arrival = self._subscribed = time.monotonic()
        compressed = settings().image_transport == "compressed"
        self._type: type[Any] = CompressedImage if compressed else Image
        self.topic = image_topic(node, settings())
        self._overridden = override(node, self.topic, "subscription", QoSPolicyKind.RELIABILITY)
        self.problem = ""
        self._subscription = self._subscribe()
        self._timer = steady_timer(node, _CHECK_S, self._check)

    def rgb(self, message: ImageMessage, least: tuple[int, int] | None = None) -> Rgb:
        """The pixels of a delivered message, uint8 H x W x 3; SaaneError where it is damaged.

        least: height and width that they will be resized to, where all are not needed.
        Images are asked for in the order of their delivery, by one thread.
        """
        stamp_ns = nanoseconds(message.header.stamp)
        compressed = isinstance(message, CompressedImage)
        return self._decoder.rgb(message, compressed, stamp_ns, least)

    def close(self) -> None:
        self._node.destroy_timer(self._timer)
        self._node.destroy_subscription(self._subscription)

    @property
    def silent_s(self) -> float:
        """Seconds since the last image, or since the activation."""
        return time.monotonic() - self._last_arrival

    @property
    def reliability(self) -> str:
        told = reliability_name(self._subscription.qos_profile.reliability)
        return told if self._overridden is None else f"{told}, by qos_overrides"

    @property
    def publishers(self) -> int:
        return len(self._offers())

    def _subscribe(self) -> Subscription:
        reliability = self._wanted_reliability()
        self._subscribed = time.monotonic()
        # The default callback of an incompatible QoS only repeats what `_check` says with a remedy.
        quiet = SubscriptionEventCallbacks(incompatible_qos=lambda _: self._check())
        qos = overridable(self._node, self.topic, keep_last(1, reliability), "subscription")
        subscription = self._node.create_subscription(
            self._type, self.topic, self._receive, event_callbacks=quiet, **qos
        )
        self._node.get_logger().info(
            f"Subscribed to {self.topic} ({reliability_name(reliability)})."
        )
        return subscription

    def _wanted_reliability(self) -> Any:
        if self._overridden is not None:
            return RELIABLE if self._overridden == "reliable" else BEST_EFFORT
        offered = [offer.reliability for offer in self._offers()]
        return image_reliability(self._settings().reliability, offered)

    def _receive(self, message: ImageMessage, info: Mapping[str, Any]) -> None:
        self._last_arrival = time.monotonic()
        self._counters.count("in")
        stamp_ns = self._stamped(message)
        lost = self._stamps.lost
        order = self._stamps.arrive(stamp_ns, self._numbers.lost_before(info))
        self._counters.count("lost", self._stamps.lost - lost)
        if order.usable:
            self._deliver(message, order is Order.RESTARTED)
            return
        reason = (
            f"An image on {self.topic} has the stamp {stamp_ns / 1e9:.6f}, which {_WRONG[order]} "
            "the image before: the camera driver must stamp every image with the time that it was "
            "taken at."
        )
        self._counters.fail(reason)
        self._node.get_logger().error(reason, throttle_duration_sec=5.0)

    def _stamped(self, message: ImageMessage) -> int:
        """The image's stamp in ns; drivers that leave it 0 get the time of arrival."""
        if not nanoseconds(message.header.stamp):
            message.header.stamp = self._node.get_clock().now().to_msg()
            self._node.get_logger().warning(
                f"Images on {self.topic} have no stamp and are given the time that they arrive at: "
                "the camera driver must stamp every image with the time that it was taken at.",
                once=True,
            )
        return nanoseconds(message.header.stamp)

    def _check(self) -> None:
        """Follow the publishers' QoS, and say once what is wrong with the stream."""
        if self._wanted_reliability() != self._subscription.qos_profile.reliability:
            self._node.destroy_subscription(self._subscription)
            self._subscription = self._subscribe()
        found = problem(self._stream(), self._settings().silent_after)
        if found and found != self.problem:
            self._node.get_logger().warning(found)
        elif self.problem and not found and self._last_arrival > self._subscribed:
            self._node.get_logger().info(f"Images on {self.topic} come well again.")
        self.problem = found

    def _stream(self) -> Stream:
        # A new subscription has not had the time to hear anything.
        silent_s = min(self.silent_s, time.monotonic() - self._subscribed)
        return Stream(
            topic=self.topic,
            type=_type_name(self._type),
            reliability=self._subscription.qos_profile.reliability,
            offers=self._offers(),
            silent_s=silent_s,
            loss=self._stamps.loss(),
            overridden=self._overridden is not None,
            other_topics=self._other_topics() if silent_s > self._settings().silent_after else (),
        )

    def _offers(self) -> list[Offer]:
        return [
            Offer(_node_name(info), info.topic_type, info.qos_profile.reliability)
            for info in self._node.get_publishers_info_by_topic(self.topic)
        ]

    def _other_topics(self) -> list[str]:
        """Topics of the wanted type that somebody publishes."""
        wanted = _type_name(self._type)
        not_a_camera = {self.topic, *(publisher.topic_name for publisher in self._node.publishers)}
        return [
            name
            for name, types in self._node.get_topic_names_and_types()
            if wanted in types
            and name not in not_a_camera
            and any(
                not _is_picture(name, info)
                for info in self._node.get_publishers_info_by_topic(name)
            )
        ]


def _node_name(info: TopicEndpointInfo) -> str:
    # The graph learns the names of nodes after their topics, and never those of other DDS programs.
    return "an unnamed publisher" if info.node_name == _UNKNOWN else str(info.node_name)


def _is_picture(topic: str, publisher: TopicEndpointInfo) -> bool:
    """Whether a topic is a picture that a localizer draws."""
    node = f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name}"
    return any(
        topic == output.name.replace("~", node)
        or (publisher.node_name == _UNKNOWN and topic.endswith(output.name.lstrip("~")))
        for output in OUTPUTS.values()
        if output.type is Image
    )


def _type_name(message_type: type[Any]) -> str:
    return f"sensor_msgs/msg/{message_type.__name__}"
