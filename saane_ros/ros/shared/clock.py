"""Stamps as nanoseconds, and timers that run while simulated time stands still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.timer import Timer


def nanoseconds(stamp: Time) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def to_stamp(stamp_ns: int) -> Time:
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    return Time(sec=seconds, nanosec=rest)


def steady_timer(
    node: Node,
    period_s: float,
    callback: Callable[[], Any],
    group: CallbackGroup | None = None,
) -> Timer:
    """A timer on the machine's own time, for watching over a stream and reporting.

    group: of callbacks that must not run at the same time; None is the node's own.
    """
    clock = Clock(clock_type=ClockType.STEADY_TIME)
    return node.create_timer(period_s, callback, group, clock)
