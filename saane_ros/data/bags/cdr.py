"""Recorded bytes to CDR: messages packed one by one, and messages of ROS 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rosbags.typesys.msg import normalize_msgtype

from saane_ros.data.bags.raw_messages import CDR, ROS_1, RawMessage, TopicInfo, message_types
from saane_ros.data.bags.unpacking import ZSTD_MAGIC, unpacked_message

_LONGEST_NAME = 256


@dataclass(frozen=True)
class Channel:
    """A topic as one publisher filled it; `TopicInfo` tells what the fields are."""

    topic: str
    type: str
    encoding: str = CDR
    latched: bool = False

    @classmethod
    def of(cls, topic: str, type_: str, encoding: str, latched: bool = False) -> Channel:
        """A channel with the type's name as ROS 2 writes it.

        Raises ValueError where a name is longer than any is.
        """
        if max(map(len, (topic, type_, encoding))) > _LONGEST_NAME:
            raise ValueError(f"a name of {len(topic)} and a type of {len(type_)} characters")
        if encoding in (CDR, ROS_1) and type_:
            type_ = normalize_msgtype(type_)
        return cls(topic, type_, encoding, latched)

    def info(self, count: int) -> TopicInfo:
        return TopicInfo(self.type, count, self.latched, self.encoding)


class ToCdr:
    """Turns messages of one file into CDR; what cannot be is left out and told in `notes`."""

    def __init__(self, path: Path) -> None:
        self.notes: list[str] = []
        self._path = path

    def note(self, note: str) -> None:
        """Tell something once."""
        if note not in self.notes:
            self.notes.append(note)

    def __call__(self, channel: Channel, stamp_ns: int, data: bytes) -> Iterator[RawMessage]:
        topic, type_ = f"Topic {channel.topic} of {self._path}", channel.type
        if channel.encoding not in (CDR, ROS_1):
            described = channel.info(0).described
            self.note(f"{topic} is left out: it is {described}, no message of ROS.")
            return
        try:
            # No message in CDR begins so, and neither file nor metadata need tell of it.
            if data[:4] == ZSTD_MAGIC:
                data = unpacked_message(data)
            if channel.encoding == ROS_1:
                if type_ not in message_types().fielddefs:
                    self.note(f"{topic} is left out: {type_} is no standard type.")
                    return
                data = bytes(message_types().ros1_to_cdr(data, type_))
        except Exception as error:  # a damaged message makes the generated code raise anything
            self.note(f"{topic} has messages that are no {type_} ({error}).")
            return
        yield RawMessage(channel.topic, type_, stamp_ns, data)
