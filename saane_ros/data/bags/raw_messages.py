"""What a bag holds before anything is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from rosbags import interfaces
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

STATIC_TRANSFORMS = "/tf_static"
"""Latched everywhere, whatever a recorder noted of it."""


@dataclass(frozen=True)
class TopicInfo:
    """One topic of a bag: its ROS type ("sensor_msgs/msg/Image") and its number of messages.

    latched: whether who subscribes late is told what was said before, as its publisher offered it.
    """

    type: str
    count: int
    latched: bool = False


@dataclass(frozen=True)
class RawMessage:
    """One message as recorded: CDR bytes, and the time (ns) at which the recorder received it."""

    topic: str
    type: str
    stamp_ns: int
    data: bytes | memoryview


class OpenReader(Protocol):
    """What the readers of both kinds of bag have in common."""

    @property
    def topics(self) -> Mapping[str, interfaces.TopicInfo]: ...


@lru_cache(maxsize=1)
def message_types() -> Typestore:
    """The standard messages, the same in every ROS 2 from Humble on."""
    return get_typestore(Stores.ROS2_HUMBLE)


def topics_of(reader: OpenReader) -> dict[str, TopicInfo]:
    """The topics of a bag that the library opened, by name."""
    return {
        name: TopicInfo(
            info.msgtype or "several types",
            info.msgcount,
            any(_is_latched(connection) for connection in info.connections),
        )
        for name, info in reader.topics.items()
    }


def _is_latched(connection: interfaces.Connection) -> bool:
    """Whether the recorded publisher kept what it said for who came later."""
    ext = connection.ext
    if isinstance(ext, interfaces.ConnectionExtRosbag1):
        return bool(ext.latching)
    local = interfaces.QosDurability.TRANSIENT_LOCAL
    return any(profile.durability == local for profile in ext.offered_qos_profiles)
