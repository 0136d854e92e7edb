"""Raw messages from the files of a bag, whole or cut short."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

import apsw
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.errors import ReaderError

from saane_ros.data.bags.cut import CutMcap, CutSqlite
from saane_ros.data.bags.raw_messages import RawMessage, TopicInfo, topics_of
from saane_ros.data.bags.ros1 import CutRos1Bag, Ros1Bag
from saane_ros.data.images.folders import natural_key
from saane_ros.errors import SaaneError

_SUFFIXES = (".mcap", ".db3")
_ROS_1 = ".bag"
_DAMAGE = (ReaderError, apsw.Error, AssertionError, ValueError, EOFError, struct.error)


class Storage(Protocol):
    """Files that hold messages. `notes` names what could not be read, after it was tried."""

    @property
    def notes(self) -> list[str]: ...

    def topics(self) -> dict[str, TopicInfo]:
        """Topic name to type and number of messages."""

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """The messages of these topics, in the order of their recording."""

    def span_ns(self) -> tuple[int, int] | None:
        """Times of the first and the last message; None where there is none."""

    def close(self) -> None:
        """Close the files."""


def open_storage(path: Path) -> Storage:
    """Open a bag's folder, or one .mcap or .db3 file of it, or a ROS 1 .bag file.

    A bag whose recording was cut (no metadata.yaml, no summary, a file without its end) is read as
    far as it goes. Raises SaaneError where there is no bag.
    """
    if not path.exists():
        raise SaaneError(f"There is no bag at {path}: name a rosbag2 folder or .mcap or .db3 file.")
    if path.is_file() and path.suffix == _ROS_1:
        return _open_ros1(path)
    if path.is_file() and path.suffix not in _SUFFIXES:
        raise SaaneError(
            f"{path} is no bag: name a folder with metadata.yaml, or a .mcap, .db3 or .bag file."
        )
    try:
        return _Whole(path)
    except (*_DAMAGE, OSError) as error:
        files = [path] if path.is_file() else _storage_files(path)
        if not files:
            raise SaaneError(
                f"{path} is no rosbag2 bag, as it has neither metadata.yaml nor a .mcap or .db3 "
                "file: name another folder."
            ) from error
        return _Parts(files, f"{path}: {_first_line(error)}")


class _Whole:
    """A bag that `rosbags` opens."""

    def __init__(self, path: Path) -> None:
        self.notes: list[str] = []
        self._path = path
        self._reader = Reader(path)
        self._reader.open()

    def topics(self) -> dict[str, TopicInfo]:
        return topics_of(self._reader)

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        connections = [c for c in self._reader.connections if c.topic in topics]
        if not connections:
            return
        try:
            for connection, stamp_ns, data in self._reader.messages(connections):
                yield RawMessage(connection.topic, connection.msgtype, stamp_ns, data)
        except Exception as error:  # zstd, lz4 and sqlite each raise their own
            note = f"{self._path} is damaged ({_first_line(error)}): the rest of it is left out."
            if note not in self.notes:
                self.notes.append(note)

    def span_ns(self) -> tuple[int, int] | None:
        if not self._reader.message_count:
            return None
        return self._reader.start_time, self._reader.end_time - 1

    def close(self) -> None:
        self._reader.close()


class _Parts:
    """The files of a bag one after the other, each whole or cut."""

    def __init__(self, files: list[Path], cause: str) -> None:
        self._parts: list[Storage] = []
        for file in files:
            self._parts.append(_open_file(file))
        self._cause = f"{cause} (the bag was not closed properly; what can be read is used)."

    @property
    def notes(self) -> list[str]:
        return [self._cause, *(note for part in self._parts for note in part.notes)]

    def topics(self) -> dict[str, TopicInfo]:
        merged: dict[str, TopicInfo] = {}
        for part in self._parts:
            for name, info in part.topics().items():
                before = merged.get(name, TopicInfo(info.type, 0))
                latched = info.latched or before.latched
                merged[name] = TopicInfo(info.type, before.count + info.count, latched)
        return merged

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        for part in self._parts:
            yield from part.messages(topics)

    def span_ns(self) -> tuple[int, int] | None:
        spans = [span for part in self._parts if (span := part.span_ns()) is not None]
        return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None

    def close(self) -> None:
        for part in self._parts:
            part.close()


def _open_file(file: Path) -> Storage:
    try:
        return _Whole(file)
    except _DAMAGE:
        return CutMcap(file) if file.suffix == ".mcap" else CutSqlite(file)


def _open_ros1(file: Path) -> Storage:
    try:
        return Ros1Bag(file)
    except Exception:  # a damaged index makes the reader raise anything
        return CutRos1Bag(file)


def _storage_files(folder: Path) -> list[Path]:
    """The bag's files in the order of recording: name_0, name_1, ... name_10."""
    files = [file for file in folder.iterdir() if file.suffix in _SUFFIXES]
    return sorted(files, key=lambda file: natural_key(file.name))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
