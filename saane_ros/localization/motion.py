"""How far a robot came between two frames, in steps along the route, and what it does to a belief.

Without odometry the speed is not known but learned: a distribution over speeds in steps per usual
interval between frames, moved on by what the frames say (online expectation maximisation), spread
by acceleration, and never closed to a change. The topological filter of Xu, Suenderhauf & Milford
(RA-L 2020) has one fixed window of speeds instead. With odometry the distance is known, signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_BACK = np.array((0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0))
_SLOW = np.array((0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0))
SPEEDS = np.concatenate((-_BACK[::-1], _SLOW, np.arange(8.0, 25.0, 2.0)))
"""Steps per usual interval: a parked robot to a camera that sees every twentieth place."""
BACKWARDS = 0.1
"""Probability of driving against the direction of the map, before anything is known."""
FIRST_SPEED = 1.0 / (1.0 + np.abs(SPEEDS))
FIRST_SPEED = np.where(SPEEDS < 0, BACKWARDS, 1.0 - BACKWARDS) * FIRST_SPEED
FIRST_SPEED /= FIRST_SPEED.sum()
LEARNING = 0.25
"""Weight of one certain step in the speed."""
OPEN = 0.05
"""Share of the first speeds that stays, per usual interval."""
SPEED_NOISE = 0.15
"""Standard deviation of a step per step of speed: the road of two drives is not equally long."""
PLACE_NOISE = 0.4
"""Standard deviation in steps that is always there: places are not points."""
ODOMETRY_DRIFT = 0.1
"""Standard deviation of odometry per metre."""
ODOMETRY_NOISE_M = 0.5
WRONG_ODOMETRY = 0.02
"""Share of a step that is left to any speed although odometry says otherwise."""
PAUSE_S = 5.0
"""Seconds from which on an interval is a pause, which is not how often frames come."""
_LONGEST = 1e6
"""Of an interval in usual ones; stamps may say anything."""
FARTHEST = 100.0
"""Steps between two frames beyond which a belief is not followed: it may then be anywhere."""
SLOWEST_STEP = 0.5
STANDS = 0.8
"""What makes a speed of no steps less likely, as it shows nothing new."""


@dataclass(frozen=True)
class Interval:
    """What is known of the time between two frames.

    seconds: by the stamps, 0 where they tell nothing.  steps: by odometry, None without it.
    """

    seconds: float
    steps: float | None


class Motion:
    """Speed along the route, and the probability of every step between two frames."""

    def __init__(self, step_m: float) -> None:
        self._noise = ODOMETRY_NOISE_M / step_m if step_m > 0 else 0.5
        self.reset()

    def reset(self) -> None:
        """Forget the speed."""
        self.speed = FIRST_SPEED.copy()
        self._usual = 0.0

    def kernel(self, interval: Interval) -> Kernel:
        """The steps that an interval allows."""
        ratio = self._ratio(interval.seconds)
        means = SPEEDS * ratio
        sigma = PLACE_NOISE + SPEED_NOISE * np.abs(means)
        # A frame that counts shows something new: the robot hardly stood.
        standing = np.exp(-0.5 * (means / SLOWEST_STEP) ** 2)
        weights = self.speed * (1 - STANDS * standing)
        weights /= weights.sum()
        if interval.steps is None:
            return _kernel(means, sigma, weights, len(means))
        exact = np.hypot(PLACE_NOISE, self._noise + ODOMETRY_DRIFT * abs(interval.steps))
        return _kernel(
            np.append(means, interval.steps),
            np.append(sigma, exact),
            np.append(WRONG_ODOMETRY * weights, 1 - WRONG_ODOMETRY),
            len(means),
        )

    def learn(self, kernel: Kernel, steps: Floats, mass: Floats, interval: Interval) -> None:
        """Learn from the steps that the frame made probable, mass (n,) of at most 1 in all."""
        ratio = self._ratio(interval.seconds)
        if 0 < interval.seconds <= PAUSE_S:
            usual = self._usual or interval.seconds
            self._usual = 0.9 * usual + 0.1 * min(interval.seconds, 3 * usual)
        certain = float(mass.sum())
        if certain <= 0:
            return
        share = kernel.shares(steps, mass)
        kept = 1 - LEARNING * min(1.0, certain)
        learned = kept * self.speed + (1 - kept) * share / certain
        spread = np.convolve(learned, (0.1, 0.8, 0.1), mode="same")
        openness = min(1.0, OPEN * max(ratio, 0.2))
        self.speed = (1 - openness) * spread / spread.sum() + openness * FIRST_SPEED

    def _ratio(self, seconds: float) -> float:
        """The interval in usual ones."""
        return min(seconds / self._usual, _LONGEST) if seconds > 0 and self._usual > 0 else 1.0


def _kernel(means: Floats, sigma: Floats, weights: Floats, speeds: int) -> Kernel:
    """A kernel of the parts that can be followed."""
    far = np.abs(means) > FARTHEST
    return Kernel(means, sigma, np.where(far, 0.0, weights), speeds, float(weights[far].sum()))


@dataclass(frozen=True, eq=False)
class Kernel:
    """A mixture of normal densities over signed steps; the first `speeds` are those of speeds.

    weights: sum to 1 with `beyond`, the share that came farther than `FARTHEST`.
    """

    means: Floats
    sigma: Floats
    weights: Floats
    speeds: int
    beyond: float = 0.0

    def components(self, steps: Floats) -> Floats:
        """Density of each part at each of steps (n,): (parts, n)."""
        apart = (steps[None, :] - self.means[:, None]) / self.sigma[:, None]
        return (self.weights / self.sigma)[:, None] * np.exp(-0.5 * apart**2)

    @cached_property
    def _table(self) -> tuple[Floats, Floats]:
        """Steps (n,) a quarter apart over the reach, and the parts' density at them."""
        first, last = self.reach
        grid = np.linspace(-first - 1, last + 1, 4 * int(first + last + 2) + 1)
        return grid, self.components(grid)

    def density(self, steps: Floats) -> Floats:
        """Density at each of steps (n,), up to a factor common to all: by a table of them."""
        grid, parts = self._table
        return np.interp(steps, grid, parts.sum(axis=0))

    def shares(self, steps: Floats, mass: Floats) -> Floats:
        """How much of a mass at each of steps (n,) is due to each speed: by the table."""
        grid, parts = self._table
        at = np.clip((steps - grid[0]) / (grid[1] - grid[0]), 0.0, len(grid) - 1.001)
        low = at.astype(np.int64)
        upper = mass * (at - low)
        masses = np.bincount(low, mass - upper, len(grid))
        masses += np.bincount(low + 1, upper, len(grid))
        joint = parts[: self.speeds] + 1e-12
        return np.asarray((joint / joint.sum(axis=0)) @ masses)

    @property
    def total(self) -> float:
        """Sum of the density over whole steps."""
        return float(self.weights.sum() * np.sqrt(2 * np.pi))

    @cached_property
    def reach(self) -> tuple[float, float]:
        """Steps behind and ahead beyond which hardly anything lies, both from 1 on."""
        order = np.argsort(self.means)
        share = np.cumsum(self.weights[order])
        if share[-1] <= 0:
            return 1.0, 1.0
        low = order[int(np.searchsorted(share, 0.01 * share[-1]))]
        high = order[int(np.searchsorted(share, 0.99 * share[-1]))]
        behind = -(self.means[low] - 2 * self.sigma[low])
        ahead = self.means[high] + 2 * self.sigma[high]
        return float(max(1.0, behind)), float(max(1.0, ahead))
