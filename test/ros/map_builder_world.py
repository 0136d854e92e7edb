"""A map builder with a fast embedder, and what a camera and a pose source send it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from ros_world import MS, Peer, image_message, spinning, until
from scenes import ColourGridEmbedder, smooth_scene
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from saane_ros.ros.map_builder.node import MapBuilderNode
from saane_ros.ros.shared.clock import to_stamp

PERIOD = 100 * MS


def map_builder(**given: Any) -> Any:
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    return spinning(
        lambda context: MapBuilderNode(
            lambda settings: ColourGridEmbedder(), context=context, parameter_overrides=overrides
        )
    )


def odometry(stamp_ns: int, x: float) -> Odometry:
    message = Odometry(header=Header(stamp=to_stamp(stamp_ns), frame_id="odom"))
    message.pose.pose.position.x = x
    message.pose.pose.orientation.w = 1.0
    return message


def send(node: MapBuilderNode, camera: Any, number: int, seed: int | None = None) -> None:
    """Publish image `number` and wait until the node is done with it."""
    scene = smooth_scene(number if seed is None else seed)
    done = node.counters["processed"] + node.counters["failed"]
    camera.publish(image_message(scene, number * PERIOD))
    until(
        lambda: node.counters["processed"] + node.counters["failed"] == done + 1,
        f"image {number}",
    )


def newest(node: MapBuilderNode) -> int | None:
    """Stamp of the newest pose that arrived."""
    return node._poses.newest_ns if node._poses else None


def save(peer: Peer) -> Any:
    return peer.ask(Trigger, "/map_builder/save", Trigger.Request())


def feed(node: MapBuilderNode, publish: Callable[[int], None], first: int) -> int:
    """Publish poses number `first`, `first` + 1, ... until they arrive; the newest number.

    Poses are taken best effort: what is sent before both ends know each other is lost.
    """
    numbers = itertools.count(first)
    sent: list[int] = []

    def arrives() -> bool:
        sent.append(next(numbers))
        publish(sent[-1])
        return newest(node) is not None

    until(arrives, "a pose")
    deliver(node, publish, sent[-1] + 1)
    return sent[-1] + 1


def deliver(node: MapBuilderNode, publish: Callable[[int], None], number: int) -> None:
    before = newest(node)
    publish(number)
    until(lambda: newest(node) != before, f"pose {number}")
