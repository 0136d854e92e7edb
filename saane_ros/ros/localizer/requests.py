"""What a running localizer is asked to believe: nothing (reset), or a pose (`/initialpose`)."""

from __future__ import annotations

import threading
from collections.abc import Callable

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from rclpy.subscription import Subscription
from std_srvs.srv import Trigger

from saane_ros.errors import SaaneError
from saane_ros.localization.map_choice import MapChoice
from saane_ros.localization.pose_prior import PosePrior
from saane_ros.ros.intake.travelled import pose_values
from saane_ros.ros.shared.interface import INPUTS, SERVICES
from saane_ros.ros.shared.qos import overridable
from saane_ros.types import Pose


class Requests:
    """Hears requests in the executor and keeps the last for the worker, which has the belief.

    choice: what is localized in, None while nothing is loaded.  doubt: says that the last answer
    holds no more.
    """

    def __init__(
        self, node: Node, choice: Callable[[], MapChoice | None], doubt: Callable[[], None]
    ) -> None:
        self._node, self._choice, self._doubt = node, choice, doubt
        self._lock = threading.Lock()
        self._request: Callable[[MapChoice], None] | None = None
        self._poses: Subscription | None = None
        node.create_service(Trigger, SERVICES["reset"].name, self._on_reset)

    def activate(self) -> None:
        topic = INPUTS["initial_pose"]
        self._poses = self._node.create_subscription(
            topic.type,
            topic.name,
            self._on_pose,
            **overridable(self._node, topic.name, topic.qos, "subscription"),
        )

    def deactivate(self) -> None:
        if self._poses is not None:
            self._node.destroy_subscription(self._poses)
            self._poses = None

    def forget(self) -> None:
        """Ask for a belief of nothing."""
        self._ask(MapChoice.reset)

    def drop(self) -> None:
        """Forget the request: it was of another map."""
        with self._lock:
            self._request = None

    def perform(self, choice: MapChoice) -> None:
        """Do what was asked for last, between two frames."""
        with self._lock:
            request, self._request = self._request, None
        if request is not None:
            request(choice)

    def _ask(self, request: Callable[[MapChoice], None]) -> None:
        with self._lock:
            self._request = request
        self._doubt()

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.forget()
        response.success = True
        response.message = "The next image is matched without what was known before."
        return response

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        choice = self._choice()
        if choice is None:
            return
        position, turn = pose_values(message.pose.pose)
        covariance = tuple(float(value) for value in message.pose.covariance)
        prior = PosePrior(Pose(position, turn), covariance, message.header.frame_id)
        try:
            begin = choice.prepare(prior)
        except SaaneError as error:
            self._node.get_logger().error(str(error))
            return
        self._ask(lambda _: begin())
        self._node.get_logger().info(
            f"Beginning around ({position[0]:.1f}, {position[1]:.1f}) with the next image."
        )
