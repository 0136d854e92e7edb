"""Which frames are news, and how well the belief has held along the way.

A robot that stands sees the same again and again: only a frame that shows something new, or that
odometry says was taken elsewhere, is taken as evidence. A belief is trusted by what a wrong one
cannot keep up: single frames that speak for the place, along a track without jumps that moves on.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from saane_ros.localization.belief import Belief, Estimate
from saane_ros.localization.motion import FARTHEST
from saane_ros.route_map.calibration import TrustWeights
from saane_ros.route_map.place_graph import PlaceGraph

NOVEL = 0.5
"""Of the map's step between descriptors: a frame this far from the last that counted is news. On
validation towns successive places lie 0.7 to 1.4 steps apart in any weather, and two images of one
place, each with noise of 5 grey levels, 0.3."""
MOVED_STEPS = 0.25
"""Steps by odometry from which on a robot has moved."""
BLIND_STEPS = 2.0
"""Steps by odometry after which a frame counts although it shows the same, as of a covered lens."""
BLIND_WEIGHT = 1e-3
"""What such a frame counts at least: where odometry leads, the belief goes."""
STUCK_FRAMES = 10
"""Novel images in a row at one place by odometry, after which odometry is not believed."""
MEMORY = 0.8
"""Share of the earlier frames' support that stays with every frame that counts."""
LONGEST = 30.0
"""Frames after which a longer track says no more."""
WINDOW = 12
"""Frames over which a track must get ahead."""
LIMIT = 6.0
"""Nats that one frame's support counts at most."""
CLOSE = 9.0
"""Largest log odds of a mass."""
SLACK_STEPS = 2.0

Floats = NDArray[np.float64]


class News:
    """Tells frames that count from those that show the same. `fault`: why odometry is not used."""

    def __init__(self, descriptor_step: float, step_m: float) -> None:
        self._descriptor_step, self._step_m = descriptor_step, step_m
        self.reset()

    def reset(self) -> None:
        """The next frame is the first."""
        self._shown: NDArray[np.float32] | None = None
        self._travelled: float | None = None
        self._still = 0
        self.fault = ""

    def weight(self, descriptor: NDArray[np.float32], travelled: float | None) -> float:
        """How far a frame counts: 1 if new, 0 if not, between where only odometry moved on."""
        if self._shown is None:
            return 1.0
        change = float(np.linalg.norm(descriptor - self._shown)) / self._descriptor_step
        steps = self._checked(travelled)
        if steps is None:
            return float(change >= NOVEL)
        if abs(steps) < MOVED_STEPS:
            self._watch(descriptor, change)
            return float(bool(self.fault) and change >= NOVEL)
        self._still, self.fault = 0, ""
        if change >= NOVEL:
            return 1.0
        return max((change / NOVEL) ** 2, BLIND_WEIGHT) if abs(steps) >= BLIND_STEPS else 0.0

    def take(self, descriptor: NDArray[np.float32], travelled: float | None) -> float | None:
        """Let a frame be the last that counted; the steps driven to it, None where unknown."""
        steps = None if self.fault else self._steps(travelled)
        self._shown = descriptor.copy()
        self._travelled = travelled if travelled is not None and np.isfinite(travelled) else None
        return steps

    def _checked(self, travelled: float | None) -> float | None:
        """Steps since the last frame that counted; None, and a fault, where they cannot be."""
        if travelled is not None and not np.isfinite(travelled):
            self.fault = "odometry gives no number of metres"
            return None
        steps = self._steps(travelled)
        if steps is None or abs(steps) <= FARTHEST:
            return steps
        metres = abs(steps) * self._step_m
        self.fault = f"odometry went {metres:.3g} m between two images"
        return None

    def _steps(self, travelled: float | None) -> float | None:
        """Steps by odometry since the last frame that counted."""
        if travelled is None or self._travelled is None or self._step_m <= 0:
            return None
        return (travelled - self._travelled) / self._step_m

    def _watch(self, descriptor: NDArray[np.float32], change: float) -> None:
        """Count views that changed while odometry stood."""
        if change < NOVEL or self.fault:
            return
        self._still += 1
        self._shown = descriptor.copy()
        if self._still >= STUCK_FRAMES:
            self.fault = f"odometry stands while the camera showed {self._still} new views"


class Track:
    """What a belief has shown since it last jumped; `signals` in the order of `TRACK_SIGNALS`:

    mass, off: log odds of the belief in the place's neighbourhood, and in being off the map.
    support: mean of the log of how much likelier the track's frames were at their places than off
    the map, recent ones first, towards 0 while there are few.  now: that of the last frame.
    against: the same where it speaks for being off, else 0, as a track that was sure may end.
    length: log of 1 + frames since the last jump.  progress: steps gained per frame, up to 1.
    """

    def __init__(self, graph: PlaceGraph) -> None:
        self._graph = graph
        self.reset()

    def reset(self) -> None:
        """No track."""
        self._spot: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._frames = 0
        self._sum = self._weight = 0.0
        self._gains: deque[float] = deque(maxlen=WINDOW)

    def signals(self, estimate: Estimate, belief: Belief) -> Floats:
        """The signals after one more frame that counts."""
        if self._spot is not None:
            gain = self._gain(self._spot, estimate.spot, belief)
            if gain is None:
                self._begin()
            else:
                self._gains.append(gain)
        self._spot = estimate.spot
        self._frames += 1
        now = min(max(estimate.agreed, -LIMIT), LIMIT)
        self._sum = MEMORY * self._sum + now
        self._weight = MEMORY * self._weight + 1.0
        gained = 0.5
        if len(self._gains) > 2:
            gained = min(1.0, abs(sum(self._gains)) / len(self._gains))
        return np.array(
            [
                log_odds(estimate.mass),
                log_odds(estimate.off),
                self._sum / (self._weight + 1.0),
                now,
                min(now, 0.0),
                math.log1p(min(float(self._frames), LONGEST)),
                gained,
            ]
        )

    def _gain(self, before: int, after: int, belief: Belief) -> float | None:
        """Signed steps from one spot to the other, None where it cannot be reached: a jump."""
        behind, ahead = belief.reach
        _, reached, steps = self._graph.reachable(
            np.array([before]), ahead + SLACK_STEPS, behind + SLACK_STEPS
        )
        ways = steps[reached == after]
        return float(ways[np.abs(ways).argmin()]) if len(ways) else None


def log_odds(probability: float) -> float:
    """log p / (1 - p), within +- CLOSE."""
    odds = math.log(probability + 1e-9) - math.log(1 - probability + 1e-9)
    return min(max(odds, -CLOSE), CLOSE)


def confidence(signals: Floats, trust: TrustWeights) -> float:
    """The probability that the pose is within the tolerance."""
    score = float(signals @ np.asarray(trust.weights)) + trust.offset
    return 0.5 * (1 + math.tanh(0.5 * score))
