"""Results in order from several threads, few of them at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from saane_ros.data.in_order import in_order


class Counted:
    """Numbers without end. taken: so many were asked for; fails at one."""

    def __init__(self, fails_at: int = -1) -> None:
        self.taken, self._fails_at = 0, fails_at
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        while True:
            self.threads.add(threading.get_ident())
            self.taken += 1
            if self.taken - 1 == self._fails_at:
                raise OSError("the disk is gone")
            yield self.taken - 1


def square(number: int) -> int:
    return number * number


@pytest.mark.parametrize("ahead", [1, 3, None])
def test_results_come_in_the_order_of_their_items(ahead: int | None) -> None:
    assert list(in_order(square, range(200), ahead)) == [n * n for n in range(200)]
    assert list(in_order(square, [], ahead)) == []


def test_few_items_are_taken_ahead_and_by_one_thread() -> None:
    numbers = Counted()
    with closing(in_order(square, numbers, 5)) as results:
        for n in range(50):
            assert next(results) == n * n
            assert numbers.taken <= n + 1 + 5
    assert numbers.taken <= 50 + 5
    assert len(numbers.threads) == 1
    assert threading.get_ident() not in numbers.threads


def test_an_item_that_cannot_be_had_is_told_after_the_results_before_it() -> None:
    results = in_order(square, Counted(fails_at=7), 4)
    assert [next(results) for _ in range(7)] == [n * n for n in range(7)]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def test_work_that_fails_is_told_where_its_result_would_be_and_ends_the_rest() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise KeyboardInterrupt
        return number

    numbers = Counted()
    results = in_order(work, numbers, 6)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyboardInterrupt):
        next(results)
    taken = numbers.taken
    assert taken <= 4 + 6
    names = {thread.name.split("_")[0] for thread in threading.enumerate()}
    assert not names & {"items", "work"}
    assert numbers.taken == taken
