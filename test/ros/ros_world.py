"""Two ends of a DDS connection for tests: the node under test and a camera that talks to it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from saane_ros.messages.encode import rgb_to_image_fields
from saane_ros.ros.shared.clock import to_stamp
from saane_ros.ros.shared.tf_messages import TFMessage
from saane_ros.types import Frame, Pose, Rgb

MS = 1_000_000
PATIENCE_S = 60.0

_domains = count(os.getpid())


def use_own_domain() -> None:
    """Let the nodes of a test meet one another on this machine, and none of the test before.

    A node that has just ended is discoverable for a while, and would be sent requests.
    """
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_DOMAIN_ID"] = str(1 + next(_domains) % 100)


@contextmanager
def spinning(make_node: Callable[[Context], Node]) -> Iterator[Any]:
    """A node that spins on a thread and a context (a DDS participant) of its own."""
    context = Context()
    rclpy.init(context=context, domain_id=int(os.environ["ROS_DOMAIN_ID"]))
    executor = SingleThreadedExecutor(context=context)
    node = make_node(context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown(timeout_sec=PATIENCE_S)
        thread.join(PATIENCE_S)
        node.destroy_node()
        context.try_shutdown()


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition; the test fails where it does not come."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


MATCHED_S = 0.2
"""For the server to find the client's end too: an answer sent before is lost."""
LOST_S, ASKED_AGAIN = 10.0, 3
REPEATABLE = (GetState, GetParameters, DescribeParameters, SetParameters)


class Peer(Node):
    """The other end: publishes, listens and calls services."""

    def __init__(self, context: Context) -> None:
        super().__init__("peer", context=context)
        self.heard: dict[str, list[Any]] = {}

    def hear(self, kind: type, topic: str, qos: Any = 50) -> list[Any]:
        """Every message on a topic from now on."""
        self.heard[topic] = []
        self.create_subscription(kind, topic, self.heard[topic].append, qos)
        return self.heard[topic]

    def talk(self, kind: type, topic: str, qos: Any = 50) -> Any:
        """A publisher that somebody already listens to."""
        publisher = self.create_publisher(kind, topic, qos)
        until(publisher.get_subscription_count, f"a subscription to {topic}")
        return publisher

    def ask(self, kind: Any, service: str, request: Any) -> Any:
        """The answer of a service; what changes nothing when repeated is asked again if it is lost.

        DDS drops an answer that the server sends before it has found the client's end.
        """
        client = self.create_client(kind, service)
        assert client.wait_for_service(PATIENCE_S), service
        time.sleep(MATCHED_S)
        future = client.call_async(request)
        for _ in range(ASKED_AGAIN if kind in REPEATABLE else 0):
            deadline = time.monotonic() + LOST_S
            while not future.done() and time.monotonic() < deadline:
                time.sleep(0.005)
            if not future.done():
                future = client.call_async(request)
        until(future.done, f"an answer of {service}")
        self.destroy_client(client)
        return future.result()


def values(status: Any) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def image_message(rgb: Rgb, stamp_ns: int, frame_id: str = "camera") -> Image:
    header = Header(stamp=to_stamp(stamp_ns), frame_id=frame_id)
    return Image(header=header, **rgb_to_image_fields(rgb))


def transforms(*rows: tuple[str, str, Pose]) -> TFMessage:
    """A message of (parent, child, child in parent)."""
    found = []
    for parent, child, pose in rows:
        (x, y, z), (qx, qy, qz, qw) = pose.position, pose.orientation
        transform = Transform(
            translation=Vector3(x=float(x), y=float(y), z=float(z)),
            rotation=Quaternion(x=qx, y=qy, z=qz, w=qw),
        )
        found.append(
            TransformStamped(
                header=Header(frame_id=parent), child_frame_id=child, transform=transform
            )
        )
    return TFMessage(transforms=found)


def drive(scenes: list[Rgb], spacing_m: float = 2.0) -> list[Frame]:
    """Frames of a straight drive to the east, one a second."""
    return [
        Frame(scene, (index + 1) * 1000 * MS, f"place_{index:02}", Pose((index * spacing_m, 0, 0)))
        for index, scene in enumerate(scenes)
    ]


def noisy(scene: Rgb, seed: int, level: float = 8.0) -> Rgb:
    noise = np.random.default_rng(seed).normal(0, level, scene.shape)
    return np.clip(scene + noise, 0, 255).astype(np.uint8)


def change(peer: Peer, transition: int) -> bool:
    """Whether a transition succeeded; by the state that followed where its answer was lost."""
    request = ChangeState.Request(transition=Transition(id=transition))
    before = state(peer)
    client = peer.create_client(ChangeState, "/localizer/change_state")
    assert client.wait_for_service(PATIENCE_S)
    time.sleep(MATCHED_S)
    future, deadline = client.call_async(request), time.monotonic() + PATIENCE_S / 2
    while not future.done() and time.monotonic() < deadline:
        time.sleep(0.005)
    peer.destroy_client(client)
    return bool(future.result().success) if future.done() else state(peer) != before


def state(peer: Peer) -> str:
    answer = peer.ask(GetState, "/localizer/get_state", GetState.Request())
    return str(answer.current_state.label)


def set_parameter(peer: Peer, name: str, value: Any) -> Any:
    message = Parameter(name, value=value).to_parameter_msg()
    request = SetParameters.Request(parameters=[message])
    return peer.ask(SetParameters, "/localizer/set_parameters", request).results[0]


def run_module(module: str, *arguments: str) -> subprocess.Popen[str]:
    """A node in a process of its own; module: its name, or a program of more than one line."""
    how = ["-c" if "\n" in module else "-m", module]
    command = [sys.executable, *how, "--ros-args", *arguments]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
