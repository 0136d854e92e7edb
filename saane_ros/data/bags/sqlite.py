"""sqlite3 files of rosbag2, whole, cut, or with what sqlite left beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import apsw

from saane_ros.data.bags.cdr import Channel, ToCdr
from saane_ros.data.bags.chunked import Message
from saane_ros.data.bags.mcap import is_latched
from saane_ros.data.bags.raw_messages import CDR, RawMessage, TopicInfo, merged_topics
from saane_ros.data.bags.unpacking import LARGEST
from saane_ros.errors import SaaneError

MAGIC = b"SQLite format 3\0"
_ROWS = "SELECT rowid, topic_id, timestamp, data FROM messages"
_LAST_ROW = (1 << 63) - 1


class SqliteFile:
    """A .db3 file: messages by their times, or of a damaged one in the order of writing.

    What a killed recorder left in its -wal file is read with it; no file is written or removed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._to_cdr = ToCdr(path)
        self._whole = True
        self._channels: dict[int, Channel] = {}
        self._counts: Counter[int] = Counter()
        self._span: tuple[int, int] | None = None
        self._database = self._opened()
        try:
            self._learn_topics()
            self._survey()
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
        return self._span

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        wanted = {n for n, channel in self._channels.items() if channel.topic in topics}
        for number, stamp_ns, data in self._rows(wanted):
            yield from self._to_cdr(self._channels[number], stamp_ns, data)

    def close(self) -> None:
        self._database.close()

    def _opened(self) -> apsw.Connection:
        kept = [self._path.with_name(f"{self._path.name}{end}") for end in ("-wal", "-journal")]
        wal, journal = (file.is_file() and file.stat().st_size > 0 for file in kept)
        if wal:
            self._to_cdr.note(
                f"{self._path} was not closed properly: what is in {kept[0].name} is read with it."
            )
        elif journal:
            self._to_cdr.note(
                f"{self._path} was not closed properly, as {kept[1].name} tells: what was being "
                "written last may be incomplete."
            )
        # Without locks sqlite reads a -wal file and needs no -shm file for it, which it would make.
        how = "mode=ro" if wal else "mode=ro&immutable=1"
        database = apsw.Connection(
            f"{self._path.resolve().as_uri()}?{how}",
            flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
            vfs="unix-none" if wal else None,
        )
        database.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        database.limit(apsw.SQLITE_LIMIT_LENGTH, LARGEST)
        for setting in (
            "locking_mode = EXCLUSIVE",
            "trusted_schema = OFF",
            # Or else sqlite refuses a file that is shorter than its header says.
            "writable_schema = ON",
        ):
            database.execute(f"PRAGMA {setting}")
        return database

    def _learn_topics(self) -> None:
        try:
            # A view of these names could run without end.
            tables = self._database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND "
                "name IN ('topics', 'messages') AND sql LIKE 'CREATE TABLE%'"
            ).fetchall()
            if len(tables) == 2:
                for row in self._dictionaries("SELECT * FROM topics"):
                    self._learn(row)
                return
        except (apsw.Error, UnicodeDecodeError) as error:
            self._damaged(error)
            return
        raise SaaneError(
            f"{self._path} is an sqlite3 file, but no bag or one that was never filled: it has no "
            "tables topics and messages."
        )

    def _learn(self, row: dict[str, Any]) -> None:
        number, topic, type_ = row.get("id"), row.get("name"), row.get("type")
        encoding = row.get("serialization_format", CDR)
        if not isinstance(number, int) or not all(
            isinstance(text, str) for text in (topic, type_, encoding)
        ):
            self._damaged(ValueError("a topic without name"))
            return
        latched = is_latched(str(row.get("offered_qos_profiles", "")))
        try:
            self._channels[number] = Channel.of(str(topic), str(type_), str(encoding), latched)
        except ValueError as error:
            self._damaged(error)

    def _dictionaries(self, query: str) -> Iterator[dict[str, Any]]:
        cursor = self._database.execute(query)
        for row in cursor:
            yield dict(zip((column[0] for column in cursor.get_description()), row, strict=True))

    def _survey(self) -> None:
        """Count messages and find their span; a table that cannot be walked through is damaged."""
        query = (
            "SELECT topic_id, COUNT(*), MIN(timestamp), MAX(timestamp) FROM messages "
            "NOT INDEXED GROUP BY topic_id"
        )
        spans: list[tuple[int, int, int, int]] = []
        try:
            for row in self._database.execute(query):
                number, count, first, last = (x if isinstance(x, int) else None for x in row)
                if first is None or last is None or number is None or count is None:
                    raise ValueError("a message has no topic or no time")
                spans.append((number, count, first, last))
        except (apsw.Error, ValueError) as error:
            self._damaged(error)
            spans = [(n, 1, stamp, stamp) for n, stamp, _ in self._by_row(self._channels, 0)]
        for number, count, first, last in spans:
            if number in self._channels:
                self._counts[number] += count
                start, end = self._span or (first, last)
                self._span = min(first, start), max(last, end)

    def _rows(self, wanted: Collection[int]) -> Iterator[Message]:
        last = 0
        if self._whole:
            marks = ",".join("?" * len(wanted))
            query = f"{_ROWS} WHERE topic_id IN ({marks}) ORDER BY timestamp, rowid"
            try:
                for row in self._database.execute(query, tuple(wanted)):
                    last = max(last, row[0])
                    yield from _message(row, wanted)
                return
            except apsw.Error as error:
                self._damaged(error)
        yield from self._by_row(wanted, last)

    def _by_row(self, wanted: Collection[int], last: int) -> Iterator[Message]:
        """What can be read of the rows after `last`, in the order of writing."""
        step = 1
        # The index lies all over the file and would send the reader past a cut.
        query = f"{_ROWS} NOT INDEXED WHERE rowid > ? ORDER BY rowid"
        while last < _LAST_ROW:
            try:
                for row in self._database.execute(query, (last,)):
                    if row[0] <= last:  # a page that leads back to itself
                        return
                    last, step = row[0], 1
                    yield from _message(row, wanted)
                return
            except apsw.Error as error:
                self._damaged(error)
                last, step = min(last + step, _LAST_ROW), 2 * step

    def _damaged(self, error: Exception) -> None:
        self._whole = False
        self._to_cdr.note(
            f"{self._path} was cut or damaged ({error}): what cannot be read is left out."
        )


def _message(row: tuple[Any, ...], wanted: Collection[int]) -> Iterator[Message]:
    _, number, stamp_ns, data = row
    if number in wanted and isinstance(stamp_ns, int) and isinstance(data, bytes):
        yield number, stamp_ns, data
