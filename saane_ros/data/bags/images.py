"""Images of a bag as a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from saane_ros.data.bags.raw_messages import RawMessage
from saane_ros.data.bags.reader import BagReader, UndecodableError, decoded, deserialized, stamp_of
from saane_ros.data.images.lists import list_key
from saane_ros.errors import SaaneError
from saane_ros.types import Rgb


class BagImages:
    """Images of a topic by their stamps (ns), rising; reading them in order reads the bag once."""

    def __init__(self, bag: Path, topic: str, stamps_ns: Sequence[int]) -> None:
        self.names = tuple(f"{stamp // 1000}.png" for stamp in stamps_ns)
        self._path, self._topic, self._stamps = bag, topic, tuple(stamps_ns)
        self._messages: Iterator[RawMessage] = iter(())
        self._after = 1 << 63  # stamp of the last message read

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def key(self) -> str:
        files = sorted(self._path.iterdir()) if self._path.is_dir() else [self._path]
        return list_key(files, [self._topic, str(self._stamps)])

    def read(self, index: int) -> Rgb:
        wanted = self._stamps[index]
        if wanted <= self._after:
            self._reader = BagReader(self._path)
            self._messages = self._reader.messages([self._topic])
        for raw in self._messages:
            try:
                message = deserialized(raw)
                self._after = stamp_of(message, raw)
                if self._after == wanted:
                    return decoded(message, raw.type)
            except UndecodableError as error:
                if raw.stamp_ns == wanted:
                    raise SaaneError(f"Image {wanted} of {self._path}: {error}") from error
        raise SaaneError(
            f"The bag {self._path} has no image of {wanted} ns any more: read it again."
        )
