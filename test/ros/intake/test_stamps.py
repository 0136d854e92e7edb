from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.data.poses.plausibility import Order
from saane_ros.ros.intake.stamps import SequenceNumbers, StampMonitor
from saane_ros.ros.intake.stream_health import LOSSY

MS = 1_000_000


@given(
    period_ms=st.integers(20, 200),
    jitter=st.floats(0, 0.2),
    seed=st.integers(0, 1000),
    missing=st.sets(st.integers(12, 78), max_size=15),
)
def test_lost_images_are_counted_exactly_under_jitter(
    period_ms: int, jitter: float, seed: int, missing: set[int]
) -> None:
    noise = np.random.default_rng(seed).uniform(-jitter / 2, jitter / 2, 80)
    monitor = StampMonitor()
    # Runs of lost images bend the median, so lose no two in a row.
    missing = {index for index in missing if index - 1 not in missing}
    for index in range(80):
        if index not in missing:
            stamp = round((index + noise[index]) * period_ms * MS) + 10**9
            assert monitor.arrive(stamp) is Order.NEW
    assert monitor.lost == len(missing)


def test_a_pause_is_no_loss() -> None:
    monitor = StampMonitor()
    for index in range(20):
        monitor.arrive(index * 50 * MS)
    assert monitor.arrive(60_000 * MS) is Order.NEW
    assert monitor.lost == 0


def test_share_of_lost_images_over_the_last_intervals() -> None:
    monitor = StampMonitor()
    for index in range(40):
        monitor.arrive(index * 100 * MS)
    assert monitor.loss() == 0
    for index in range(40, 100, 3):  # every third arrives: 20 intervals of three
        monitor.arrive(index * 100 * MS)
    # The median follows the slow rate only once it fills half of the window.
    assert monitor.lost > 0
    assert 0 < monitor.loss() < 1
    assert monitor.interval_ns() == pytest.approx(300 * MS)


def test_stamps_that_do_not_advance_are_told_apart() -> None:
    monitor = StampMonitor()
    orders = [monitor.arrive(stamp * MS) for stamp in (5000, 5100, 5100, 5050, 5200, 100, 200)]
    assert orders == [
        Order.NEW,
        Order.NEW,
        Order.REPEATED,
        Order.OLDER,
        Order.NEW,
        Order.LEAPT,
        Order.RESTARTED,
    ]


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.7])
def test_a_stream_that_loses_most_images_at_random_is_seen_as_lossy(kept: float) -> None:
    random = np.random.default_rng(3)
    monitor = StampMonitor()
    for index in range(4000):
        if random.random() < kept:
            monitor.arrive(index * 33 * MS)
    assert monitor.loss() > LOSSY


@given(arrived=st.sets(st.integers(1, 60), min_size=1))
def test_known_losses_are_counted_exactly_per_publisher(arrived: set[int]) -> None:
    numbers, monitor = SequenceNumbers(), StampMonitor()
    first, last = min(arrived), max(arrived)
    for number in sorted(arrived):
        for publisher in (b"left", b"right"):
            info = {"publication_sequence_number": number, "publisher_gid": {"data": publisher}}
            lost = numbers.lost_before(info)
            if publisher == b"left":
                # Stamps without any rhythm would mislead an estimate.
                monitor.arrive(number**3 * MS, lost)
    assert monitor.lost == last - first + 1 - len(arrived)


def test_messages_without_a_number_are_left_to_the_stamps() -> None:
    assert SequenceNumbers().lost_before({"publication_sequence_number": None}) is None
