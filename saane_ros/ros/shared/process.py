"""The life of a node's process: arguments, executor, signals, exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from saane_ros.errors import SaaneError
from saane_ros.ros.shared.fast_dds import profile_environment
from saane_ros.ros.shared.managed_node import ManagedNode


@contextmanager
def orderly_end() -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end the spinning, and a second one the process, with 0.

    rclpy shuts its context down on the first one. Python would raise KeyboardInterrupt beside it
    wherever it happens to be, in the middle of the shutdown too.
    """
    received: list[int] = []

    def handle(number: int, _: Any) -> None:
        received.append(number)
        if len(received) > 1:
            os._exit(0)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_node(
    make_node: Callable[[], ManagedNode[Any]], arguments: Sequence[str] | None = None
) -> int:
    """Spin one node until it is told to stop; 0 then, 1 where it could not be made or started."""
    with orderly_end():
        try:
            os.environ.update(profile_environment())
            rclpy.init(args=None if arguments is None else list(arguments))
        except SaaneError as error:
            return _ended_by(error)
        except RCLError as error:
            print(f"saane: The ROS arguments were not understood: {error}", file=sys.stderr)
            return 1
        try:
            node = make_node()
        except Exception as error:
            return _ended_by(error)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        code = 0
        try:
            executor.spin()
        except Exception as error:
            code = _ended_by(error)
        if node.busy:  # a model that is being loaded would keep the process for as long
            sys.stderr.flush()
            os._exit(code)
        node.destroy_node()
        rclpy.try_shutdown()
        return code


def _ended_by(error: Exception) -> int:
    """The exit code, where an error ended the process; 0 where it came from the context's end."""
    if not isinstance(error, SaaneError):
        if isinstance(error, ExternalShutdownException) or not rclpy.ok():
            return 0
        raise error
    print(f"saane: {error}", file=sys.stderr)
    return 1
