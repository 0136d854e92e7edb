"""Work on several items at once, with results in order and few of them at a time in memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import cv2

T = TypeVar("T")
R = TypeVar("R")

MOST_WORKERS = 8


def worker_count() -> int:
    """Threads to decode and encode on: OpenCV works without the interpreter's lock."""
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


def in_order(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`function` of every item, in their order, at most two results a thread ahead of their use.

    OpenCV's own threads rest meanwhile: they would only wait for each other.
    """
    workers = worker_count()
    inner = cv2.getNumThreads()
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            cv2.setNumThreads(inner)
