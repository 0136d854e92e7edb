"""What a sequence of frames says: news is evidence, the belief moves, its track is kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from saane_ros.localization.belief import Ask, Belief, Estimate
from saane_ros.localization.candidates import Found
from saane_ros.localization.evidence import frame_evidence
from saane_ros.localization.motion import Interval
from saane_ros.localization.track import News, Track
from saane_ros.route_map.calibration import EvidenceWeights, MapScale
from saane_ros.route_map.place_graph import PlaceGraph

TOLERANCE_STEPS = 5.0
TOLERANCE_M = 5.0
"""What a confidence is the probability of: the pose is within so many places along the route, or
metres, the wider of the two, of the true one."""


class Sequence:
    """The state between two frames; deterministic after `reset`.

    estimate: the belief after the last frame that counted.  signals: of its track, in the order of
    `TRACK_SIGNALS`.  Both None before the first.
    """

    def __init__(
        self, graph: PlaceGraph, scale: MapScale, weights: EvidenceWeights, metric: bool
    ) -> None:
        self._weights = weights
        self._news = News(scale.step, graph.step if metric else 0.0)
        self.belief = Belief(graph, tolerance_steps(graph.step))
        self._track = Track(graph)
        self.reset()

    @property
    def odometry_fault(self) -> str:
        """Why odometry is not used, in words; empty where it is or there is none."""
        return self._news.fault

    def reset(self) -> None:
        """Forget all earlier frames."""
        self._news.reset()
        self.belief.reset()
        self._track.reset()
        self.estimate: Estimate | None = None
        self.signals: NDArray[np.float64] | None = None
        self._stamp_ns: int | None = None
        self._told = False

    def assume(self, spots: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
        """Forget all earlier frames and be told where the next one is taken; see `Belief`."""
        self.reset()
        self.belief.assume(spots, shares)
        self._told = True

    def take(
        self,
        descriptor: NDArray[np.float32],
        stamp_ns: int,
        travelled: float | None,
        find: Callable[[], Found],
        ask: Ask | None = None,
    ) -> tuple[Estimate, NDArray[np.float64]]:
        """Take one frame in, and where it shows something new its candidates and a witness."""
        weight = self._news.weight(descriptor, travelled)
        # Since the last frame of any kind: where one showed the same, nothing was driven until it.
        seconds = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) / 1e9
        self._stamp_ns = stamp_ns
        if self.estimate is not None and self.signals is not None and weight == 0:
            return self.estimate, self.signals
        steps = self._news.take(descriptor, travelled)
        if self._told:  # it is where it was said to be
            steps, self._told = 0.0, False
        found = find()
        evidence = frame_evidence(found.signals, self._weights)
        interval = Interval(seconds, steps)
        self.estimate = self.belief.update(found.groups, evidence, interval, weight, ask)
        self.signals = self._track.signals(self.estimate, self.belief)
        return self.estimate, self.signals


def tolerance_steps(step_m: float) -> float:
    """The tolerance in steps of a map."""
    return max(TOLERANCE_STEPS, TOLERANCE_M / step_m) if step_m > 0 else TOLERANCE_STEPS


def neighbourhood(graph: PlaceGraph, spot: int) -> NDArray[np.int64]:
    """The spots that count as one place with this one, ascending."""
    return graph.around(spot, tolerance_steps(graph.step))
