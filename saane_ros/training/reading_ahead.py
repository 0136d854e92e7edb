"""Images decoded by a few threads before they are needed, so that no network waits for a disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from saane_ros.types import Rgb

MOST_READERS = 16
MOST_BATCHES = 2
"""Held at once: the one that is asked for, and the one after it."""


class Images(Protocol):
    """Images in a fixed order. key: changes when the list, a file or the decoding changes."""

    @property
    def key(self) -> str: ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Rgb: ...


class ReadAhead:
    """Images of a set at a network's input size, by batches.

    resize: makes them so, such as `Preprocessing.resize`.

    Images whose attribute `in_order` is true, such as the frames of a video, are read by one
    thread in the order in which they are asked for.
    """

    def __init__(self, images: Images, resize: Callable[[Rgb], Rgb]) -> None:
        self.images, self._resize = images, resize
        readers = 1 if getattr(images, "in_order", False) else _readers()
        self._pool = ThreadPoolExecutor(readers, "reader")
        self._coming: dict[bytes, list[Future[Rgb]]] = {}

    def expect(self, indices: NDArray[np.int64]) -> None:
        """Begin to read what `read` will be asked for; of more than two batches the oldest go."""
        key = indices.tobytes()
        if key in self._coming:
            return
        while len(self._coming) >= MOST_BATCHES:
            for future in self._coming.pop(next(iter(self._coming))):
                future.cancel()
        self._coming[key] = [self._pool.submit(self._read, int(index)) for index in indices]

    def read(self, indices: NDArray[np.int64]) -> Iterator[Rgb]:
        """One image after the other; SaaneError where a file is unreadable."""
        self.expect(indices)
        for future in self._coming.pop(indices.tobytes()):
            yield future.result()

    def _read(self, index: int) -> Rgb:
        return self._resize(self.images.read(index))


def _readers() -> int:
    """Threads of this process: the processes that torchrun started share the processors."""
    shared_by = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MOST_READERS, (os.cpu_count() or 1) // shared_by))
