"""Work on several items at once, with results in order and few of them at a time in memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST_WORKERS = 8


def worker_count() -> int:
    """Threads to decode and encode on: OpenCV works without the interpreter's lock."""
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


def in_order(
    function: Callable[[T], R], items: Iterable[T], ahead: int | None = None
) -> Generator[R, None, None]:
    """`function` of every item, in their order, `ahead` results before their use: two a thread.

    Items are asked for by a thread of their own, one after the other. What goes wrong there or in
    `function` is raised where the result would have come. Whoever may stop before the end closes
    the generator, which waits for what is in work.
    """
    workers = worker_count()
    iterator, end = iter(items), object()
    source, pool = ThreadPoolExecutor(1, "items"), ThreadPoolExecutor(workers, "work")

    def begin() -> Future[R] | None:
        item = next(iterator, end)
        return None if item is end else pool.submit(function, item)  # type: ignore[arg-type]

    try:
        begun = deque(source.submit(begin) for _ in range(ahead or 2 * workers))
        while (result := begun.popleft().result()) is not None:
            begun.append(source.submit(begin))
            yield result.result()
    finally:
        source.shutdown(cancel_futures=True)
        pool.shutdown(cancel_futures=True)
