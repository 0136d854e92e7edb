"""The one frame that waits: a new one takes the place of an older one."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestFrame(Generic[T]):
    """A slot for one item between a fast producer and a slow consumer; the newest wins."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Leave an item; True where it took the place of one that nobody had taken."""
        with self._changed:
            replaced = self._item is not None
            self._item = item
            self._changed.notify()
            return replaced

    @property
    def filled(self) -> bool:
        """Whether an item waits."""
        with self._changed:
            return self._item is not None

    def take(self) -> T | None:
        """Wait for an item and take it; None once the slot is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._item is not None)
            item, self._item = self._item, None
            return None if self._closed else item

    def close(self) -> bool:
        """Wake the consumer for good; True where an item was still waiting."""
        with self._changed:
            waiting, self._item = self._item is not None, None
            self._closed = True
            self._changed.notify_all()
            return waiting
