"""The localizer as a lifecycle node: camera images in, place matches out."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from std_srvs.srv import Trigger

from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.localization.belief import PAUSE_S
from saane_ros.localization.localizer import Localizer
from saane_ros.ros.intake.image_intake import ImageMessage
from saane_ros.ros.intake.travelled import TravelledDistance, pose_values
from saane_ros.ros.localizer.localized import LocalizedFlag
from saane_ros.ros.localizer.publishers import LocalizerPublishers
from saane_ros.ros.shared.clock import nanoseconds, steady_timer
from saane_ros.ros.shared.interface import INPUTS, SERVICES
from saane_ros.ros.shared.managed_node import ManagedNode
from saane_ros.ros.shared.model_loading import free_device_memory, load_model, warm_up
from saane_ros.ros.shared.process import run_node
from saane_ros.ros.shared.qos import overridable
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, MatchState

_WATCH_S = 0.1


@dataclass(frozen=True)
class Loaded:
    """What configure gets and cleanup frees."""

    embedder: Embedder
    route_map: RouteMap
    localizer: Localizer


class LocalizerNode(ManagedNode[Settings]):
    """Matches the newest camera image with a route map; topics and keys are in `interface.py`.

    loaded: model and map, None while unconfigured.  output: the publishers.
    make_embedder: how the model is loaded at configure; others than `load_model` are for tests
    and benchmarks.
    """

    processed = "matched"

    def __init__(
        self, make_embedder: Callable[[Settings], Embedder] = load_model, **options: Any
    ) -> None:
        self._make_embedder = make_embedder
        self.loaded: Loaded | None = None
        self._forget = threading.Event()
        self._travelled = TravelledDistance()
        self._odometry: Subscription | None = None
        self._has_odometry = False
        self._watch: Timer | None = None
        self._last_match = ""
        super().__init__("localizer", Settings, **options)
        self.output = LocalizerPublishers(self)
        self._localized = LocalizedFlag(self.output.publish_localized)
        self.create_service(Trigger, SERVICES["reset"].name, self._reset)

    @property
    def problem(self) -> str:
        found = super().problem
        if found or not self._odometry_fault:
            return found
        return (
            f"Motion is judged by the images alone, as {self._odometry_fault}: check what is "
            f"published on {self.resolve_topic_name(INPUTS['odometry'].name)}."
        )

    def load(self) -> None:
        if not self.settings.map:
            raise SaaneError(
                "Parameter map is empty: give the folder of a route map (<name>.routemap), as "
                "`saane map build` and the map_builder write it."
            )
        route_map = RouteMap.open(self.settings.map)
        embedder = self._make_embedder(self.settings)
        localizer = Localizer(embedder, route_map, self.settings)
        warm_up(embedder)
        self.loaded = Loaded(embedder, route_map, localizer)
        self.get_logger().info(
            f"Model {embedder.name} and map {route_map.info.name} with {route_map.info.count} "
            "places are ready."
        )

    def unload(self) -> None:
        self.loaded = None
        free_device_memory()

    def activated(self) -> None:
        assert self.loaded is not None
        self._localized.announce()
        self._watch = steady_timer(self, _WATCH_S, self._check_localized)
        self.output.publish_route(self.loaded.route_map, self.get_clock().now().to_msg())
        odometry = INPUTS["odometry"]
        self._odometry = self.create_subscription(
            odometry.type,
            odometry.name,
            self._on_odometry,
            **overridable(self, odometry.name, odometry.qos, "subscription"),
        )

    def deactivated(self) -> None:
        self._localized.withdraw()
        self._has_odometry = False
        if self._watch is not None:
            self.destroy_timer(self._watch)
            self._watch = None
        if self._odometry is not None:
            self.destroy_subscription(self._odometry)
            self._odometry = None

    def restarted(self) -> None:
        self._forget.set()
        self._localized.withdraw()

    def image_failed(self) -> None:
        self._localized.withdraw()

    def settings_changed(self) -> None:
        if self.loaded is not None:
            self.loaded.localizer.settings = self.settings

    def process(self, message: ImageMessage) -> None:
        loaded = self.loaded
        assert loaded is not None
        claim = self._localized.claim()
        if self._forget.is_set():
            self._forget.clear()
            loaded.localizer.reset()
        frame = self._frame(message)
        found = loaded.localizer.localize(
            frame,
            attention=self.output.wanted("appearance", "semantic", "overview"),
            labels=self.output.wanted("segmentation", "overview"),
        )
        self._localized.say(found.match.state is MatchState.LOCALIZED, claim)
        self._has_odometry = frame.travelled is not None
        clock = self.get_clock()
        age = self.output.publish(
            frame,
            found.match,
            loaded.route_map,
            message.header.stamp,
            age_ms=lambda: (clock.now().nanoseconds - frame.stamp_ns) / 1e6,
        )
        self._last_match = found.match.state.value
        self.counters.count("processed")
        self.counters.aged(age)
        self.output.publish_pictures(
            frame,
            found,
            message.header,
            loaded.embedder.class_names,
            self.settings.overlay_opacity,
        )

    def report(self) -> dict[str, object]:
        model = route_map = odometry = None
        if self.loaded is not None:
            embedder, info = self.loaded.embedder, self.loaded.route_map.info
            model = f"{embedder.name} ({embedder.fingerprint})"
            route_map = f"{info.name}, {info.count} places"
            metric = self.loaded.route_map.metric and self.settings.sequence_filter
            odometry = "used" if self._has_odometry and metric else "unused"
        return {
            "model": model,
            "map": route_map,
            "device": self.settings.device,
            "last_match": self._last_match,
            "odometry": self._odometry_fault or odometry,
            "odometry_faults": self._travelled.told(),
        }

    @property
    def _odometry_fault(self) -> str:
        return "" if self.loaded is None else self.loaded.localizer.odometry_fault

    def _check_localized(self) -> None:
        """Images may stop, and the belief ages where none is worked on."""
        if self.intake is not None and self.intake.silent_s > self.settings.silent_after:
            self._localized.withdraw()
        self._localized.expire(PAUSE_S)

    def _frame(self, message: ImageMessage) -> Frame:
        assert self.intake is not None
        stamp_ns = nanoseconds(message.header.stamp)
        return Frame(self.intake.rgb(message), stamp_ns, travelled=self._travelled.at(stamp_ns))

    def _on_odometry(self, message: Odometry) -> None:
        self._travelled.add(nanoseconds(message.header.stamp), *pose_values(message.pose.pose))

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Forget the belief; the worker does it before its next frame."""
        self._forget.set()
        self._localized.withdraw()
        response.success = True
        response.message = "The next image is matched without what was known before."
        return response


def main() -> int:
    return run_node(LocalizerNode)


if __name__ == "__main__":
    sys.exit(main())
