"""What files of MCAP and of ROS 1 have in common: channels, and chunks of their messages."""

from __future__ import annotations

import heapq
import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from saane_ros.data.bags.cdr import Channel, ToCdr
from saane_ros.data.bags.raw_messages import RawMessage, TopicInfo, merged_topics
from saane_ros.data.bags.unpacking import LARGEST

Message = tuple[int, int, bytes]
"""Number of the channel, time of recording (ns), data."""
LAST_NS = (1 << 63) - 1
RUN = 1 << 20
"""Bytes of messages outside of chunks that are taken as one."""


@dataclass(frozen=True)
class Chunk:
    """Messages that lie together. at: their place in the file. channels: None if not known."""

    at: int
    start_ns: int
    end_ns: int
    channels: frozenset[int] | None = None


class ChunkedFile:
    """A file by its index, or where that is missing or wrong by a scan from its start.

    A damaged chunk is left out and told in `notes`; the chunks are read as they are asked for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._to_cdr = ToCdr(path)
        self._channels: dict[int, Channel] = {}
        self._chunks: list[Chunk] = []
        self._counts: Counter[int] = Counter()
        self._closed = False
        self._stream = path.open("rb")
        self._size = os.fstat(self._stream.fileno()).st_size
        try:
            if not self._has_index():
                self._scan()
        except BaseException:
            self.close()
            raise

    @property
    def notes(self) -> list[str]:
        return self._to_cdr.notes

    def topics(self) -> dict[str, TopicInfo]:
        return merged_topics(
            (channel.topic, channel.info(self._counts[number]))
            for number, channel in self._channels.items()
        )

    def span_ns(self) -> tuple[int, int] | None:
        if not self._chunks:
            return None
        return min(c.start_ns for c in self._chunks), max(c.end_ns for c in self._chunks)

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        wanted = {n for n, channel in self._channels.items() if channel.topic in topics}
        chunks = [c for c in self._chunks if c.channels is None or c.channels & wanted]
        for number, stamp_ns, data in self._in_order(chunks, wanted):
            yield from self._to_cdr(self._channels[number], stamp_ns, data)

    def close(self) -> None:
        self._stream.close()

    def _in_order(self, chunks: list[Chunk], wanted: set[int]) -> Iterator[Message]:
        """Messages by their times also where chunks overlap, as far as memory may reach."""
        waiting: list[tuple[int, int, int, bytes]] = []
        held = serial = 0
        for chunk in sorted(chunks, key=lambda chunk: chunk.start_ns):
            while waiting and (waiting[0][0] < chunk.start_ns or held > LARGEST):
                stamp_ns, _, number, data = heapq.heappop(waiting)
                held -= len(data)
                yield number, stamp_ns, data
            for number, stamp_ns, data in self._piece(chunk.at)[0]:
                if number in wanted:
                    heapq.heappush(waiting, (stamp_ns, serial, number, data))
                    held, serial = held + len(data), serial + 1
        while waiting:
            stamp_ns, _, number, data = heapq.heappop(waiting)
            yield number, stamp_ns, data

    def _scan(self) -> None:
        """Find channels and chunks without an index."""
        self._channels.clear()
        self._chunks.clear()
        self._counts.clear()
        at: int | None = self._first_piece()
        while at is not None:
            here = at
            found, at = self._piece(here)
            found = [message for message in found if message[0] in self._channels]
            if found:
                stamps = [stamp_ns for _, stamp_ns, _ in found]
                channels = Counter(number for number, _, _ in found)
                self._chunks.append(Chunk(here, min(stamps), max(stamps), frozenset(channels)))
                self._counts.update(channels)
        if not self._closed:
            self._to_cdr.note(
                f"{self._path} was not closed properly, as when a recorder is killed or a copy is "
                "cut: what can be read is used."
            )

    @abstractmethod
    def _has_index(self) -> bool:
        """Fill channels, chunks and counts from the file's index, if it has a sound one."""

    @abstractmethod
    def _first_piece(self) -> int:
        """Where a scan begins."""

    @abstractmethod
    def _piece(self, at: int) -> tuple[list[Message], int | None]:
        """The messages of the chunk at a place, and where the next begins, if any does.

        Channels that it meets are learnt, the first of each number; `_closed` is set where the
        recorder's last words are met.
        """

    def _read(self, at: int, end: int) -> bytes:
        """Bytes of the file; ValueError where they are more than any record has, or unreadable."""
        if not 0 <= at <= end <= self._size:
            raise ValueError("it reaches beyond the file")
        if end - at > LARGEST:
            raise ValueError(f"it has {end - at} bytes, more than any record of a bag")
        try:
            self._stream.seek(at)
            return self._stream.read(end - at)
        except OSError as error:  # a disk that fails in one place
            raise ValueError(str(error)) from error

    def _note(self, what: str) -> None:
        self._to_cdr.note(f"{self._path} was cut or damaged: {what}, which is left out.")
