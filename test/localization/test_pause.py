"""A pause of any length costs a frame no more than one of some minutes."""

from __future__ import annotations

import numpy as np
import pytest

from saane_ros.localization.motion import LONGEST_RATIO, SPEEDS, Interval, Motion


@pytest.mark.parametrize("hours", [1, 28, 10_000])
def test_the_reach_of_a_pause_is_bounded(hours: int) -> None:
    motion = Motion(2.0)
    for _ in range(20):
        interval = Interval(0.1, None)
        steps = np.array([1.0])
        motion.learn(motion.kernel(interval), steps, np.ones(1), interval)
    longest = motion.kernel(Interval(0.1 * LONGEST_RATIO, None))
    paused = motion.kernel(Interval(hours * 3600.0, None))
    assert paused.reach == pytest.approx(longest.reach)
    assert paused.reach[1] <= 2 * LONGEST_RATIO * SPEEDS.max()
    assert motion.kernel(Interval(0.2, None)).reach[1] < paused.reach[1]
