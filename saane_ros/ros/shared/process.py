"""The life of a node's process: arguments, executor, Ctrl-C, exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from saane_ros.errors import SaaneError


def run_node(make_node: Callable[[], Node], arguments: Sequence[str] | None = None) -> int:
    """Spin one node until it is told to stop; 0 then, 1 where it could not be made."""
    try:
        rclpy.init(args=None if arguments is None else list(arguments))
    except RCLError as error:
        print(f"saane: The ROS arguments were not understood: {error}", file=sys.stderr)
        return 1
    try:
        node = make_node()
    except SaaneError as error:
        print(f"saane: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0
