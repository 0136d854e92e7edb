"""Frames with poses from a bag."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from saane_ros.data.bags.poses import FIX, POSE_TYPES, UsablePoses
from saane_ros.data.bags.raw_messages import RawMessage, TopicInfo, message_types
from saane_ros.data.bags.storage import open_storage
from saane_ros.data.poses.plausibility import LONGEST_PAUSE_NS, Faults, StampSifter, moment
from saane_ros.data.poses.track import PoseTrack
from saane_ros.data.selection import Selector
from saane_ros.errors import SaaneError
from saane_ros.geodesy import PLANE, LatLonAlt
from saane_ros.messages.image import ImageDecoder
from saane_ros.types import Frame, Pose, Rgb

COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
ORIGIN_NAME = "origin"
"""Last part of the name of a NavSatFix topic that tells where the zero of poses lies."""
_CLOCK_SAMPLE = 5
IMAGE_TYPES = ("sensor_msgs/msg/Image", COMPRESSED_IMAGE)


@dataclass
class BagReport:
    """What one reading of frames met beside good frames.

    undecodable: name and reason of each image that is left out.
    without_pose: frames before, after or in a gap of the pose track.
    ignored_poses: poses that are NaN, without fix, or unreadable.  why_ignored: how many of which
    kind, beside the unreadable.  poses: what else is wrong with
    poses, such as those that no vehicle gets to.
    stamps: name and reason of each image left out for its stamp.  restarts: how often the images'
    clock was set back.
    """

    undecodable: list[str] = field(default_factory=list)
    without_pose: int = 0
    ignored_poses: int = 0
    why_ignored: dict[str, int] = field(default_factory=dict)
    poses: Faults = field(default_factory=Faults)
    stamps: list[str] = field(default_factory=list)
    restarts: int = 0

    def sentences(self) -> list[str]:
        """For a person to read; empty where all was well."""
        told = []
        if self.undecodable:
            told.append(
                f"Images left out: {len(self.undecodable)}, the first is {self.undecodable[0]}"
            )
        if self.stamps:
            told.append(
                f"Images left out for their stamps: {len(self.stamps)}, the first is "
                f"{self.stamps[0]}."
            )
        if self.restarts:
            told.append(
                f"The images' clock was set back, and they go on by the new time: {self.restarts}."
            )
        if self.without_pose:
            told.append(f"Frames without a pose at their time: {self.without_pose}.")
        if self.ignored_poses:
            why = "".join(f", {count} {kind}" for kind, count in self.why_ignored.items())
            told.append(f"Poses ignored (NaN, no fix, unreadable): {self.ignored_poses}{why}.")
        if self.poses.counts:
            told.append(f"Poses doubted: {self.poses}.")
        return told


class BagReader:
    """A rosbag2 bag (a folder or one file of it) or a ROS 1 bag file; a context manager.

    origin: after `frames` with a pose topic, latitude, longitude and altitude of the poses' zero
    where that is known: of NavSatFix it is the first fix, of other poses what a NavSatFix topic
    "origin" beside theirs tells.  grid: how the poses' frame lies there, "enu" or the frame_id of
    that topic, such as "utm_30N".  report: of the latest reading of frames.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.origin: LatLonAlt | None = None
        self.grid = PLANE
        self.report = BagReport()
        self._stamps: list[int] = []  # of the first and the latest image read
        self._storage = open_storage(self.path)
        self._topics = self._storage.topics()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the bag's files."""
        self._storage.close()

    @property
    def notes(self) -> list[str]:
        """What could not be read of the files themselves; complete once all was read."""
        return list(self._storage.notes)

    def topics(self) -> dict[str, TopicInfo]:
        """Topic name to type and number of messages."""
        return dict(self._topics)

    def span_ns(self) -> tuple[int, int] | None:
        """Times (ns) of the first and the last message; None where there is none."""
        return self._storage.span_ns()

    def messages(self, topics: Collection[str] = ()) -> Iterator[RawMessage]:
        """Undecoded messages of these topics (none: of all), in the order of recording."""
        for topic in topics:
            self.type_of(topic)
        return self._storage.messages(topics or self._topics)

    def frames(
        self,
        image_topic: str,
        pose_topic: str | None = None,
        every_metres: float | None = None,
        every_seconds: float | None = None,
    ) -> Iterator[Frame]:
        """Frames of an Image or CompressedImage topic, in the order of recording.

        Each carries the pose and the distance travelled at its header's stamp (the time of
        recording where that is 0), interpolated between the messages of `pose_topic`. Frames every
        so many metres are only those with a pose. Images that cannot be decoded are left out; see
        `report`.

        Raises SaaneError for a topic that the bag lacks, a wrong type, and a topic without any
        message or usable pose; and where no image at all has a pose at its time: at once where
        the clocks are far apart, else at the end.
        """
        self.report, self._stamps = BagReport(), []
        self.origin, self.grid = None, PLANE
        type_ = self.image_type(image_topic)
        selector = Selector(every_metres, every_seconds)
        track = self.pose_track(pose_topic) if pose_topic else None
        only_posed = track is not None and every_metres is not None
        frames = self._frames(image_topic, type_, track, selector, only_posed)
        if track is None or not pose_topic:
            return frames
        self.check_clocks(image_topic, pose_topic, track)
        return self._some_posed(frames, image_topic, pose_topic, track)

    def _some_posed(
        self, frames: Iterator[Frame], topic: str, pose_topic: str, track: PoseTrack
    ) -> Iterator[Frame]:
        posed = False
        for frame in frames:
            posed |= frame.pose is not None
            yield frame
        if not posed and self._stamps:
            raise SaaneError(f"{no_meeting(topic, between(self._stamps), pose_topic, track)}.")

    def _frames(
        self,
        topic: str,
        type_: str,
        track: PoseTrack | None,
        selector: Selector,
        only_posed: bool,
    ) -> Iterator[Frame]:
        decoder = ImageDecoder()
        for name, stamp_ns, message in self._in_time(topic):
            self._stamps = [*self._stamps[:1], stamp_ns]
            try:
                pose, travelled = self._pose_at(track, stamp_ns)
                if only_posed and pose is None:
                    continue
                if not selector.keep(stamp_ns, travelled):
                    continue
                image = decoded(message, type_, decoder, stamp_ns)
            except UndecodableError as error:
                self.report.undecodable.append(f"{name}: {error}")
                continue
            yield Frame(image, stamp_ns, name, pose, travelled)

    def _in_time(self, topic: str) -> Iterator[tuple[str, int, Any]]:
        """Name, stamp (ns) and message of every image whose stamp can be believed."""
        sifter: StampSifter[tuple[str, int, Any]] = StampSifter()
        for number, raw in enumerate(self._storage.messages([topic])):
            name = f"{topic}#{number}"
            try:
                message = deserialized(raw)
            except UndecodableError as error:
                self.report.undecodable.append(f"{name}: {error}")
                continue
            stamp_ns = stamp_of(message, raw)
            sifted = sifter.take(stamp_ns, (name, stamp_ns, message))
            self.report.stamps += [f"{item[0]}: {why}" for item, why in sifted.left_out]
            yield from sifted.kept
        self.report.restarts = sifter.restarts
        sifted = sifter.settle()
        self.report.stamps += [f"{item[0]}: {why}" for item, why in sifted.left_out]
        yield from sifted.kept

    def check_clocks(self, image_topic: str, pose_topic: str, track: PoseTrack) -> None:
        """Raises SaaneError where the first images lie farther from all poses than the bag lasts.

        So far apart are different clocks alone, and nobody need wait for the last image to know.
        """
        stamps = []
        for raw in islice(self._storage.messages([image_topic]), _CLOCK_SAMPLE):
            with suppress(UndecodableError):
                stamps.append(stamp_of(deserialized(raw), raw))
        if not stamps:
            return
        image, (first, last) = int(median(stamps)), track.stamps_ns[[0, -1]].tolist()
        begin, end = self.span_ns() or (0, 0)
        if max(first - image, image - last) > end - begin + LONGEST_PAUSE_NS:
            images = f"about {moment(image)}"
            raise SaaneError(f"{no_meeting(image_topic, images, pose_topic, track)}.")

    def _pose_at(self, track: PoseTrack | None, stamp_ns: int) -> tuple[Pose | None, float | None]:
        if track is None:
            return None, None
        found = track.at(stamp_ns)
        if found is None:
            self.report.without_pose += 1
            return None, None
        return found

    def pose_track(self, topic: str, origin: LatLonAlt | None = None) -> PoseTrack:
        """The poses of a topic; those of NavSatFix in metres from `origin`, else from the first.

        Raises SaaneError as `frames` does.
        """
        self.origin, self.grid = None, PLANE
        type_ = self.type_of(topic, POSE_TYPES, "poses")
        poses = UsablePoses(type_, self._stamped(topic), origin)
        self.report.ignored_poses += poses.unusable.counts.total()
        self.report.why_ignored = dict(poses.unusable.counts)
        self.report.poses = poses.track.faults
        if not len(poses.track.stamps_ns):
            raise SaaneError(
                f"Topic {topic} of {self.path} holds no usable pose (all are NaN or without fix"
                f"{_named(poses.unusable)}): name another pose topic, or none."
            )
        if type_ == FIX:
            self.origin = poses.origin
        else:
            self._read_origin(f"{topic.rsplit('/', 1)[0]}/{ORIGIN_NAME}")
        return poses.track

    def _read_origin(self, topic: str) -> None:
        if (info := self._topics.get(topic)) is None or info.type != FIX or not info.count:
            return
        try:
            message = deserialized(next(self._storage.messages([topic])))
        except (UndecodableError, StopIteration):
            return
        self.origin = (message.latitude, message.longitude, message.altitude)
        if message.header.frame_id.startswith("utm_"):
            self.grid = message.header.frame_id

    def _stamped(self, topic: str) -> Iterator[tuple[int, Any]]:
        for raw in self._storage.messages([topic]):
            try:
                message = deserialized(raw)
            except UndecodableError:
                self.report.ignored_poses += 1
                continue
            yield stamp_of(message, raw), message

    def image_type(self, topic: str) -> str:
        """Image or CompressedImage; SaaneError where the topic is neither, empty or absent."""
        return self.type_of(topic, IMAGE_TYPES, "images")

    def type_of(self, topic: str, types: tuple[str, ...] = (), what: str = "") -> str:
        """The type of a topic; SaaneError where it is absent, empty or of none of `types`.

        what: how the sentence calls what those types hold, such as "images".
        """
        info = self._topics.get(topic)
        listed = ", ".join(
            f"{name} ({info.described})" for name, info in sorted(self._topics.items())
        )
        if info is None:
            raise SaaneError(
                f"Topic {topic} is not in {self.path}: its topics are {listed or 'none'}."
            )
        if types and (info.type not in types or not info.readable):
            raise SaaneError(
                f"Topic {topic} of {self.path} is {info.described}, which holds no {what}: "
                f"choose one of its topics {listed} that is {' or '.join(types)}."
            )
        if not info.count:
            raise SaaneError(
                f"Topic {topic} of {self.path} holds no message: choose one of its topics {listed}."
            )
        return info.type


def _named(faults: Faults) -> str:
    return f": {faults}" if faults.counts else ""


class UndecodableError(Exception):
    """One message cannot be used; the reason is told in the report."""


def deserialized(raw: RawMessage) -> Any:
    """The message of these bytes, with the fields of its ROS type."""
    try:
        return message_types().deserialize_cdr(raw.data, raw.type)
    except Exception as error:  # a damaged message makes the generated code raise anything
        raise UndecodableError(f"its bytes are no {raw.type} ({error})") from error


def decoded(
    message: Any,
    type_: str,
    decoder: ImageDecoder | None = None,
    stamp_ns: int = 0,
    least: tuple[int, int] | None = None,
) -> Rgb:
    """The pixels of an Image or CompressedImage. decoder, least: of the drive it is part of."""
    try:
        return (decoder or ImageDecoder()).rgb(message, type_ == COMPRESSED_IMAGE, stamp_ns, least)
    except SaaneError as error:
        raise UndecodableError(str(error)) from error


def stamp_of(message: Any, raw: RawMessage) -> int:
    """The header's stamp in ns; the time of recording where the publisher left it 0."""
    stamp = message.header.stamp
    return (stamp.sec * 10**9 + stamp.nanosec) or raw.stamp_ns


def no_meeting(topic: str, images: str, pose_topic: str, track: PoseTrack) -> str:
    """Says that no image has a pose at its time, with both times, as a sentence without its end.

    images: when they are of, such as `between` tells.
    """
    return (
        f"No image of {topic} has a pose of {pose_topic} at its time: the images are of {images}, "
        f"the poses of {between(track.stamps_ns.tolist())} (UTC by their stamps); name another "
        "pose topic, or set both clocks alike"
    )


def between(stamps_ns: list[int]) -> str:
    """The moments of the first and the last stamp."""
    return f"{moment(stamps_ns[0])} to {moment(stamps_ns[-1])}"
