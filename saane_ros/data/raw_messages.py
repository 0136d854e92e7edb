"""What a bag holds before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TopicInfo:
    """One topic of a bag: its ROS type ("sensor_msgs/msg/Image") and its number of messages."""

    type: str
    count: int


@dataclass(frozen=True)
class RawMessage:
    """One message as recorded: CDR bytes, and the time (ns) at which the recorder received it."""

    topic: str
    type: str
    stamp_ns: int
    data: bytes | memoryview
