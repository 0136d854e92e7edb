"""The image player: a folder of images or a bag, published at its own pace, with no other tools.

python -m saane_ros.ros.image_player.node --ros-args -p source:=drive.bag -p clock:=true
python -m saane_ros.ros.image_player.node --ros-args -p source:=photos -p frequency:=5.0
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy._rclpy_pybind11 import RCLError
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock

from saane_ros.data.bags import RawMessage
from saane_ros.errors import SaaneError
from saane_ros.progress import progress
from saane_ros.ros.image_player.output import Output
from saane_ros.ros.image_player.pacing import Pacer
from saane_ros.ros.image_player.settings import PlayerSettings
from saane_ros.ros.image_player.sources import FolderSource, ReadAhead, open_source
from saane_ros.ros.shared.clock import steady_timer, to_stamp
from saane_ros.ros.shared.fast_dds import profile_environment
from saane_ros.ros.shared.parameters import declare, unknown_overrides
from saane_ros.ros.shared.process import orderly_end
from saane_ros.ros.shared.qos import keep_last

_CLOCK_PERIOD_S = 0.01
_TELL_EVERY_S = 5.0
_LAST_ON_THE_WAY_S = 0.5
"""A best-effort image lies in this process's shared memory until its readers have copied it."""


class ImagePlayer(Node):
    """Plays on a thread of its own; `finished` is set at the end, `failure` says what failed."""

    def __init__(self) -> None:
        super().__init__("image_player")
        self.finished = threading.Event()
        self.failure: str | None = None
        self._settings = declare(self, PlayerSettings)
        topics = self._declare_topics("topics", "Topics of a bag to play, as a list; empty: all.")
        self._awaited = self._declare_topics(
            "wait_topics",
            "Topics that wait_for_subscribers is about, as a list; empty: every image topic.",
        )
        for sentence in unknown_overrides(self):
            self.get_logger().warning(sentence)
        self._source = open_source(self._settings, topics)
        self._restamp = self._settings.restamp or isinstance(self._source, FolderSource)
        self._rate = 1.0 if isinstance(self._source, FolderSource) else self._settings.rate
        self._outputs = self._make_outputs()
        self._stop = threading.Event()
        self._pacer: Pacer | None = None
        self._clock_shift = 0
        if self._settings.clock:
            self._clock_publisher = self.create_publisher(Clock, "/clock", keep_last(1))
            steady_timer(self, _CLOCK_PERIOD_S, self._publish_clock)
        self._thread = threading.Thread(target=self._run, name="play", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End playing before its end; returns when the thread has ended."""
        self._stop.set()
        self._thread.join()

    def _declare_topics(self, name: str, description: str) -> list[str]:
        described = ParameterDescriptor(description=description)
        try:
            self.declare_parameter(name, Parameter.Type.STRING_ARRAY, described)
        except InvalidParameterTypeException as error:
            raise SaaneError(
                f"Parameter {name} is no list of topics: give -p {name}:='[/camera/image, /fix]'."
            ) from error
        unset: Parameter = Parameter(name, Parameter.Type.STRING_ARRAY, [])
        return [topic for topic in self.get_parameter_or(name, unset).value if topic]

    def _make_outputs(self) -> dict[str, Output]:
        outputs = {}
        reliable = self._settings.reliability == "reliable"
        for topic, info in self._source.topics.items():
            try:
                outputs[topic] = Output(self, topic, info, reliable)
            except ImportError:
                self.get_logger().warning(
                    f"Topic {topic} is not played, as its type {info.type} is not installed."
                )
        if not outputs:
            raise SaaneError(
                f"{self._settings.source} has no topic of an installed type: install the packages "
                "of its message types."
            )
        return outputs

    def _run(self) -> None:
        try:
            self._wait_for_subscribers()
            played = self._play(self._settings.start_time_ns or time.time_ns())
            while self._settings.loop and played and not self._stop.is_set():
                self._play(time.time_ns())
            self._end(played)
        except Exception as error:  # nobody else hears of it, as the thread ends here
            if self.context.ok():  # else an interruption has taken the publishers away
                self.failure = str(error) or type(error).__name__
        finally:
            self.finished.set()

    def _play(self, start_ns: int) -> int:
        """Play the source once from a wall time on; the number of messages published."""
        ahead = ReadAhead(self._source.messages())
        total = sum(self._source.topics[topic].count for topic in self._outputs)
        played = 0
        shift_ns = None
        pacer = None
        try:
            for message in progress(ahead, "Playing", total=total, unit="msg"):
                output = self._outputs.get(message.topic)
                if output is None:
                    continue
                if pacer is None:
                    shift_ns = start_ns - output.recorded_stamp(message) if self._restamp else None
                    pacer = self._begin(message, start_ns)
                if not pacer.wait(message.stamp_ns, self._stop):
                    break
                output.publish(message, shift_ns)
                played += 1
        finally:
            ahead.close()
        return played

    def _begin(self, first: RawMessage, start_ns: int) -> Pacer:
        pacer = Pacer(first.stamp_ns, start_ns, self._rate)
        self._clock_shift = start_ns - first.stamp_ns if self._restamp else 0
        self._pacer = pacer
        return pacer

    def _wait_for_subscribers(self) -> None:
        wanted = self._settings.wait_for_subscribers
        awaited = [
            output
            for topic, output in self._outputs.items()
            if (topic in self._awaited if self._awaited else output.is_image)
        ]
        told = time.monotonic()
        while not self._stop.is_set():
            few = [output for output in awaited if output.subscribers() < wanted]
            if not few:
                return
            if time.monotonic() - told >= _TELL_EVERY_S:
                told = time.monotonic()
                self.get_logger().info(
                    f"Waiting for {wanted} subscribers on {few[0].topic}, which has "
                    f"{few[0].subscribers()}."
                )
            self._stop.wait(0.02)

    def _end(self, played: int) -> None:
        for note in self._source.notes:
            self.get_logger().warning(note)
        if self._stop.is_set():
            return
        self._stop.wait(_LAST_ON_THE_WAY_S)
        missing = [o.topic for o in self._outputs.values() if not o.is_acknowledged()]
        if not played:
            self.failure = f"{self._settings.source} holds no message to play: name another source."
        elif missing:
            self.failure = (
                f"Subscribers have not acknowledged the end of {', '.join(missing)}: play slower, "
                "or look for a subscriber that hangs."
            )
        self.get_logger().info(f"Played {played} messages of {self._settings.source}.")

    def _publish_clock(self) -> None:
        if self._pacer is None or self.finished.is_set():
            return
        now_ns = self._pacer.played_ns() + self._clock_shift
        self._clock_publisher.publish(Clock(clock=to_stamp(now_ns)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Play to the end: 0 when every message was published and acknowledged, 1 otherwise."""
    with orderly_end():
        return _play(arguments)


def _play(arguments: Sequence[str] | None) -> int:
    try:
        os.environ.update(profile_environment())
        rclpy.init(args=None if arguments is None else list(arguments))
        player = ImagePlayer()
    except KeyboardInterrupt:
        rclpy.try_shutdown()
        return 0
    except (RCLError, SaaneError) as error:
        print(f"saane: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(player)
    player.start()
    try:
        while not player.finished.is_set():
            executor.spin_once(timeout_sec=0.1)
    except (ExternalShutdownException, RCLError):
        if rclpy.ok():  # otherwise a signal ended the context while the executor used it
            raise
    finally:
        player.stop()
        player.destroy_node()
        rclpy.try_shutdown()
    if player.failure:
        print(f"saane: {player.failure}", file=sys.stderr)
    return 1 if player.failure else 0


if __name__ == "__main__":
    sys.exit(main())
