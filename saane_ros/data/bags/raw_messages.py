"""What a bag holds before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

STATIC_TRANSFORMS = "/tf_static"
"""Latched everywhere, whatever a recorder noted of it."""
CDR, ROS_1 = "cdr", "ros1"
"""Encodings of messages that can be read; those of ROS 1 are converted."""
SEVERAL_TYPES = "several types"


@dataclass(frozen=True)
class TopicInfo:
    """One topic of a bag: its ROS type ("sensor_msgs/msg/Image") and its number of messages.

    latched: whether who subscribes late is told what was said before, as its publisher offered it.
    encoding: "cdr" or "ros1", else its messages cannot be read ("protobuf", "json").
    """

    type: str
    count: int
    latched: bool = False
    encoding: str = CDR

    @property
    def readable(self) -> bool:
        """Whether its messages are of ROS."""
        return self.encoding in (CDR, ROS_1)

    @property
    def described(self) -> str:
        """The type, with the encoding where that is none of ROS."""
        return self.type if self.readable else f"{self.type} as {self.encoding or 'unknown bytes'}"


@dataclass(frozen=True)
class RawMessage:
    """One message as recorded: CDR bytes, and the time (ns) at which the recorder received it."""

    topic: str
    type: str
    stamp_ns: int
    data: bytes | memoryview


@lru_cache(maxsize=1)
def message_types() -> Typestore:
    """The standard messages, the same in every ROS 2 from Humble on."""
    return get_typestore(Stores.ROS2_HUMBLE)


def merged_topics(found: Iterable[tuple[str, TopicInfo]]) -> dict[str, TopicInfo]:
    """One entry a topic of those of several channels or files; what can be read tells the type."""
    merged: dict[str, TopicInfo] = {}
    for name, info in found:
        before = merged.get(name, info)
        count = info.count + (merged[name].count if name in merged else 0)
        if before.readable != info.readable:
            told = before if before.readable else info
            type_, count = told.type, told.count
        else:
            told, type_ = before, before.type if before.type == info.type else SEVERAL_TYPES
        merged[name] = TopicInfo(type_, count, before.latched or info.latched, told.encoding)
    return merged
