"""The map builder as a lifecycle node: a drive in, a route map out."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future as Writing
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from nav_msgs.msg import Path
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.subscription import Subscription
from rclpy.task import Future
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from saane_ros.data.selection import Selector
from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.metric.features import MOST_OF_MAP
from saane_ros.metric.loading import load_features
from saane_ros.metric.triangulation import pycolmap
from saane_ros.ros.intake.image_intake import ImageMessage, image_topic
from saane_ros.ros.intake.intrinsics import LiveIntrinsics
from saane_ros.ros.map_builder.live_poses import LivePoses
from saane_ros.ros.map_builder.mount import LiveMount
from saane_ros.ros.map_builder.replays import Replays
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
from saane_ros.ros.shared.tf_messages import SPOKEN
from saane_ros.route_map.builder import RouteMapBuilder
from saane_ros.route_map.existing import EXTEND
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame, Place, Pose

_PATIENCE_NS = 3_000_000_000
"""Images wait so long for the pose after them, or two periods of the poses if that is longer."""
_WAITING = 100
"""Images that may wait."""


class MapBuilderNode(ManagedNode[MapBuilderSettings]):
    """Embeds a frame every so many metres or seconds and writes the map when asked to.

    Every place is on disk before the next frame is looked at: a build that ended without `save`
    goes on when the node is started again with the same map. The map is written by a thread of its
    own, which ends a build too where the node is cleaned up meanwhile.
    """

    def __init__(
        self, make_embedder: Callable[[MapBuilderSettings], Embedder] = load_model, **options: Any
    ) -> None:
        self._make_embedder = make_embedder
        self._builder: RouteMapBuilder | None = None
        self._writer = ThreadPoolExecutor(1, "map writer")
        self._writing: Writing[tuple[bool, str]] | None = None
        self._working = threading.Lock()
        self._selector = Selector()
        self._poses: LivePoses | None = None
        self._replays = Replays()
        self._waiting: deque[ImageMessage] = deque()
        self._pose_subscription: Subscription | None = None
        self._mount: LiveMount | None = None
        self._tf_subscription: Subscription | None = None
        self._intrinsics: LiveIntrinsics | None = None
        self._places: list[Place] = []
        super().__init__("map_builder", MapBuilderSettings, **options)
        route = MAP_BUILDER_OUTPUTS["route"]
        self._route = self.create_lifecycle_publisher(
            route.type, route.name, **overridable(self, route.name, route.qos, "publisher")
        )
        self.create_service(
            Trigger,
            MAP_BUILDER_SERVICES["save"].name,
            self._save,
            # A callback that awaits something holds its group.
            callback_group=ReentrantCallbackGroup(),
        )

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
        if settings.existing == EXTEND and settings.pose_source == "none":
            raise SaaneError(
                "A map is extended by where its places lie: set pose_source, or existing to "
                "something else than extend."
            )
        features = None
        if settings.metric:
            if settings.pose_source == "none":
                raise SaaneError("Points of a map need poses: set pose_source, or metric to false.")
            features = load_features(
                settings.features, settings.weights, settings.device, MOST_OF_MAP
            )
            pycolmap()
        self._mount = LiveMount(settings)
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
            existing=settings.existing,
            features=features,
        )
        if self._builder.base is not None:
            self._share_origin(self._builder, self._builder.base)
        by_metres = settings.unit == "metres"
        self._selector = Selector(
            settings.every if by_metres else None, None if by_metres else settings.every
        )
        self._places = []
        self._replays = Replays()
        source = MAP_BUILDER_INPUTS.get(settings.pose_source)
        # They outlive a deactivation, so that the way goes on where it was left.
        self._poses = LivePoses(source.type_name, self._builder.origin) if source else None
        self.get_logger().info(self._beginning(self._builder, embedder.name))

    def unload(self) -> None:
        builder, self._builder = self._builder, None
        if builder is None:
            return
        ended = self._writer.submit(self._end, builder)
        if not self._is_writing:
            ended.result()

    def destroy_node(self) -> None:
        super().destroy_node()
        self._writer.shutdown()  # once the map is written

    def activated(self) -> None:
        source, poses = MAP_BUILDER_INPUTS.get(self.settings.pose_source), self._poses
        mount = self._mount
        if source is None or poses is None or mount is None:
            return

        def take(message: Any) -> None:
            mount.take_pose(message)
            poses.add(nanoseconds(message.header.stamp), message)

        self._pose_subscription = self.create_subscription(
            source.type,
            source.name,
            take,
            **overridable(self, source.name, source.qos, "subscription"),
        )
        if self.settings.metric:
            topic = self.settings.camera_info_topic
            self._intrinsics = LiveIntrinsics(self, image_topic(self, self.settings), topic)
        if SPOKEN:
            static = MAP_BUILDER_INPUTS["tf_static"]
            self._tf_subscription = self.create_subscription(
                static.type,
                static.name,
                mount.transforms.take,
                **overridable(self, static.name, static.qos, "subscription"),
            )

    def deactivated(self) -> None:
        if self._pose_subscription is not None:
            self.destroy_subscription(self._pose_subscription)
            self._pose_subscription = None
        if self._tf_subscription is not None:
            self.destroy_subscription(self._tf_subscription)
            self._tf_subscription = None
        if self._intrinsics is not None:
            self._intrinsics.close()
        self._work_off()
        with self._working:
            left = len(self._waiting)
            self._waiting.clear()
        if left:
            self.counters.count("dropped", left)
            self.get_logger().warning(
                f"{left} images still waited for the pose after them and are left out."
            )

    def restarted(self) -> None:
        self.get_logger().warning(
            "The images' clock was set back, or a bag is played again: building goes on, without "
            "the images that came before."
        )

    def process(self, message: ImageMessage) -> None:
        if self._replays.repeats(message):
            self.counters.count("processed")
            return
        if self._mount is not None:
            self._mount.take_image(message)
        self._waiting.append(message)
        self._work_off()

    def _work_off(self) -> None:
        """Work on the images whose pose has come; the others hold up nobody while they wait."""
        with self._working:
            while self._waiting:
                message = self._waiting[0]
                stamp_ns = nanoseconds(message.header.stamp)
                may_come = self._may_come(stamp_ns)
                found = self._pose_at(stamp_ns)
                if found is None and may_come:
                    return
                self._waiting.popleft()
                try:
                    if found is None:
                        raise SaaneError(self._no_pose(stamp_ns))
                    self._consider(message, stamp_ns, *found)
                except Exception as error:  # of one image: the others have their turn
                    self._frame_failed(error)

    def _may_come(self, stamp_ns: int) -> bool:
        """Whether the pose after an image may still be on its way."""
        if self._poses is None or len(self._waiting) > _WAITING:
            return False
        newest_ns = self._poses.newest_ns
        waited_ns = nanoseconds(self._waiting[-1].header.stamp) - stamp_ns
        patience_ns = max(_PATIENCE_NS, 2e9 * self._poses.period_s())
        return (newest_ns is None or newest_ns < stamp_ns) and 0 <= waited_ns <= patience_ns

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
            "unsaved_places": builder.unsaved if builder else 0,
            "waiting_images": len(self._waiting),
            "repeated_images": self._replays.count,
            "pose_source": self.settings.pose_source,
            "ignored_poses": self._poses.ignored if self._poses else 0,
            "pose_faults": str(self._poses.faults) if self._poses else "",
            "intrinsics": self._intrinsics.problem if self._intrinsics else "",
        }

    def _pose_at(self, stamp_ns: int) -> tuple[Pose, float] | tuple[None, None] | None:
        """Pose and metres at a stamp, both None where none are wanted; None where there is none."""
        if self.settings.pose_source == "none":
            return None, None
        assert self._poses is not None
        return self._poses.at(stamp_ns, 0.0)

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
        if self._poses is not None and self._poses.origin and not builder.origin:
            builder.origin = self._poses.origin
        skipped = len(builder.report.skipped)
        builder.add([frame])
        if len(builder.report.skipped) > skipped:
            reason = builder.report.skipped[-1][1]
            raise SaaneError(f"An image is no place, as {reason}: check camera and poses.")
        place = Place(len(builder) - 1, frame.name, frame.stamp_ns, frame.pose)
        self._places.append(place)
        self._route.publish(self._path())

    def _path(self) -> Path:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self.settings.frame_id)
        return route_message(self._places, header)

    @property
    def _is_writing(self) -> bool:
        return self._writing is not None and not self._writing.done()

    async def _save(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Write the map as it stands, and answer once it is written."""
        builder = self._builder
        if builder is None:
            response.message = "Nothing is being built: configure and activate the node first."
        elif self._is_writing:
            response.message = "The map is being written: save again once that has been answered."
        else:
            executor = self.executor
            written: Future[tuple[bool, str]] = Future(executor=executor)

            def tell(writing: Writing[tuple[bool, str]]) -> None:
                written.set_result(writing.result())
                with suppress(InvalidHandle):  # nobody spins any more
                    if executor is not None:
                        executor.wake()

            self._writing = self._writer.submit(self._write, builder)
            self._writing.add_done_callback(tell)
            outcome = await written
            assert outcome is not None
            response.success, response.message = outcome
        self.get_logger().info(response.message)
        return response

    def _write(self, builder: RouteMapBuilder) -> tuple[bool, str]:
        """Runs on the writer's thread; whether it went well, and the answer in words."""
        try:
            self._work_off()
            left = len(self._waiting) if self._poses is not None else 0
            if self._poses is not None and self._mount is not None:
                builder.body, builder.camera = self._mount.body, self._mount.camera
            changed = ""
            if self._intrinsics is not None:
                changed = self._intrinsics.changed
                builder.intrinsics = None if changed else self._intrinsics.camera
            info = builder.save().info
        except Exception as error:
            return False, self._explain(error)
        waiting = f" {left} images still wait for the pose after them." if left else ""
        about = changed or builder.report.no_points or builder.report.moved
        about = f" {about}" if about else ""
        return True, f"{info.count} places written to {builder.path}.{waiting}{about}"

    def _end(self, builder: RouteMapBuilder) -> None:
        """Runs on the writer's thread, after what it writes."""
        if builder.unsaved:
            builder.close()
            self.get_logger().warning(
                f"{builder.unsaved} places were not saved; they are kept for the next build of "
                f"{builder.path}."
            )
        else:
            builder.discard()
        free_device_memory()

    def _share_origin(self, builder: RouteMapBuilder, base: RouteMap) -> None:
        """Let the new places lie in the frame of those that they are added to."""
        origin, source = base.info.origin, self.settings.pose_source
        if (origin is None) == (source == "fix"):
            tells = "does not tell where on Earth it lies, as fixes do"
            if origin is not None:
                tells = f"tells where on Earth it lies, and the poses of {source} do not"
            raise SaaneError(
                f"{builder.path} {tells}: set pose_source to what the map was built with, or give "
                "another map."
            )
        if builder.origin is None and origin is not None:
            builder.origin = origin

    def _beginning(self, builder: RouteMapBuilder, model: str) -> str:
        parts = [f"Building {builder.path} with {model}"]
        if builder.base is not None:
            parts.append(f"extending a map of {builder.base.info.count} places")
        if builder.unsaved:
            parts.append(f"going on with {builder.unsaved} places of an unsaved build")
        return ", ".join(parts) + "."


def main() -> int:
    return run_node(MapBuilderNode)


if __name__ == "__main__":
    sys.exit(main())
