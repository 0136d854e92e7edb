"""A bag through the node's own path, message by message: no DDS, no clock, no rclpy.

What differs from the live node is only who decides when an image is worked on: here the recorded
times alone, so that the same bag gives the same matches, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from saane_ros.data.bags.poses import ODOMETRY_TYPE
from saane_ros.data.bags.raw_messages import RawMessage
from saane_ros.data.bags.reader import (
    BagReader,
    UndecodableError,
    decoded,
    deserialized,
    stamp_of,
)
from saane_ros.data.poses.plausibility import Order
from saane_ros.errors import SaaneError
from saane_ros.localization.localizer import Localizer
from saane_ros.messages.image import ImageDecoder
from saane_ros.ros.intake.stamps import StampMonitor
from saane_ros.ros.intake.travelled import TravelledDistance, pose_values
from saane_ros.types import Frame, Intrinsics, Match

UNUSABLE, DROPPED = "unusable", "dropped"
_NEVER = 1 << 63


@dataclass(frozen=True)
class Outcome:
    """What became of one image. state: of the match, or UNUSABLE or DROPPED, then with a reason."""

    stamp_ns: int
    name: str
    state: str
    match: Match | None = None
    reason: str = ""


MOST = 1e6
"""Images a second, or seconds an image."""


SLOWEST_HZ = 1e-6
"""An image in eleven days; slower ones have a period beyond all stamps."""


@dataclass(frozen=True)
class Pace:
    """How fast camera and model are.

    camera_hz: the camera takes at most so many of the recorded images; 0 takes all.
    inference_s: an image that comes while the model works waits, and a newer one takes its place;
    0 works on every image.
    """

    camera_hz: float = 0.0
    inference_s: float = 0.0

    def __post_init__(self) -> None:
        for what, value in (("camera rate", self.camera_hz), ("inference time", self.inference_s)):
            if not 0 <= value <= MOST:
                raise SaaneError(f"The {what} is {value:g}: give a number from 0 to {MOST:g}.")
        if 0 < self.camera_hz < SLOWEST_HZ:
            raise SaaneError(
                f"The camera rate is {self.camera_hz:g}: give 0 for all images, or at least "
                f"{SLOWEST_HZ:g}."
            )


@dataclass(frozen=True)
class _Waiting:
    raw: RawMessage
    stamp_ns: int
    name: str


class OfflineDrive:
    """Localizes the images of a bag as the node would; `outcomes` may be asked for once.

    camera: what took the images, None where nobody tells.
    """

    def __init__(
        self,
        bag: BagReader,
        localizer: Localizer,
        image_topic: str,
        odometry_topic: str = "",
        pace: Pace = Pace(),
        camera: Intrinsics | None = None,
    ) -> None:
        self._bag, self._localizer, self._pace = bag, localizer, pace
        self._camera = camera
        self._image_topic, self._odometry_topic = image_topic, odometry_topic
        self._type = bag.image_type(image_topic)
        if odometry_topic:
            bag.type_of(odometry_topic, (ODOMETRY_TYPE,), "odometry")
        self._stamps, self._travelled = StampMonitor(), TravelledDistance()
        self._decoder = ImageDecoder()
        self._waiting: _Waiting | None = None
        self._free_ns = 0
        self._next_shot_ns: int | None = None
        self._forget = False

    @property
    def odometry_faults(self) -> str:
        """What of the odometry counted for no motion; empty where all was well."""
        return self._travelled.told()

    def outcomes(self) -> Iterator[Outcome]:
        """One outcome an image that the camera takes, in the order of recording."""
        topics = [self._image_topic, *([self._odometry_topic] if self._odometry_topic else [])]
        number = 0
        for raw in self._bag.messages(topics):
            yield from self._until(raw.stamp_ns)
            if raw.topic == self._odometry_topic:
                self._take_odometry(raw)
                continue
            name, number = f"{raw.topic}#{number}", number + 1
            yield from self._take_image(raw, name)
        yield from self._until(_NEVER)

    def _take_odometry(self, raw: RawMessage) -> None:
        try:
            message = deserialized(raw)
        except UndecodableError:
            return
        self._travelled.add(stamp_of(message, raw), *pose_values(message.pose.pose))

    def _take_image(self, raw: RawMessage, name: str) -> Iterator[Outcome]:
        try:
            stamp_ns = stamp_of(deserialized(raw), raw)
        except UndecodableError as error:
            yield Outcome(raw.stamp_ns, name, UNUSABLE, reason=str(error))
            return
        if not self._shoots(raw.stamp_ns):
            return
        order = self._stamps.arrive(stamp_ns)
        if not order.usable:
            reason = f"Image {name} has the stamp of the one before, an older one or one far away."
            yield Outcome(stamp_ns, name, UNUSABLE, reason=reason)
            return
        self._forget |= order is Order.RESTARTED
        if self._waiting is not None:
            old = self._waiting
            yield Outcome(old.stamp_ns, old.name, DROPPED, reason="a newer image came")
        self._waiting = _Waiting(raw, stamp_ns, name)
        yield from self._until(raw.stamp_ns)

    def _shoots(self, now_ns: int) -> bool:
        """Whether a camera of the wanted rate takes an image now."""
        if not self._pace.camera_hz:
            return True
        period = round(1e9 / self._pace.camera_hz)
        due = self._next_shot_ns
        # A tenth of a period of slack, as recorded times jitter.
        if due is not None and now_ns < due - period // 10:
            return False
        self._next_shot_ns = period + (now_ns if due is None else max(due, now_ns - period))
        return True

    def _until(self, now_ns: int) -> Iterator[Outcome]:
        """Let the model take the waiting image, if it is free by now."""
        waiting = self._waiting
        if waiting is None or self._free_ns > now_ns:
            return
        start_ns = max(self._free_ns, waiting.raw.stamp_ns)
        self._waiting = None
        self._free_ns = start_ns + round(1e9 * self._pace.inference_s)
        yield self._localize(waiting)

    def _localize(self, waiting: _Waiting) -> Outcome:
        if self._forget:
            self._forget = False
            self._localizer.reset()
        stamp_ns, name = waiting.stamp_ns, waiting.name
        try:
            message, least = deserialized(waiting.raw), self._localizer.image_size
            image = decoded(message, self._type, self._decoder, stamp_ns, least)
            travelled = self._travelled.at(stamp_ns)
            frame = Frame(image, stamp_ns, name, travelled=travelled, camera=self._camera)
            match = self._localizer.localize(frame).match
        except (UndecodableError, SaaneError) as error:
            return Outcome(stamp_ns, name, UNUSABLE, reason=str(error))
        return Outcome(stamp_ns, name, match.state.value, match)
