"""The map builder as a lifecycle node: a drive in, a route map out."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from nav_msgs.msg import Path
from rclpy.subscription import Subscription
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from saane_ros.data.selection import Selector
from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.ros.intake.image_intake import ImageMessage
from saane_ros.ros.map_builder.live_poses import LivePoses
from saane_ros.ros.map_builder.settings import MapBuilderSettings
from saane_ros.ros.shared.clock import nanoseconds
from saane_ros.ros.shared.interface import (
    MAP_BUILDER_INPUTS,
    MAP_BUILDER_OUTPUTS,
    MAP_BUILDER_SERVICES,
)
from saane_ros.ros.shared.managed_node import ManagedNode
from saane_ros.ros.shared.map_messages import route_message
from saane_ros.ros.shared.model_loading import free_device_memory, load_model, warm_up
from saane_ros.ros.shared.process import run_node
from saane_ros.ros.shared.qos import overridable
from saane_ros.route_map.builder import RouteMapBuilder
from saane_ros.types import Frame, Place, Pose

_POSE_PATIENCE_S = 0.3
_WAITING = 100
"""Images that may wait for slow poses."""


class MapBuilderNode(ManagedNode[MapBuilderSettings]):
    """Embeds a frame every so many metres or seconds and writes the map when asked to.

    Every place is on disk before the next frame is looked at: a build that ended without `save`
    goes on when the node is started again with the same map.
    """

    def __init__(
        self, make_embedder: Callable[[MapBuilderSettings], Embedder] = load_model, **options: Any
    ) -> None:
        self._make_embedder = make_embedder
        self._builder: RouteMapBuilder | None = None
        self._building = threading.Lock()
        self._working = threading.Lock()
        self._selector = Selector()
        self._poses: LivePoses | None = None
        self._waiting: deque[ImageMessage] = deque()
        self._pose_subscription: Subscription | None = None
        self._places: list[Place] = []
        self._unsaved = 0
        super().__init__("map_builder", MapBuilderSettings, **options)
        route = MAP_BUILDER_OUTPUTS["route"]
        self._route = self.create_lifecycle_publisher(
            route.type, route.name, **overridable(self, route.name, route.qos, "publisher")
        )
        self.create_service(Trigger, MAP_BUILDER_SERVICES["save"].name, self._save)

    def load(self) -> None:
        settings = self.settings
        if not settings.map:
            raise SaaneError(
                "No map is named: set the parameter map to the <name>.routemap to write."
            )
        if settings.unit == "metres" and settings.pose_source == "none":
            raise SaaneError(
                "A place every so many metres needs poses: set pose_source, or unit to seconds."
            )
        embedder = self._make_embedder(settings)
        warm_up(embedder)
        self._builder = RouteMapBuilder(
            embedder,
            settings.map,
            frame_id=settings.frame_id,
            batch=1,
            source=f"live {settings.pose_source}",
            live=True,
            postprocessing=settings.postprocessing,
        )
        self._unsaved = len(self._builder)
        by_metres = settings.unit == "metres"
        self._selector = Selector(
            settings.every if by_metres else None, None if by_metres else settings.every
        )
        self._places = []
        self._waiting.clear()
        source = MAP_BUILDER_INPUTS.get(settings.pose_source)
        # They outlive a deactivation, so that the way goes on where it was left.
        self._poses = LivePoses(source.type_name, self._builder.origin) if source else None
        taken_over = f", {self._unsaved} places of an unsaved build" if self._unsaved else ""
        self.get_logger().info(f"Building {settings.map} with {embedder.name}{taken_over}.")

    def unload(self) -> None:
        builder, self._builder = self._builder, None
        if builder is None:
            return
        if self._unsaved:
            builder.close()
            self.get_logger().warning(
                f"{self._unsaved} places were not saved; they are kept for the next build of "
                f"{self.settings.map}."
            )
        else:
            builder.discard()
        free_device_memory()

    def activated(self) -> None:
        source, poses = MAP_BUILDER_INPUTS.get(self.settings.pose_source), self._poses
        if source is None or poses is None:
            return
        self._pose_subscription = self.create_subscription(
            source.type,
            source.name,
            lambda message: poses.add(nanoseconds(message.header.stamp), message),
            **overridable(self, source.name, source.qos, "subscription"),
        )

    def deactivated(self) -> None:
        if self._pose_subscription is not None:
            self.destroy_subscription(self._pose_subscription)
            self._pose_subscription = None

    def restarted(self) -> None:
        self.get_logger().warning(
            "The images' clock was set back, or a bag is played again: building goes on."
        )

    def process(self, message: ImageMessage) -> None:
        self._waiting.append(message)
        self._work_off(_POSE_PATIENCE_S)

    def _work_off(self, patience_s: float) -> None:
        """Work on the images whose pose has come.

        Poses that are rarer than the patience are waited for without holding up the next image.
        """
        period_s = 0.0 if self._poses is None else self._poses.period_s()
        with self._working:
            while self._waiting:
                message = self._waiting[0]
                stamp_ns = nanoseconds(message.header.stamp)
                slow = self._poses is not None and period_s > _POSE_PATIENCE_S
                found = self._pose_at(stamp_ns, 0.0 if slow else patience_s)
                if found is None and slow and self._may_come(stamp_ns, period_s):
                    return
                self._waiting.popleft()
                if found is None:
                    raise SaaneError(self._no_pose(stamp_ns))
                self._consider(message, stamp_ns, *found)

    def _may_come(self, stamp_ns: int, period_s: float) -> bool:
        """Whether the pose after an image may still be on its way."""
        assert self._poses is not None
        newest_ns = self._poses.newest_ns or 0
        latest_ns = nanoseconds(self._waiting[-1].header.stamp)
        late = latest_ns - stamp_ns > 2e9 * period_s or len(self._waiting) > _WAITING
        return newest_ns < stamp_ns <= newest_ns + 3e9 * period_s and not late

    def _consider(
        self, message: ImageMessage, stamp_ns: int, pose: Pose | None, travelled: float | None
    ) -> None:
        if self._selector.keep(stamp_ns, travelled):
            name = f"{stamp_ns / 1e9:.3f}"
            assert self.intake is not None
            self._add(Frame(self.intake.rgb(message), stamp_ns, name, pose, travelled))
        self.counters.count("processed")
        self.counters.aged((self.get_clock().now().nanoseconds - stamp_ns) / 1e6)

    def report(self) -> dict[str, object]:
        builder = self._builder
        return {
            "map": self.settings.map,
            "places": len(builder) if builder else 0,
            "unsaved_places": self._unsaved,
            "pose_source": self.settings.pose_source,
            "ignored_poses": self._poses.ignored if self._poses else 0,
            "pose_faults": str(self._poses.faults) if self._poses else "",
        }

    def _pose_at(
        self, stamp_ns: int, patience_s: float
    ) -> tuple[Pose, float] | tuple[None, None] | None:
        """Pose and metres at a stamp, both None where none are wanted; None where there is none."""
        if self.settings.pose_source == "none":
            return None, None
        assert self._poses is not None
        return self._poses.at(stamp_ns, patience_s)

    def _no_pose(self, stamp_ns: int) -> str:
        assert self._poses is not None
        topic = self.resolve_topic_name(MAP_BUILDER_INPUTS[self.settings.pose_source].name)
        remedy = self._poses.other_clock(stamp_ns).rstrip(".") or (
            "check that images and poses are stamped by the same clock"
        )
        if not self.count_publishers(topic):
            remedy = f"nobody publishes it, so remap `{self.settings.pose_source}`"
        return f"There is no pose on {topic} around the image of {stamp_ns / 1e9:.3f} s: {remedy}."

    def _add(self, frame: Frame) -> None:
        builder = self._builder
        assert builder is not None
        with self._building:
            if self._poses is not None and self._poses.origin and not builder.origin:
                builder.origin = self._poses.origin
            skipped = len(builder.report.skipped)
            builder.add([frame])
            if len(builder.report.skipped) > skipped:
                reason = builder.report.skipped[-1][1]
                raise SaaneError(f"An image is no place, as {reason}: check camera and poses.")
            self._unsaved += 1
        place = Place(len(builder) - 1, frame.name, frame.stamp_ns, frame.pose)
        self._places.append(place)
        self._route.publish(self._path())

    def _path(self) -> Path:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self.settings.frame_id)
        return route_message(self._places, header)

    def _save(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Write the map as it stands; building goes on."""
        builder = self._builder
        try:
            if builder is None:
                raise SaaneError("Nothing is being built: configure and activate the node first.")
            try:
                self._work_off(0.0)
            except SaaneError as error:  # of one image; the map is written without it
                self._frame_failed(error)
            with self._building:
                info = builder.save().info
                self._unsaved = 0
            response.success = True
            response.message = f"{info.count} places written to {self.settings.map}."
        except SaaneError as error:
            response.message = str(error)
        self.get_logger().info(response.message)
        return response


def main() -> int:
    return run_node(MapBuilderNode)


if __name__ == "__main__":
    sys.exit(main())
