"""`~/extend`: the map grows while the robot drives on roads that it does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from saane_ros.errors import SaaneError
from saane_ros.localization.extension import MapExtension
from saane_ros.localization.localizer import Localization
from saane_ros.ros.localizer.loaded import Loaded, MapSwitch
from saane_ros.ros.map_builder.live_poses import LivePoses
from saane_ros.ros.shared.clock import nanoseconds
from saane_ros.ros.shared.interface import INPUTS, SERVICES
from saane_ros.route_map.merge import check_extendable
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame

_PATIENCE_S = 0.3


class Extending:
    """Begins and ends an extension on request; frames are taken by the worker, which embeds them.

    When it ends the map on disk is the extended one, and is opened as by `~/load_map`.
    """

    def __init__(self, node: Node, loaded: Callable[[], Loaded | None], switch: MapSwitch) -> None:
        self._node, self._loaded, self._switch = node, loaded, switch
        self._wanted: RouteMap | None = None
        self._extension: MapExtension | None = None
        self._poses = LivePoses(INPUTS["odometry"].type_name)
        service = SERVICES["extend"]
        # While it waits for the map, the callbacks of its group wait too.
        alone = MutuallyExclusiveCallbackGroup()
        node.create_service(service.type, service.name, self._on_request, callback_group=alone)

    def hear(self, message: Odometry) -> None:
        """Take odometry, in the executor."""
        if self._wanted is not None:
            self._poses.add(nanoseconds(message.header.stamp), message)

    def take(self, frame: Frame, found: Localization, loaded: Loaded) -> None:
        """Take what a frame was found to be, in the worker."""
        wanted = self._wanted
        if wanted is None or found.route_map is not wanted:
            return
        extension = self._extension
        if extension is None:
            (base,) = [o.base for o in loaded.localizer.localizers if o.route_map is wanted]
            extension = self._extension = MapExtension(loaded.embedder, wanted, base)
        extension.take(frame, found.match, self._poses.at(frame.stamp_ns, _PATIENCE_S))
        if self._wanted is None:  # it ended while this one began
            self.close()

    def close(self) -> None:
        """Stop; what was gathered stays on disk for the next extension of the map."""
        self._wanted = None
        if self._extension is not None:
            self._extension.close()
            self._extension = None

    async def _on_request(self, request: Any, response: Any) -> Any:
        try:
            response.message = self._begin() if request.data else await self._end()
            response.success = True
            self._node.get_logger().info(response.message)
        except SaaneError as error:
            response.message = str(error)
            self._node.get_logger().error(response.message)
        return response

    def _begin(self) -> str:
        loaded = self._loaded()
        if loaded is None:
            raise SaaneError("No map is loaded to be extended: configure and activate the node.")
        if loaded.localizer.current is None:
            raise SaaneError(
                "The robot is on none of the maps yet: ask again when it is localized."
            )
        route_map = loaded.localizer.current.route_map
        check_extendable(route_map)
        topic = self._node.resolve_topic_name(INPUTS["odometry"].name)
        if not self._node.count_publishers(topic):
            raise SaaneError(
                f"Nobody publishes odometry on {topic}, by which new places are posed: remap it."
            )
        if self._wanted is None:
            self._poses = LivePoses(INPUTS["odometry"].type_name)
            self._wanted = route_map
        return f"Frames off the route become places of map {route_map.info.name} from now on."

    async def _end(self) -> str:
        self._wanted, extension = None, self._extension
        self._extension = None
        if extension is None or not len(extension):
            if extension is not None:
                extension.finish()
            return "No place was added."
        added: list[int] = []
        fault = await self._switch.again(lambda: added.append(extension.finish()))
        if fault:
            raise SaaneError(fault)
        return f"{added[0]} places were added to map {extension.route_map.info.name}."
