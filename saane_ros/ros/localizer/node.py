"""The localizer as a lifecycle node: camera images in, place matches out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from saane_ros.embedding import Embedder
from saane_ros.localization.belief import PAUSE_S
from saane_ros.localization.kept_pose import KeptPose
from saane_ros.localization.map_choice import model_of_maps
from saane_ros.ros.intake.image_intake import ImageMessage, image_topic
from saane_ros.ros.intake.intrinsics import LiveIntrinsics
from saane_ros.ros.intake.travelled import TravelledDistance, pose_values
from saane_ros.ros.localizer.extending import Extending
from saane_ros.ros.localizer.frames import Frames
from saane_ros.ros.localizer.loaded import Loaded, MapSwitch, begin_at_kept_pose, load
from saane_ros.ros.localizer.localized import LocalizedFlag
from saane_ros.ros.localizer.publishers import PICTURES, LocalizerPublishers
from saane_ros.ros.localizer.requests import Requests
from saane_ros.ros.shared.clock import nanoseconds, steady_timer
from saane_ros.ros.shared.interface import INPUTS
from saane_ros.ros.shared.managed_node import ManagedNode
from saane_ros.ros.shared.model_loading import free_device_memory, load_model, warm_up
from saane_ros.ros.shared.process import run_node
from saane_ros.ros.shared.qos import overridable
from saane_ros.route_map.info import knowing_its_maker
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, MatchState

_WATCH_S = 0.1


class LocalizerNode(ManagedNode[Settings]):
    """Matches the newest camera image with a route map; topics and keys are in `interface.py`.

    loaded: model and maps, None while unconfigured.  output: the publishers.
    make_embedder: how the model is loaded at configure; others than `load_model` are for tests
    and benchmarks.
    """

    processed = "matched"

    def __init__(
        self, make_embedder: Callable[[Settings], Embedder] = load_model, **options: Any
    ) -> None:
        self._make_embedder = make_embedder
        self.loaded: Loaded | None = None
        self._kept: KeptPose | None = None
        self._shown: RouteMap | None = None
        self._travelled = TravelledDistance()
        self._odometry: Subscription | None = None
        self._has_odometry = False
        self._intrinsics: LiveIntrinsics | None = None
        self._watch: Timer | None = None
        self._last_match = ""
        super().__init__("localizer", Settings, **options)
        self.output = LocalizerPublishers(self)
        self._localized = LocalizedFlag(self.output.publish_localized)
        self._frames = Frames(self, lambda: self._localized.value)
        self._requests = Requests(
            self,
            lambda: None if self.loaded is None else self.loaded.localizer,
            self._localized.withdraw,
        )
        self._switch = MapSwitch(self, lambda: self.loaded, self._adopt)
        self._extending = Extending(self, lambda: self.loaded, self._switch)

    @property
    def problem(self) -> str:
        found = super().problem or self._points_problem
        if found or not self._odometry_fault:
            return found
        return (
            f"Motion is judged by the images alone, as {self._odometry_fault}: check what is "
            f"published on {self.resolve_topic_name(INPUTS['odometry'].name)}."
        )

    @property
    def _points_problem(self) -> str:
        """Why poses are not refined, where that can be mended; empty where they can be."""
        loaded, intrinsics = self.loaded, self._intrinsics
        if loaded is None or intrinsics is None or not self._last_match:
            return ""
        points = loaded.localizer.points
        if not self.settings.refine_budget_ms or not points.there:
            return ""
        why = points.fault or intrinsics.problem
        used = intrinsics.camera is not None and not points.fault
        return why if used or not why else f"Poses are not refined by the map's points. {why}"

    def load(self) -> None:
        model = self.settings.model or model_of_maps(self.settings.map)
        made_by = "" if self.settings.model else model
        with knowing_its_maker(f"Route map {self.settings.map}", made_by, model):
            embedder = self._make_embedder(replace(self.settings, model=model))
        loaded = load(self, embedder, self.settings)
        self._frames.configure(loaded.localizer)
        warm_up(embedder)
        if self.settings.keep_pose:
            path = Path(self.settings.keep_pose)
            self._kept = KeptPose(path)
            begin_at_kept_pose(self, loaded, path)
        self.loaded = loaded

    def unload(self) -> None:
        if self.loaded is not None:
            self._switch.finish()
            self._requests.drop()
            self._extending.close()
        self.loaded = self._kept = None
        free_device_memory()

    def activated(self) -> None:
        self._localized.announce()
        self._watch = steady_timer(self, _WATCH_S, self._check_localized)
        self._shown = None
        self._show_route()
        self._requests.activate()
        odometry = INPUTS["odometry"]
        self._odometry = self.create_subscription(
            odometry.type,
            odometry.name,
            self._on_odometry,
            **overridable(self, odometry.name, odometry.qos, "subscription"),
        )
        self._intrinsics = LiveIntrinsics(
            self, image_topic(self, self.settings), self.settings.camera_info_topic
        )
        self._frames.start()

    def deactivated(self) -> None:
        self._localized.withdraw()
        self._frames.stop()
        if self._intrinsics is not None:
            self._intrinsics.close()
            self._intrinsics = None
        self._has_odometry = False
        self._requests.deactivate()
        self._keep_pose(KeptPose.write)
        if self._watch is not None:
            self.destroy_timer(self._watch)
            self._watch = None
        if self._odometry is not None:
            self.destroy_subscription(self._odometry)
            self._odometry = None

    def restarted(self) -> None:
        self._requests.forget()

    def image_failed(self) -> None:
        self._localized.withdraw()

    def settings_changed(self) -> None:
        if self.loaded is not None:
            self.loaded.localizer.settings = self.settings

    def process(self, message: ImageMessage) -> None:
        loaded = self.loaded
        assert loaded is not None
        claim = self._localized.claim()
        self._requests.perform(loaded.localizer)
        frame = self._frame(message)
        self._frames.see(message.header.frame_id)
        found = loaded.localizer.localize(
            frame,
            attention=self.output.wanted("appearance", "semantic", "overview"),
            labels=self.output.wanted("segmentation", "overview"),
            behind=self.behind,
        )
        self._localized.say(found.match.state is MatchState.LOCALIZED, claim)
        self._frames.take(found.match)
        self._has_odometry = frame.travelled is not None
        clock = self.get_clock()
        age = self.output.publish(
            frame,
            found.match,
            found.route_map,
            message.header.stamp,
            age_ms=lambda: (clock.now().nanoseconds - frame.stamp_ns) / 1e6,
        )
        self._last_match = found.match.state.value
        self._keep_pose(lambda kept: kept.keep(found.match, found.route_map.info))
        self._show_route()
        self._extending.take(frame, found, loaded)
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
        model = route_map = odometry = points = None
        if self.loaded is not None:
            embedder, choice = self.loaded.embedder, self.loaded.localizer
            model = f"{embedder.name} ({embedder.fingerprint})"
            maps = choice.maps if choice.current is None else [choice.current.route_map]
            route_map = ", ".join(f"{one.info.name}, {one.info.count} places" for one in maps)
            metric = any(one.metric for one in maps) and self.settings.sequence_filter
            points = choice.points.told if self.settings.refine_budget_ms else "off"
            odometry = "used" if self._has_odometry and metric else "unused"
        return {
            "model": model,
            "map": route_map,
            "device": self.settings.device,
            "last_match": self._last_match,
            "points": points,
            "odometry": self._odometry_fault or odometry,
            "odometry_faults": self._travelled.told(),
            **self._frames.report(),
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
        camera = None if self._intrinsics is None else self._intrinsics.camera
        travelled = self._travelled.at(stamp_ns)
        # Pictures have the camera's size; nothing else needs all pixels of a large image.
        least = None
        if self.loaded is not None and not self.output.wanted(*PICTURES):
            least = self.loaded.localizer.image_size
        image = self.intake.rgb(message, least)
        return Frame(image, stamp_ns, travelled=travelled, camera=camera)

    def _on_odometry(self, message: Odometry) -> None:
        self._frames.odometry(message)
        self._travelled.add(nanoseconds(message.header.stamp), *pose_values(message.pose.pose))
        self._extending.hear(message)

    def _adopt(self, loaded: Loaded) -> None:
        """Go on with another map from the next image on."""
        loaded.localizer.settings = self.settings
        self._requests.drop()
        self._frames.configure(loaded.localizer)
        self.loaded = loaded
        self._localized.withdraw()
        if self.state == "active":
            self._show_route()

    def _show_route(self) -> None:
        """Publish the map that the robot is on, where that is another than before."""
        current = self.loaded and self.loaded.localizer.current
        if current and current.route_map is not self._shown:
            self._shown = current.route_map
            self.output.publish_route(current.route_map, self.get_clock().now().to_msg())

    def _keep_pose(self, use: Callable[[KeptPose], None]) -> None:
        try:
            if self._kept is not None:
                use(self._kept)
        except OSError as error:
            self.get_logger().warning(
                f"The pose cannot be kept in {self.settings.keep_pose}: {error.strerror}.",
                throttle_duration_sec=60.0,
            )


def main() -> int:
    return run_node(LocalizerNode)


if __name__ == "__main__":
    sys.exit(main())
