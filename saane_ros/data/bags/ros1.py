"""ROS 1 bag files (wiki.ros.org/Bags/Format/2.0), with their index or without."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator

from saane_ros.data.bags.cdr import Channel
from saane_ros.data.bags.chunked import RUN, Chunk, ChunkedFile, Message
from saane_ros.data.bags.raw_messages import ROS_1
from saane_ros.data.bags.unpacking import unpacked
from saane_ros.errors import SaaneError

MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _FILE_HEADER, _CHUNK, _CHUNK_INFO, _CONNECTION = 2, 3, 5, 6, 7
_BILLION = 10**9

Fields = dict[bytes, bytes]


class Ros1File(ChunkedFile):
    """A ROS 1 bag; what an interrupted recording leaves (.active) has no index."""

    def _has_index(self) -> bool:
        try:
            return self._read_index()
        except (ValueError, KeyError, IndexError, struct.error):
            return False

    def _read_index(self) -> bool:
        fields, _, _ = self._record(len(MAGIC))
        if fields.get(b"encryptor"):
            raise SaaneError(
                f"{self._path} is encrypted ({_name(fields[b'encryptor'])}): decrypt it with "
                "`rosbag decrypt` first."
            )
        (at,) = struct.unpack("<Q", fields[b"index_pos"])
        claimed = struct.unpack("<II", fields[b"conn_count"] + fields[b"chunk_count"])
        if not at:
            return False
        while at < self._size:
            fields, body_at, end = self._record(at)
            body = self._read(body_at, end)
            if _kind(fields) == _CHUNK_INFO:
                counts = dict(struct.iter_unpack("<II", body))
                start, stop = (_time(fields[name]) for name in (b"start_time", b"end_time"))
                (place,) = struct.unpack("<Q", fields[b"chunk_pos"])
                if counts:
                    self._chunks.append(Chunk(place, start, stop, frozenset(counts)))
                self._counts.update(Counter(counts))
                claimed = claimed[0], claimed[1] - 1
            elif _kind(fields) == _CONNECTION:
                self._learn(fields, body)
            at = end
        return claimed == (len(self._channels), 0) and self._counts.keys() <= self._channels.keys()

    def _first_piece(self) -> int:
        return len(MAGIC)

    def _piece(self, at: int) -> tuple[list[Message], int | None]:
        found: list[Message] = []
        begin = at
        while at < self._size:
            if at - begin >= RUN:
                return found, at
            try:
                fields, body_at, end = self._record(at)
                kind = _kind(fields)
                if kind == _CHUNK and at > begin:
                    return found, at
                if kind == _CHUNK:
                    return self._unpacked(fields, body_at, end, at), end
                if kind in (_MESSAGE, _CONNECTION):
                    # The chunk that was being written is not marked as one yet.
                    found += self._take(fields, self._read(body_at, end))
            except (ValueError, KeyError, IndexError, struct.error):
                self._closed = False
                self._note(f"its last {self._size - at} bytes are part of a record, or none")
                return found, None
            if kind == _FILE_HEADER:
                self._closed = any(fields.get(b"index_pos", b""))
            at = end
        return found, None

    def _unpacked(self, fields: Fields, body_at: int, end: int, at: int) -> list[Message]:
        try:
            (size,) = struct.unpack("<I", fields[b"size"])
            content = unpacked(_name(fields[b"compression"]), self._read(body_at, end), size)
        except Exception as error:  # bz2 and lz4 each raise their own
            self._note(f"the chunk at byte {at} is damaged ({error})")
            return []
        found: list[Message] = []
        try:
            for header, data in _records(content):
                found += self._take(header, data)
        except (ValueError, KeyError, IndexError, struct.error) as error:
            self._note(f"the chunk at byte {at} is damaged in part ({error})")
        return found

    def _take(self, fields: Fields, data: bytes) -> Iterator[Message]:
        if _kind(fields) == _CONNECTION:
            self._learn(fields, data)
        elif _kind(fields) == _MESSAGE:
            (number,) = struct.unpack("<I", fields[b"conn"])
            yield number, _time(fields[b"time"]), data

    def _learn(self, fields: Fields, data: bytes) -> None:
        (number,) = struct.unpack("<I", fields[b"conn"])
        told = _fields(data)
        topic = fields[b"topic"].decode(errors="replace")
        parts = [part for part in topic.split("/") if part]
        topic = "/" * topic.startswith("/") + "/".join(parts)
        latched = told.get(b"latching") == b"1"
        channel = Channel.of(topic, _name(told[b"type"]), ROS_1, latched)
        self._channels.setdefault(number, channel)

    def _record(self, at: int) -> tuple[Fields, int, int]:
        """Header of the record at a place, and where its data begin and end; ValueError: none."""
        (length,) = struct.unpack("<I", self._read(at, at + 4))
        header = self._read(at + 4, at + 8 + length)
        (size,) = struct.unpack_from("<I", header, length)
        body_at = at + 8 + length
        if body_at + size > self._size:
            raise ValueError("it reaches beyond the file")
        return _fields(header[:length]), body_at, body_at + size


def _records(content: bytes) -> Iterator[tuple[Fields, bytes]]:
    """Header and data of records that follow each other; ValueError where one is not whole."""
    at = 0
    while at < len(content):
        parts = []
        for _ in range(2):
            (length,) = struct.unpack_from("<I", content, at)
            if at + 4 + length > len(content):
                raise ValueError("a record is longer than its chunk")
            parts.append(content[at + 4 : at + 4 + length])
            at += 4 + length
        yield _fields(parts[0]), parts[1]


def _fields(header: bytes) -> Fields:
    found, at = {}, 0
    while at + 4 <= len(header):
        (length,) = struct.unpack_from("<I", header, at)
        name, _, value = header[at + 4 : at + 4 + length].partition(b"=")
        found[name] = value
        at += 4 + length
    return found


def _kind(fields: Fields) -> int:
    return fields[b"op"][0]


def _name(value: bytes) -> str:
    return value.decode(errors="replace")


def _time(value: bytes) -> int:
    seconds, nanoseconds = struct.unpack("<II", value)
    return seconds * _BILLION + nanoseconds
