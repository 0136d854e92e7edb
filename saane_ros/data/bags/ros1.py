"""ROS 1 bag files (wiki.ros.org/Bags/Format/2.0), whole or without their end, read as ROS 2."""

from __future__ import annotations

import struct
from bz2 import decompress as bz2_decompress
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from lz4.frame import decompress as lz4_decompress
from rosbags.rosbag1 import Reader
from rosbags.typesys.msg import normalize_msgtype

from saane_ros.data.bags.cut import survey
from saane_ros.data.bags.raw_messages import RawMessage, TopicInfo, message_types, topics_of

_MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _CHUNK, _CONNECTION = 2, 5, 7
_DECOMPRESSORS = {b"none": bytes, b"bz2": bz2_decompress, b"lz4": lz4_decompress}


class Ros1Bag:
    """A ROS 1 bag with its index."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = Reader(path)
        self._reader.open()
        self._convert = _Converter(path)

    @property
    def notes(self) -> list[str]:
        return self._convert.notes

    def topics(self) -> dict[str, TopicInfo]:
        return topics_of(self._reader)

    def span_ns(self) -> tuple[int, int] | None:
        if not self._reader.message_count:
            return None
        return self._reader.start_time, self._reader.end_time - 1

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        connections = [c for c in self._reader.connections if c.topic in topics]
        if not connections:
            return
        try:
            for connection, stamp_ns, data in self._reader.messages(connections):
                yield from self._convert(connection.topic, connection.msgtype, stamp_ns, data)
        except Exception as error:  # bz2 and lz4 each raise their own
            self._convert.note(f"{self._path} is damaged ({error}): the rest of it is left out.")

    def close(self) -> None:
        self._reader.close()


class CutRos1Bag:
    """A ROS 1 bag without its index, as an interrupted recording leaves it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._convert = _Converter(path)
        self._connections: dict[int, tuple[str, str]] = {}
        counts, self._span = survey(self._scan())
        self._topics: dict[str, TopicInfo] = {}
        for connection, (topic, type_) in self._connections.items():
            before = self._topics[topic].count if topic in self._topics else 0
            self._topics[topic] = TopicInfo(type_, before + counts[connection])

    @property
    def notes(self) -> list[str]:
        return self._convert.notes

    def topics(self) -> dict[str, TopicInfo]:
        return dict(self._topics)

    def span_ns(self) -> tuple[int, int] | None:
        return self._span

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        for connection, stamp_ns, data in self._scan():
            topic, type_ = self._connections[connection]
            if topic in topics:
                yield from self._convert(topic, type_, stamp_ns, data)

    def close(self) -> None:
        """Nothing stays open between two readings."""

    def _scan(self) -> Iterator[tuple[int, int, bytes]]:
        """Connection, time (ns) and data of every message in a whole chunk."""
        with self._path.open("rb") as stream:
            if stream.readline() != _MAGIC:
                self._note("it does not begin as a ROS 1 bag of version 2.0")
                return
            size = self._path.stat().st_size
            while (at := stream.tell()) < size:
                record = _read_record(stream.read, size - at)
                if record is None:
                    self._note(f"its last {size - at} bytes are part of a record")
                    return
                fields, data = record
                if fields.get(b"op") == bytes([_CHUNK]):
                    yield from self._chunk(fields, data, at)

    def _chunk(
        self, fields: dict[bytes, bytes], data: bytes, at: int
    ) -> Iterator[tuple[int, int, bytes]]:
        try:
            content = _DECOMPRESSORS[fields[b"compression"]](data)
            found = [message for record in _records(content) for message in self._take(*record)]
        except Exception as error:  # bz2 and lz4 each raise their own
            self._note(f"the chunk at byte {at} is damaged ({error})")
            return
        yield from sorted(found, key=lambda message: message[1])

    def _take(self, fields: dict[bytes, bytes], data: bytes) -> Iterator[tuple[int, int, bytes]]:
        kind = fields[b"op"][0]
        if kind == _CONNECTION:
            (connection,) = struct.unpack("<I", fields[b"conn"])
            type_ = _fields(data)[b"type"].decode()
            self._connections[connection] = (fields[b"topic"].decode(), normalize_msgtype(type_))
        elif kind == _MESSAGE:
            (connection,) = struct.unpack("<I", fields[b"conn"])
            seconds, nanoseconds = struct.unpack("<II", fields[b"time"])
            if connection in self._connections:
                yield connection, seconds * 10**9 + nanoseconds, data

    def _note(self, what: str) -> None:
        self._convert.note(f"{self._path} was cut or damaged: {what}, which is left out.")


class _Converter:
    """ROS 1 bytes to CDR; types that no standard package has are told and left out."""

    def __init__(self, path: Path) -> None:
        self.notes: list[str] = []
        self._path = path

    def __call__(
        self, topic: str, type_: str, stamp_ns: int, data: bytes | memoryview
    ) -> Iterator[RawMessage]:
        if type_ not in message_types().fielddefs:
            self.note(f"Topic {topic} of {self._path} is left out: {type_} is no standard type.")
            return
        try:
            converted = message_types().ros1_to_cdr(data, type_)
        except Exception as error:  # a damaged message makes the generated code raise anything
            self.note(f"Topic {topic} of {self._path} has messages that are no {type_} ({error}).")
            return
        yield RawMessage(topic, type_, stamp_ns, converted)

    def note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _records(content: bytes) -> Iterator[tuple[dict[bytes, bytes], bytes]]:
    at = 0

    def read(count: int) -> bytes:
        nonlocal at
        at += count
        return content[at - count : at]

    while at < len(content):
        record = _read_record(read, len(content) - at)
        if record is None:
            raise ValueError("a record is longer than its chunk")
        yield record


def _read_record(
    read: Callable[[int], bytes], left: int
) -> tuple[dict[bytes, bytes], bytes] | None:
    """Header fields and data of the next record; None where fewer than its bytes are left."""
    parts = []
    for _ in range(2):
        if left < 4:
            return None
        (length,) = struct.unpack("<I", read(4))
        left -= 4 + length
        if left < 0:
            return None
        parts.append(read(length))
    return _fields(parts[0]), parts[1]


def _fields(header: bytes) -> dict[bytes, bytes]:
    found, at = {}, 0
    while at + 4 <= len(header):
        (length,) = struct.unpack_from("<I", header, at)
        name, _, value = header[at + 4 : at + 4 + length].partition(b"=")
        found[name] = value
        at += 4 + length
    return found
