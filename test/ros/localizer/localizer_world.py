"""A localizer node under test, its camera and its ears, for tests of what it is asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.parameter import Parameter
from ros_world import MS, Peer, drive, image_message, noisy, spinning, until, values
from scenes import ColourGridEmbedder, smooth_scene
from sensor_msgs.msg import Image

from saane_ros.ros.localizer.node import LocalizerNode
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Rgb

S = 1000 * MS


def street(
    folder: Path, name: str, first: int, places: int = 40, frame_id: str = "site"
) -> RouteMap:
    """A straight map, a place every two metres, of scenes from `first` on."""
    frames = drive([smooth_scene(first + i) for i in range(places)])
    return build_map(frames, ColourGridEmbedder(), folder / f"{name}.routemap", frame_id=frame_id)


def localizer(map_path: Path, embedder: Any = None, **given: Any) -> Any:
    overrides = {"map": str(map_path), "silent_after": 3600.0, **given}
    return spinning(
        lambda context: LocalizerNode(
            lambda settings: embedder or ColourGridEmbedder(),
            context=context,
            parameter_overrides=[Parameter(name, value=v) for name, v in overrides.items()],
        )
    )


class Robot:
    """Shows images to a node and waits for what becomes of each.

    matches: messages.  `told`: keys and values of the last.
    """

    def __init__(self, node: LocalizerNode, peer: Peer) -> None:
        self.node, self.peer = node, peer
        self.matches = peer.hear(DiagnosticArray, "/localizer/place_match")
        self.poses = peer.hear(PoseWithCovarianceStamped, "/localizer/pose")
        self.camera = peer.talk(Image, "image")
        for topic in ("/localizer/place_match", "/localizer/pose"):
            (publisher,) = [p for p in node.publishers if p.topic_name == topic]
            until(publisher.get_subscription_count, f"the subscription of {topic}")
        self.stamp = 0

    @property
    def told(self) -> dict[str, str]:
        return values(self.matches[-1].status[0])

    def show(self, image: Rgb) -> dict[str, str]:
        """Publish an image and wait for its match."""
        self.stamp += S
        matched = len(self.matches)
        self.camera.publish(image_message(image, self.stamp))
        until(lambda: len(self.matches) > matched, "a match")
        return self.told

    def follow(self, first: int, count: int) -> list[dict[str, str]]:
        """Show successive scenes as on a drive."""
        return [self.show(noisy(smooth_scene(first + i), i)) for i in range(count)]
