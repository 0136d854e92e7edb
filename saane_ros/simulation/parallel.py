"""Bulk rendering on several processes."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator

import cv2

from saane_ros.simulation.traverse import TownFrame, Traverse

_QUEUED_PER_WORKER = 8

_traverse: Traverse | None = None


def render_many(
    traverse: Traverse, indices: Iterable[int], workers: int = 2
) -> Iterator[TownFrame]:
    """Frames in the order of `indices`, with a bounded number rendered ahead of the reader."""
    if workers <= 1:
        yield from map(traverse.render, indices)
        return
    traverse.town.prepare()
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _start, (traverse,)) as pool:
        waiting: deque[multiprocessing.pool.AsyncResult[TownFrame]] = deque()
        for index in indices:
            waiting.append(pool.apply_async(_render, (index,)))
            if len(waiting) >= workers * _QUEUED_PER_WORKER:
                yield waiting.popleft().get()
        while waiting:
            yield waiting.popleft().get()


def _start(traverse: Traverse) -> None:
    global _traverse
    cv2.setNumThreads(1)
    _traverse = traverse


def _render(index: int) -> TownFrame:
    assert _traverse is not None
    return _traverse.render(index)
