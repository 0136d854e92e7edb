"""A thread that works on the newest frame, so that no callback ever waits for a network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from saane_ros.ros.intake.latest_frame import LatestFrame

T = TypeVar("T")


class FrameWorker(Generic[T]):
    """Calls `process` with the newest offered item, one at a time, until stopped.

    `failed` is told of every exception of `process`; the worker goes on with the next item.
    """

    def __init__(
        self, process: Callable[[T], None], failed: Callable[[Exception], None], name: str
    ) -> None:
        self._process = process
        self._failed = failed
        self._slot: LatestFrame[T] = LatestFrame()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def offer(self, item: T) -> bool:
        """Hand over an item without waiting; True where an older one was dropped for it."""
        return self._slot.put(item)

    @property
    def behind(self) -> bool:
        """Whether an item waits for the one in work."""
        return self._slot.filled

    def stop(self) -> bool:
        """Finish the item in work and end the thread; True where a waiting item was dropped."""
        dropped = self._slot.close()
        self._thread.join()
        return dropped

    def _work(self) -> None:
        while (item := self._slot.take()) is not None:
            try:
                self._process(item)
            except Exception as error:
                self._failed(error)
