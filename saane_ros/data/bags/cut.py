"""Bag files that end too early, read up to the cut: MCAP (mcap.dev/spec) and sqlite3."""

from __future__ import annotations

import sqlite3
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from rosbags.rosbag2.storage_mcap import DECOMPRESSORS

from saane_ros.data.bags.raw_messages import RawMessage, TopicInfo

_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x03, 0x04, 0x05, 0x06


class CutMcap:
    """An MCAP file without its end. Within a chunk messages come in the order of their times."""

    def __init__(self, path: Path) -> None:
        self.notes: list[str] = []
        self._path = path
        self._types: dict[int, str] = {}
        self._channels: dict[int, tuple[str, str]] = {}
        counts, self._span = survey(self._scan())
        self._topics = {
            name: TopicInfo(type_, counts[channel])
            for channel, (name, type_) in self._channels.items()
        }

    def topics(self) -> dict[str, TopicInfo]:
        return dict(self._topics)

    def span_ns(self) -> tuple[int, int] | None:
        return self._span

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        for channel, stamp_ns, data in self._scan():
            name, type_ = self._channels[channel]
            if name in topics:
                yield RawMessage(name, type_, stamp_ns, data)

    def close(self) -> None:
        """Nothing stays open between two readings."""

    def _scan(self) -> Iterator[tuple[int, int, bytes]]:
        """Channel, time (ns) and data of every message whose record is whole."""
        size = self._path.stat().st_size
        with self._path.open("rb") as stream:
            if stream.read(len(_MAGIC)) != _MAGIC:
                self._note("it does not begin as an MCAP file")
                return
            while (head := stream.read(9)) not in (b"", _MAGIC):
                start = stream.tell()
                length = struct.unpack("<Q", head[1:])[0] if len(head) == 9 else size
                if start + length > size:
                    self._note(f"its last {size - start + len(head)} bytes are part of a record")
                    return
                yield from self._messages_of(head[0], stream.read(length), start)

    def _messages_of(self, kind: int, body: bytes, at: int) -> Iterator[tuple[int, int, bytes]]:
        try:
            records = _records_of_chunk(body) if kind == _CHUNK else [(kind, body)]
            found = [message for record in records for message in self._take(*record)]
        except Exception as error:  # zstd and lz4 each raise their own
            self._note(f"the record at byte {at} is damaged ({error})")
            return
        yield from sorted(found, key=lambda message: message[1])

    def _take(self, kind: int, body: bytes) -> Iterator[tuple[int, int, bytes]]:
        if kind == _SCHEMA:
            (schema,) = struct.unpack_from("<H", body)
            self._types[schema] = _text(body, 2)[0]
        elif kind == _CHANNEL:
            channel, schema = struct.unpack_from("<HH", body)
            self._channels[channel] = (_text(body, 4)[0], self._types.get(schema, ""))
        elif kind == _MESSAGE:
            channel, _, stamp_ns = struct.unpack_from("<HIQ", body)
            if channel in self._channels:
                yield channel, stamp_ns, body[22:]

    def _note(self, what: str) -> None:
        note = f"{self._path} was cut or damaged: {what}, which is left out."
        if note not in self.notes:
            self.notes.append(note)


def survey(
    messages: Iterable[tuple[int, int, bytes]],
) -> tuple[Counter[int], tuple[int, int] | None]:
    """Messages by their topic's number, and the first and the last time (ns)."""
    counts: Counter[int] = Counter()
    first, last = 1 << 63, 0
    for number, stamp_ns, _ in messages:
        counts[number] += 1
        first, last = min(first, stamp_ns), max(last, stamp_ns)
    return counts, (first, last) if counts else None


def _records_of_chunk(body: bytes) -> Iterable[tuple[int, bytes]]:
    (size,) = struct.unpack_from("<Q", body, 16)
    compression, at = _text(body, 28)
    (length,) = struct.unpack_from("<Q", body, at)
    records = DECOMPRESSORS[compression](body[at + 8 : at + 8 + length], size)
    at = 0
    while at < len(records):
        kind, length = struct.unpack_from("<BQ", records, at)
        yield kind, records[at + 9 : at + 9 + length]
        at += 9 + length


def _text(body: bytes, at: int) -> tuple[str, int]:
    """A length-prefixed string and the position after it."""
    (length,) = struct.unpack_from("<I", body, at)
    return body[at + 4 : at + 4 + length].decode(), at + 4 + length


class CutSqlite:
    """A sqlite3 bag file with missing pages: messages in the order of writing."""

    def __init__(self, path: Path) -> None:
        self.notes: list[str] = []
        self._path = path
        self._ids: dict[int, tuple[str, str]] = {}
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        self._database = sqlite3.connect(uri, uri=True, check_same_thread=False)
        try:
            # Or else sqlite refuses a file that is shorter than its header says.
            self._database.execute("PRAGMA writable_schema = ON")
            rows = self._database.execute("SELECT id, name, type FROM topics").fetchall()
            self._ids = {id_: (name, type_) for id_, name, type_ in rows}
        except sqlite3.Error as error:
            self._note(error)
        counts, self._span = survey(self._scan())
        self._topics = {
            name: TopicInfo(type_, counts[id_]) for id_, (name, type_) in self._ids.items()
        }

    def topics(self) -> dict[str, TopicInfo]:
        return dict(self._topics)

    def span_ns(self) -> tuple[int, int] | None:
        return self._span

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        for id_, stamp_ns, data in self._scan():
            name, type_ = self._ids[id_]
            if name in topics:
                yield RawMessage(name, type_, stamp_ns, data)

    def close(self) -> None:
        self._database.close()

    def _scan(self) -> Iterator[tuple[int, int, bytes]]:
        if not self._ids:
            return
        try:
            # NOT INDEXED: the index lies all over the file and sends the reader past the cut.
            rows = self._database.execute(
                "SELECT topic_id, timestamp, data FROM messages NOT INDEXED ORDER BY rowid"
            )
            yield from (row for row in rows if row[0] in self._ids)
        except sqlite3.Error as error:
            self._note(error)

    def _note(self, error: sqlite3.Error) -> None:
        note = f"{self._path} was cut or damaged ({error}): what follows is left out."
        if note not in self.notes:
            self.notes.append(note)
