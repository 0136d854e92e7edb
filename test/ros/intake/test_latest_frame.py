from __future__ import annotations

import threading
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from saane_ros.ros.intake.latest_frame import LatestFrame
from saane_ros.ros.intake.worker import FrameWorker


def test_the_newest_item_is_taken_and_the_replaced_ones_are_told() -> None:
    slot: LatestFrame[int] = LatestFrame()
    assert [slot.put(1), slot.put(2), slot.put(3)] == [False, True, True]
    assert slot.take() == 3
    assert slot.put(4) is False
    assert slot.take() == 4


@given(st.lists(st.sampled_from(["put", "take"]), max_size=60))
def test_every_item_is_taken_replaced_or_waiting(steps: list[str]) -> None:
    slot: LatestFrame[int] = LatestFrame()
    put = taken = replaced = waiting = newest = 0
    for step in steps:
        if step == "put":
            put += 1
            newest = put
            replaced += slot.put(put)
            waiting = 1
        elif waiting:
            assert slot.take() == newest
            taken, waiting = taken + 1, 0
    assert put == taken + replaced + waiting
    assert slot.close() is bool(waiting)
    assert slot.take() is None


def test_closing_wakes_a_waiting_consumer() -> None:
    slot: LatestFrame[int] = LatestFrame()
    got: list[int | None] = []
    consumer = threading.Thread(target=lambda: got.append(slot.take()))
    consumer.start()
    slot.close()
    consumer.join(5)
    assert got == [None]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_a_worker_accounts_for_every_item_and_outlives_failures(fails: list[bool]) -> None:
    done: list[int] = []
    errors: list[str] = []

    def work(item: int) -> None:
        if fails[item]:
            raise ValueError(str(item))
        done.append(item)

    worker = FrameWorker(work, lambda error: errors.append(str(error)), "test")
    worker.start()
    dropped = 0
    for item in range(len(fails)):
        dropped += worker.offer(item)
        if item % 7 == 0:
            time.sleep(0.001)
    dropped += worker.stop()
    assert len(done) + len(errors) + dropped == len(fails)
    assert done == sorted(done)
    assert all(fails[int(item)] for item in errors)


def test_a_busy_worker_takes_the_newest_of_what_came_meanwhile() -> None:
    started, go_on, finished = threading.Event(), threading.Event(), threading.Event()
    done: list[int] = []

    def work(item: int) -> None:
        started.set()
        go_on.wait(5)
        done.append(item)
        if item == 9:
            finished.set()

    worker = FrameWorker(work, lambda error: None, "test")
    worker.start()
    worker.offer(0)
    assert started.wait(5)
    dropped = sum(worker.offer(item) for item in range(1, 10))
    go_on.set()
    assert finished.wait(5)
    worker.stop()
    assert done == [0, 9]
    assert dropped == 8
