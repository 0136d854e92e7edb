"""What a bag holds that a map could be made of."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from saane_ros.data.bags.poses import FIX, POSE_TYPES
from saane_ros.data.bags.reader import (
    IMAGE_TYPES,
    BagReader,
    UndecodableError,
    decoded,
    deserialized,
)
from saane_ros.errors import SaaneError


@dataclass(frozen=True)
class SurveyedTopic:
    """text: what its images or poses are, or why they are of no use.  usable: for a map."""

    name: str
    type: str
    count: int
    text: str
    usable: bool


@dataclass(frozen=True)
class BagSurvey:
    """others: topics of neither kind, name to type and count.  seconds: from first to last."""

    images: list[SurveyedTopic]
    poses: list[SurveyedTopic]
    others: dict[str, tuple[str, int]]
    seconds: float


def survey_bag(bag: BagReader) -> BagSurvey:
    """Decodes one image a topic and all poses."""
    topics = sorted(bag.topics().items())
    known = (*IMAGE_TYPES, *POSE_TYPES)
    span = bag.span_ns()
    return BagSurvey(
        [_image_topic(bag, name) for name, info in topics if info.type in IMAGE_TYPES],
        [_pose_topic(bag, name) for name, info in topics if info.type in POSE_TYPES],
        {name: (info.type, info.count) for name, info in topics if info.type not in known},
        0.0 if span is None else (span[1] - span[0]) / 1e9,
    )


def map_commands(bag: BagReader, survey: BagSurvey) -> Iterator[str]:
    """For every usable image topic the command that makes a map, with the best usable poses."""
    poses = [topic for topic in survey.poses if topic.usable]
    # Odometry and poses tell the heading; of fixes it is guessed from the way.
    poses.sort(key=lambda topic: (topic.type == FIX, -topic.count))
    pose = f" --pose-topic {poses[0].name} --every-metres 1" if poses else ""
    for image in survey.images:
        if image.usable:
            path, out = shlex.quote(str(bag.path)), f"{bag.path.name.split('.')[0]}.routemap"
            yield (
                f"saane map build --bag {path} --image-topic {image.name}{pose} "
                f"--out {shlex.quote(out)}"
            )


def _image_topic(bag: BagReader, name: str) -> SurveyedTopic:
    info = bag.topics()[name]
    text, usable = "no message", False
    for raw in bag.messages([name]) if info.count else ():
        try:
            message = deserialized(raw)
            height, width = decoded(message, info.type).shape[:2]
            kind = getattr(message, "encoding", "") or message.format
            text, usable = f"{width}x{height}, {kind}", True
        except UndecodableError as error:
            text = str(error)
        break
    return SurveyedTopic(name, info.type, info.count, text, usable)


def _pose_topic(bag: BagReader, name: str) -> SurveyedTopic:
    info = bag.topics()[name]
    try:
        track = bag.pose_track(name)
        for image, image_info in sorted(bag.topics().items()):
            if image_info.type in IMAGE_TYPES and (apart := bag.clocks_apart(image, track)):
                return SurveyedTopic(name, info.type, info.count, apart, False)
    except SaaneError as error:
        return SurveyedTopic(name, info.type, info.count, str(error), False)
    seconds = (track.stamps_ns[-1] - track.stamps_ns[0]) / 1e9
    text = f"{track.travelled[-1]:.1f} m in {seconds:.1f} s"
    gaps = int((np.diff(track.stamps_ns) > track.longest_gap_ns).sum())
    if gaps:
        text += f", {gaps} gaps"
    if len(track.stamps_ns) < info.count:
        text += f", {info.count - len(track.stamps_ns)} messages of no use"
    if bag.origin is not None:
        text += f", zero at {bag.origin[0]:.6f} {bag.origin[1]:.6f}"
    return SurveyedTopic(name, info.type, info.count, text, True)
