"""Listens to the camera and to the localizer, and keeps what they publish."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import cv2
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Path as PathMessage
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2

from saane_ros.messages.image import image_to_rgb
from saane_ros.ros.listening.digest import image_digest
from saane_ros.ros.listening.published import (
    PICTURE_TITLES,
    PublishedCandidates,
    PublishedMatch,
    candidates_from,
    match_from,
    stamp_of,
    status_values,
)
from saane_ros.types import Rgb

_KEPT_HEIGHT = 240
_RELIABLE = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class Collector:
    """A node in a thread of its own, on one DDS domain; a context manager.

    camera: topic of the images.  localizer: name of the node.

    images: stamp (ns) and digest of every image, in the order of arrival.
    matches, candidates: by the stamp of their image.
    pictures: by stamp, the topics of `PICTURE_TITLES` as JPEG, of one in `keep_every` images.
    counts: the node's own counts, from `/diagnostics`.  active: set once the localizer is.
    failed: whether it says that it cannot work.
    """

    def __init__(
        self, domain_id: int, camera: str, localizer: str = "localizer", keep_every: int = 1
    ) -> None:
        self.images: list[tuple[int, bytes]] = []
        self.matches: dict[int, PublishedMatch] = {}
        self.candidates: dict[int, PublishedCandidates] = {}
        self.pictures: dict[int, dict[str, bytes]] = {}
        self.counts: dict[str, str] = {}
        self.failed = False
        self.active = threading.Event()
        self._camera = camera
        self._localizer = localizer
        self._keep_every = max(1, keep_every)
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self._node = rclpy.create_node("demo_collector", context=self._context)
        self._subscribe()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._failure: Exception | None = None
        self._equal_reports = 0
        self._thread = threading.Thread(target=self._spin, name="collector", daemon=True)

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        rclpy.try_shutdown(context=self._context)
        self._thread.join()
        self._node.destroy_node()

    def check(self) -> None:
        """Raise what a message could not be read for."""
        if self._failure is not None:
            raise self._failure

    @property
    def settled(self) -> bool:
        """Whether every image is dealt with: nothing changed since the report before."""
        handled = sum(self._told(key) for key in ("matched", "dropped", "failed"))
        return self._equal_reports > 0 and handled >= self._told("in")

    def unsettle(self) -> None:
        """Count reports anew, as the last image was published only now."""
        self._equal_reports = -1

    def _told(self, what: str) -> int:
        return int(self.counts.get(f"frames_{what}") or 0)

    def _subscribe(self) -> None:
        name = f"/{self._localizer}"
        self._listen(Image, self._camera, self._on_image, _RELIABLE)
        self._listen(DiagnosticArray, f"{name}/place_match", self._on_match, _RELIABLE)
        self._listen(PointCloud2, f"{name}/candidates", self._on_candidates, _RELIABLE)
        self._listen(DiagnosticArray, "/diagnostics", self._on_diagnostics, _RELIABLE)
        # Published when the localizer becomes active, and to whoever comes later.
        self._listen(PathMessage, f"{name}/route", lambda _: self.active.set(), _LATCHED)
        for topic in PICTURE_TITLES:
            self._listen(Image, f"{name}/{topic}", self._picture_keeper(topic), _RELIABLE)

    def _listen(
        self, kind: type[Any], topic: str, callback: Callable[[Any], None], qos: QoSProfile
    ) -> None:
        self._node.create_subscription(kind, topic, callback, qos)

    def _on_image(self, message: Image) -> None:
        self.images.append((stamp_of(message), image_digest(image_to_rgb(message))))

    def _on_match(self, message: DiagnosticArray) -> None:
        match = match_from(message)
        self.matches[match.stamp_ns] = match

    def _on_candidates(self, message: PointCloud2) -> None:
        candidates = candidates_from(message)
        self.candidates[candidates.stamp_ns] = candidates

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(self._localizer):
                before, self.counts = self.counts, status_values(status)
                same = all(before.get(key) == self.counts.get(key) for key in _COUNTS)
                self._equal_reports = self._equal_reports + 1 if same else 0
                self.failed = status.level == DiagnosticStatus.ERROR

    def _picture_keeper(self, topic: str) -> Callable[[Image], None]:
        def keep(message: Image) -> None:
            stamp = stamp_of(message)
            if (stamp // 1000) % self._keep_every == 0:
                self.pictures.setdefault(stamp, {})[topic] = _jpeg(image_to_rgb(message))

        return keep

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except Exception as error:  # told to the thread that asks by `check`
            self._failure = error


_COUNTS = ("frames_in", "frames_matched", "frames_dropped", "frames_failed")


def _jpeg(image: Rgb) -> bytes:
    scale = min(1.0, _KEPT_HEIGHT / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    return data.tobytes()
