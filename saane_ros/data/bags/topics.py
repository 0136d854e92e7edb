"""The topics of a bag that the library opens, of ROS 1 or ROS 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rosbags import interfaces

from saane_ros.data.bags.raw_messages import TopicInfo


class OpenReader(Protocol):
    """What the readers of both kinds of bag have in common."""

    @property
    def topics(self) -> Mapping[str, interfaces.TopicInfo]: ...


def topics_of(reader: OpenReader) -> dict[str, TopicInfo]:
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
