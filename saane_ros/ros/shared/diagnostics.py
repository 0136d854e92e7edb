"""`/diagnostics`, once a second: is it working, how fast, and if not, why."""

from __future__ import annotations

from abc import abstractmethod

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from saane_ros.ros.intake.counters import FrameCounters
from saane_ros.ros.intake.image_intake import ImageIntake
from saane_ros.ros.localizer.match_messages import status
from saane_ros.ros.shared.clock import steady_timer
from saane_ros.ros.shared.qos import RESULT, overridable

_PERIOD_S = 1.0


class ReportingNode(LifecycleNode):
    """What a node must be able to tell of itself.

    counters: of frames.  intake: of images, None while the node is not active.  state: of the
    lifecycle.  processed: what `/diagnostics` calls the frames that the work came to an end with.
    """

    processed = "processed"
    counters: FrameCounters
    intake: ImageIntake | None
    state: str

    @property
    @abstractmethod
    def hardware_id(self) -> str:
        """What the node works with: where the network runs, and the camera's topic."""

    @property
    @abstractmethod
    def problem(self) -> str:
        """What keeps the node from working now, in one sentence; empty where nothing does."""

    @abstractmethod
    def report(self) -> dict[str, object]:
        """The node's own keys of `/diagnostics`."""


class Diagnostics:
    """Publishes a node's status whatever its lifecycle state is."""

    def __init__(self, node: ReportingNode) -> None:
        self._node = node
        self._failed_before = 0
        # Not a lifecycle publisher: a node that fails to configure must be able to say so.
        topic = "/diagnostics"
        qos = overridable(node, topic, RESULT, "publisher")
        self._publisher = node.create_publisher(DiagnosticArray, topic, **qos)
        steady_timer(node, _PERIOD_S, self._publish)

    def _publish(self) -> None:
        node = self._node
        level, message = self._summary()
        name = f"{node.get_fully_qualified_name().lstrip('/')}: images"
        header = Header(stamp=node.get_clock().now().to_msg())
        values = {**node.report(), **_stream_values(node)}
        self._publisher.publish(
            DiagnosticArray(
                header=header, status=[status(level, name, message, values, node.hardware_id)]
            )
        )

    def _summary(self) -> tuple[bytes, str]:
        node, failed = self._node, self._node.counters["failed"]
        newly_failed, self._failed_before = failed - self._failed_before, failed
        if node.problem:
            return (
                DiagnosticStatus.WARN if node.state == "active" else DiagnosticStatus.ERROR
            ), node.problem
        if node.state == "configuring":
            return DiagnosticStatus.WARN, "configuring: loading the model"
        if node.state != "active":
            return DiagnosticStatus.WARN, f"The node is {node.state}."
        if newly_failed:
            return DiagnosticStatus.WARN, node.counters.last_error
        return DiagnosticStatus.OK, f"{node.counters.rate('processed'):.1f} images/s"


def _stream_values(node: ReportingNode) -> dict[str, object]:
    counters, intake = node.counters, node.intake
    return {
        "state": node.state,
        "image_topic": intake.topic if intake else None,
        "reliability": intake.reliability if intake else None,
        "publishers": intake.publishers if intake else None,
        "frames_in": counters["in"],
        f"frames_{node.processed}": counters["processed"],
        "frames_dropped": counters["dropped"],
        "frames_failed": counters["failed"],
        "frames_lost": counters["lost"],
        "rate_in": counters.rate("in"),
        f"rate_{node.processed}": counters.rate("processed"),
        "image_age_p50_ms": counters.age_ms(50),
        "image_age_p95_ms": counters.age_ms(95),
        "last_error": counters.last_error,
    }
