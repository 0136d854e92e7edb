"""What the localizer publishes of one frame; pictures are rendered only for subscribers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, Header

from saane_ros.localization.localizer import Localization
from saane_ros.messages.encode import rgb_to_image_fields
from saane_ros.ros.localizer.match_messages import (
    cloud_message,
    marker_message,
    match_message,
    pose_message,
)
from saane_ros.ros.shared.interface import OUTPUTS
from saane_ros.ros.shared.map_messages import route_message
from saane_ros.ros.shared.qos import overridable
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame, Match, Rgb
from saane_ros.visualization import overlay_attention, overlay_labels, overview

PICTURES = ("appearance", "semantic", "segmentation", "matched_image", "overview")


class LocalizerPublishers:
    """The topics of `interface.OUTPUTS`, silent until the node is active."""

    def __init__(self, node: LifecycleNode) -> None:
        self._name = f"{node.get_fully_qualified_name().lstrip('/')}: place match"
        self._publishers = {
            key: node.create_lifecycle_publisher(
                topic.type, topic.name, **overridable(node, topic.name, topic.qos, "publisher")
            )
            for key, topic in OUTPUTS.items()
            if key not in ("diagnostics", "tf")
        }

    def wanted(self, *keys: str) -> bool:
        """Whether somebody subscribes to one of these topics."""
        return any(self._publishers[key].get_subscription_count() for key in keys)

    def publish_route(self, route_map: RouteMap, stamp: Time) -> None:
        header = Header(stamp=stamp, frame_id=route_map.info.frame_id)
        self._publishers["route"].publish(route_message(route_map.places, header))

    def publish_localized(self, localized: bool) -> None:
        self._publishers["localized"].publish(Bool(data=localized))

    def publish(
        self,
        frame: Frame,
        match: Match,
        route_map: RouteMap,
        stamp: Time,
        age_ms: Callable[[], float],
    ) -> float:
        """Publish everything about one frame but the pictures, the match last.

        stamp: of the image.  age_ms: the image's age at the moment of the call; the age that the
        published match tells is returned.
        """
        header = Header(stamp=stamp, frame_id=route_map.info.frame_id)
        pose = pose_message(match, header)
        if pose is not None:
            self._publishers["pose"].publish(pose)
        for key, made in (("candidates", cloud_message), ("markers", marker_message)):
            if self.wanted(key):  # they are for eyes, and cost more than all the rest
                self._publishers[key].publish(made(match, route_map.places, header))
        age = age_ms()
        self._publishers["place_match"].publish(
            match_message(match, header, self._name, route_map.info.name, age, frame.travelled)
        )
        return age

    def publish_pictures(
        self,
        frame: Frame,
        found: Localization,
        camera: Header,
        class_names: tuple[str, ...],
        opacity: float,
    ) -> None:
        """Render and publish the pictures that somebody subscribes to."""
        for key in PICTURES:
            if self.wanted(key):
                picture = _picture(key, frame.image, found, class_names, opacity)
                if picture is not None:
                    message = Image(header=camera, **rgb_to_image_fields(picture))
                    self._publishers[key].publish(message)


def _picture(
    key: str, image: Rgb, found: Localization, class_names: tuple[str, ...], opacity: float
) -> Rgb | None:
    """One picture, or None where the model or the map has nothing to show."""
    embedding, match = found.embedding, found.match
    matched = _thumbnail(match.place.thumbnail) if match.place.thumbnail else None
    if key == "matched_image":
        return matched
    if key == "overview":
        return overview(image, embedding, matched, match, class_names, opacity)
    if key == "segmentation":
        if embedding.labels is None:
            return None
        return overlay_labels(image, embedding.labels, class_names, opacity)
    attention = embedding.attention.get(key)
    return None if attention is None else overlay_attention(image, attention, opacity)


@lru_cache(maxsize=64)
def _thumbnail(path: Path) -> Rgb | None:
    """The picture of a place as RGB, or None where the file cannot be read."""
    encoded = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if encoded is None else np.asarray(cv2.cvtColor(encoded, cv2.COLOR_BGR2RGB))
