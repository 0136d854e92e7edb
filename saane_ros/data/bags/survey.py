"""What a bag holds that a map could be made of."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from saane_ros.data.bags.poses import FIX, POSE_TYPES
from saane_ros.data.bags.raw_messages import RawMessage
from saane_ros.data.bags.reader import (
    IMAGE_TYPES,
    BagReader,
    UndecodableError,
    between,
    decoded,
    deserialized,
    no_meeting,
    stamp_of,
)
from saane_ros.data.frame_check import image_fault
from saane_ros.data.poses.track import PoseTrack
from saane_ros.errors import SaaneError

SAMPLES = 20
"""Images of a topic that are looked at, evenly over the bag."""
_LEAST_WAY_M = 2.0
_BAG_SUFFIXES = re.compile(r"(\.(mcap|db3|bag|active|zstd|zst))+$")


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
    """others: topics of neither kind, name to type and count.  seconds: from first to last.

    commands: for every usable image topic the one that makes a map.  doubts: sentences on them.
    """

    images: list[SurveyedTopic]
    poses: list[SurveyedTopic]
    others: dict[str, tuple[str, int]]
    seconds: float
    commands: list[str]
    doubts: list[str]


def survey_bag(bag: BagReader) -> BagSurvey:
    """Decodes images from all over the bag and all poses."""
    topics = {name: info for name, info in sorted(bag.topics().items()) if info.readable}
    tracks: dict[str, PoseTrack] = {}
    poses = [_pose_topic(bag, n, tracks) for n, i in topics.items() if i.type in POSE_TYPES]
    samples = _samples(bag, [name for name, info in topics.items() if info.type in IMAGE_TYPES])
    images = [
        SurveyedTopic(name, topics[name].type, topics[name].count, sample.text, bool(sample.stamps))
        for name, sample in samples.items()
    ]
    known = {topic.name for topic in (*images, *poses)}
    span = bag.span_ns()
    doubts: list[str] = []
    usable = {name: sample.stamps for name, sample in samples.items() if sample.stamps}
    commands = [
        _map_command(bag, name, _best_poses(name, stamps, poses, tracks, doubts), len(usable) > 1)
        for name, stamps in usable.items()
    ]
    return BagSurvey(
        images,
        poses,
        {n: (i.described, i.count) for n, i in sorted(bag.topics().items()) if n not in known},
        0.0 if span is None else (span[1] - span[0]) / 1e9,
        commands,
        doubts,
    )


@dataclass
class _Sample:
    """Images that were looked at.  stamps: of the good ones, in ns."""

    kinds: Counter[str] = field(default_factory=Counter)
    stamps: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def look_at(self, raw: RawMessage) -> None:
        try:
            message = deserialized(raw)
            image = decoded(message, raw.type)
            stamp_ns = stamp_of(message, raw)
        except UndecodableError as error:
            self.faults.append(str(error).rstrip("."))
            return
        if fault := image_fault(image):
            self.faults.append(fault)
            return
        kind = getattr(message, "encoding", "") or message.format
        self.kinds[f"{image.shape[1]}x{image.shape[0]}, {kind}"] += 1
        self.stamps.append(stamp_ns)

    @property
    def text(self) -> str:
        seen = len(self.stamps) + len(self.faults)
        if not seen:
            return "no message that can be read"
        if not self.stamps:
            return f"none of {seen} images looked at can be used: {self.faults[0]}."
        text = "; ".join(kind for kind, _ in self.kinds.most_common(3))
        if self.faults:
            text += (
                f"; {len(self.faults)} of {seen} images looked at cannot be used: {self.faults[0]}."
            )
        return text


def _samples(bag: BagReader, names: Sequence[str]) -> dict[str, _Sample]:
    """Looks at images of these topics, in one reading of the bag."""
    samples = {name: _Sample() for name in names}
    wanted = {}
    for name in names:
        if count := bag.topics()[name].count:
            places = np.linspace(0, count - 1, min(count, SAMPLES))
            wanted[name] = {round(float(place)) for place in places}
    numbers: Counter[str] = Counter()
    for raw in bag.messages(list(wanted)) if wanted else ():
        if numbers[raw.topic] in wanted[raw.topic]:
            samples[raw.topic].look_at(raw)
        numbers[raw.topic] += 1
    return samples


def _pose_topic(bag: BagReader, name: str, tracks: dict[str, PoseTrack]) -> SurveyedTopic:
    info = bag.topics()[name]
    try:
        tracks[name] = track = bag.pose_track(name)
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


def _best_poses(
    image_topic: str,
    stamps_ns: list[int],
    poses: list[SurveyedTopic],
    tracks: dict[str, PoseTrack],
    doubts: list[str],
) -> str:
    """The options of the topic whose poses the most images have at their times; empty for none."""
    met = {
        topic.name: sum(tracks[topic.name].at(stamp) is not None for stamp in stamps_ns)
        for topic in poses
        if topic.usable
    }
    if not met:
        return ""
    # Odometry and poses tell the heading; of fixes it is guessed from the way.
    ranks = {t.name: (met[t.name], t.type != FIX, t.count) for t in poses if t.name in met}
    best = max(ranks, key=lambda name: ranks[name])
    if not met[best]:
        told = no_meeting(image_topic, between(stamps_ns), best, tracks[best])
        doubts.append(f"{told}. The map below is without poses.")
        return ""
    if met[best] < len(stamps_ns):
        doubts.append(
            f"{met[best]} of {len(stamps_ns)} images of {image_topic} looked at have a pose of "
            f"{best} at their time; the others become no places."
        )
    options = f" --pose-topic {shlex.quote(best)}"
    if tracks[best].travelled[-1] >= _LEAST_WAY_M:
        options += " --every-metres 1"
    return options


def _map_command(bag: BagReader, image_topic: str, poses: str, several: bool) -> str:
    path = str(bag.path)
    if path.startswith("-"):
        path = f"./{path}"
    out = _BAG_SUFFIXES.sub("", bag.path.resolve().name)
    if several:
        out += "-" + "-".join(part for part in image_topic.split("/") if part)
    # A name of its own, also of a folder such as "/" or ".old": no hidden map, no option.
    out = out.lstrip(".-") or "map"
    return (
        f"saane map build --bag {shlex.quote(path)} --image-topic {shlex.quote(image_topic)}"
        f"{poses} --out {shlex.quote(f'{out}.routemap')}"
    )
