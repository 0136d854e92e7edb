"""MCAP files (mcap.dev/spec)."""

from __future__ import annotations

import re
import struct
from binascii import crc32
from collections.abc import Iterator

from saane_ros.data.bags.cdr import Channel
from saane_ros.data.bags.chunked import LAST_NS, RUN, Chunk, ChunkedFile, Message
from saane_ros.data.bags.raw_messages import ROS_1
from saane_ros.data.bags.unpacking import unpacked

MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x02, 0x03, 0x04, 0x05, 0x06
_CHUNK_INDEX, _STATISTICS = 0x08, 0x0B
_TAIL = struct.Struct("<BQQQI8s")  # footer and magic
_LATCHED = re.compile(r"durability:\s*(1|transient_local)\b")
"""In the QoS as rosbag2 writes it: by number, and from version 9 of its metadata on by name."""


def is_latched(offered_qos_profiles: str) -> bool:
    """Whether a recorded publisher kept what it said for who came later."""
    return _LATCHED.search(offered_qos_profiles) is not None


class McapFile(ChunkedFile):
    """An MCAP file, with or without summary and chunks."""

    def _has_index(self) -> bool:
        self._schemas: dict[int, tuple[str, str]] = {}
        try:
            return self._read_summary()
        except (ValueError, struct.error):
            return False

    def _read_summary(self) -> bool:
        tail_at = self._size - _TAIL.size
        tail = self._read(tail_at, self._size)
        kind, length, summary_at, _, crc, magic = _TAIL.unpack(tail)
        if (kind, length, magic) != (_FOOTER, 20, MAGIC) or summary_at < len(MAGIC):
            return False
        summary = self._read(summary_at, tail_at)
        if crc and crc32(summary + tail[:25]) != crc:
            return False
        total, claimed = None, 0
        for kind, body in _records(summary):
            if kind == _CHUNK_INDEX:
                start_ns, end_ns, at, _, mapped = struct.unpack_from("<QQQQI", body)
                if end_ns > LAST_NS:
                    return False
                found = struct.iter_unpack("<HQ", _exactly(body, 36, mapped))
                channels = frozenset(number for number, _ in found)
                self._chunks.append(Chunk(at, start_ns, end_ns, channels or None))
            elif kind == _STATISTICS:
                total, _, _, _, _, claimed, _, _, mapped = struct.unpack_from("<QHIIIIQQI", body)
                self._counts.update(dict(struct.iter_unpack("<HQ", _exactly(body, 46, mapped))))
            else:
                self._learn(kind, body)
        if claimed != len(self._chunks) or self._counts.total() != total:
            return False
        # Messages outside of chunks have no index.
        return self._counts.keys() <= self._channels.keys() and bool(self._chunks or not total)

    def _first_piece(self) -> int:
        return len(MAGIC)

    def _piece(self, at: int) -> tuple[list[Message], int | None]:
        found: list[Message] = []
        begin = at
        while at - begin < RUN:
            if (record := self._head(at)) is None:
                return found, None
            kind, body_at, end = record
            if kind == _CHUNK and at > begin:
                break
            if kind == _FOOTER:
                self._closed = True
                return found, None
            try:
                if kind == _CHUNK:
                    return self._unpacked(self._read(body_at, end), at), end
                if kind in (_SCHEMA, _CHANNEL, _MESSAGE):
                    found += self._take(kind, self._read(body_at, end))
            except Exception as error:  # lz4 and zstd each raise their own
                self._note(f"the record at byte {at} is damaged ({error})")
                if kind == _CHUNK:
                    return found, end
            at = end
        return found, at

    def _head(self, at: int) -> tuple[int, int, int] | None:
        """Kind of the record at a place, and where its body begins and ends; None: none there."""
        try:
            kind, length = struct.unpack("<BQ", self._read(at, at + 9))
            if kind and at + 9 + length <= self._size:
                return kind, at + 9, at + 9 + length
        except (ValueError, struct.error):
            pass  # it is told below
        if at < self._size:
            self._note(f"its last {self._size - at} bytes are part of a record, or none")
        return None

    def _unpacked(self, body: bytes, at: int) -> list[Message]:
        size, crc = struct.unpack_from("<QI", body, 16)
        compression, start = _text(body, 28)
        (length,) = struct.unpack_from("<Q", body, start)
        records = unpacked(compression, _exactly(body, start + 8, length), size)
        if crc and crc32(records) != crc:
            raise ValueError("its checksum is wrong")
        found: list[Message] = []
        try:
            for kind, record in _records(records):
                found += self._take(kind, record)
        except (ValueError, struct.error) as error:
            self._note(f"the chunk at byte {at} is damaged in part ({error})")
        return found

    def _take(self, kind: int, body: bytes) -> Iterator[Message]:
        if kind == _MESSAGE:
            number, _, stamp_ns = struct.unpack_from("<HIQ", body)
            if stamp_ns > LAST_NS:
                self._note("a message has no time")
                return
            yield number, stamp_ns, body[22:]
        else:
            self._learn(kind, body)

    def _learn(self, kind: int, body: bytes) -> None:
        if kind == _SCHEMA:
            (schema,) = struct.unpack_from("<H", body)
            name, at = _text(body, 2)
            self._schemas.setdefault(schema, (name, _text(body, at)[0]))
        elif kind == _CHANNEL:
            number, schema = struct.unpack_from("<HH", body)
            topic, at = _text(body, 4)
            encoding, at = _text(body, at)
            name, language = self._schemas.get(schema, ("", ""))
            if language == "ros1msg":
                encoding = ROS_1
            metadata = body[at:].decode(errors="replace")
            channel = Channel.of(topic, name, encoding, is_latched(metadata))
            self._channels.setdefault(number, channel)


def _records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and body of records that follow each other; ValueError where one is not whole."""
    at = 0
    while at < len(content):
        kind, length = struct.unpack_from("<BQ", content, at)
        yield kind, _exactly(content, at + 9, length)
        at += 9 + length


def _text(body: bytes, at: int) -> tuple[str, int]:
    """A length-prefixed string and the position after it."""
    (length,) = struct.unpack_from("<I", body, at)
    return _exactly(body, at + 4, length).decode(), at + 4 + length


def _exactly(body: bytes, at: int, length: int) -> bytes:
    if at + length > len(body):
        raise ValueError("it claims more bytes than there are")
    return body[at : at + length]
