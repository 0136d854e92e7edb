"""What a bag holds before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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


@lru_cache(maxsize=1)
def message_types() -> Typestore:
    """The standard messages, the same in every ROS 2 from Humble on."""
    return get_typestore(Stores.ROS2_HUMBLE)
