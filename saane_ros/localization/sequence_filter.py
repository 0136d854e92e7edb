"""A discrete Bayes filter over the places of a route, and a state for having left it.

The topological filter of Xu, Suenderhauf, Milford (RA-L 2020), with the off-route state of Xu et
al. (RA-L 2021) driven by calibrated distances (`calibration.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.localization.calibration import log_likelihood, published_rate
from saane_ros.localization.motion import RouteMotion
from saane_ros.types import Calibration, MatchState

PRIOR_OFF = 0.3
LEAVE = 0.01
"""P(off | place) per frame."""
STAY_OFF = 0.9
"""P(off | off) per frame."""
KIDNAPPED = 1e-4
"""Probability per frame of being anywhere on the route."""
TEMPER = 0.5
"""Weight of one frame's evidence; successive frames see much the same."""
LIMIT = 6.0
"""Most that one frame may say, in nats: no single frame finds one place among thousands."""
PUBLISHED_DELTA = 5.0
CONFIDENCE_PLACES = 5
CONFIDENCE_METRES = 5.0
"""A belief within these of the best place counts as one; the wider of the two holds."""
OFF_FRAMES = 5
"""Frames in a row that must speak for off-route before it is said."""


@dataclass(frozen=True)
class Belief:
    """Where the last frame was taken: probabilities of N places and of being off the route.

    places: float64 (N,); its sum and `off` make 1.
    best: the most probable place.  confidence: belief in `best` and its `window` neighbours.
    """

    places: NDArray[np.float64]
    off: float
    best: int
    window: slice
    confidence: float


class SequenceFilter:
    """Belief over the places of a route, updated frame by frame in the log domain.

    arc_length: distance along the route of each place (N,), metres where `metric`.
    Without a calibration the published likelihood exp(-lambda d) is used, which cannot speak for
    being off the route: there is no off-route state then.
    """

    def __init__(
        self,
        arc_length: NDArray[np.float64],
        metric: bool = False,
        calibration: Calibration | None = None,
    ) -> None:
        self._count = len(arc_length)
        self._motion = RouteMotion(arc_length, metric)
        self._calibration = calibration
        self._reach = CONFIDENCE_PLACES
        if metric and self._motion.spacing > 0:
            self._reach = max(self._reach, round(CONFIDENCE_METRES / self._motion.spacing))
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the first."""
        self._motion.reset()
        self._places: NDArray[np.float64] | None = None
        self._off = 0.0
        self._rate: float | None = None

    def update(self, distances: NDArray[np.floating], travelled: float | None = None) -> Belief:
        """Take in one frame: its distances to all places (N,), and the metres since the last."""
        along, places, off = self._predicted(travelled)
        evidence, off_evidence = self._evidence(distances)
        logs = np.log(places) + evidence
        off_log = float(np.log(off)) + off_evidence if off > 0 else -np.inf
        top = max(float(logs.max()), off_log)
        weights = np.exp(logs - top)
        off_weight = float(np.exp(off_log - top))
        total = float(weights.sum()) + off_weight
        if along is not None:
            certainty = float(along @ np.exp(evidence - top)) / total
            self._motion.learn(np.exp(evidence - evidence.max()), certainty)
        self._places, self._off = weights / total, off_weight / total
        return self._belief()

    def _predicted(
        self, travelled: float | None
    ) -> tuple[NDArray[np.float64] | None, NDArray[np.float64], float]:
        """Prior belief of the next frame: what moved along the route, all in places, and off."""
        count = self._count
        calibrated = self._calibration is not None
        if self._places is None:
            prior_off = PRIOR_OFF if calibrated else 0.0
            return None, np.full(count, (1 - prior_off) / count), prior_off
        moved, lost = self._motion.predict(self._places, travelled)
        if calibrated:
            off = STAY_OFF * self._off + LEAVE * float(moved.sum()) + lost
            moved *= 1 - LEAVE
            anywhere = (1 - STAY_OFF) * self._off
        else:
            off, anywhere = 0.0, lost
        along = (1 - KIDNAPPED) * moved
        places = along + ((1 - KIDNAPPED) * anywhere + KIDNAPPED) / count
        return along, places, (1 - KIDNAPPED) * off

    def _evidence(self, distances: NDArray[np.floating]) -> tuple[NDArray[np.float64], float]:
        if self._calibration is not None:
            return log_likelihood(distances, self._calibration, TEMPER, LIMIT)
        if self._rate is None:
            self._rate = published_rate(distances, PUBLISHED_DELTA)
        return -self._rate * np.asarray(distances, dtype=np.float64), 0.0

    def _belief(self) -> Belief:
        assert self._places is not None
        best = int(np.argmax(self._places))
        window = slice(max(0, best - self._reach), min(self._count, best + self._reach + 1))
        confidence = min(1.0, float(self._places[window].sum()))
        return Belief(self._places, self._off, best, window, confidence)


class StateMachine:
    """From beliefs to states, with hysteresis between localized and lost.

    LOCALIZED from `localized` confidence on and until it falls below `lost`; between the two a
    route not yet found is UNCERTAIN. OFF_ROUTE after five frames in a row at 0.5 or more.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin as lost."""
        self._state = MatchState.LOST
        self._off_frames = 0

    def update(self, confidence: float, off: float, localized: float, lost: float) -> MatchState:
        """The state after a frame with this belief around the best place and in off-route."""
        self._off_frames = self._off_frames + 1 if off >= 0.5 else 0
        if self._off_frames >= OFF_FRAMES:
            self._state = MatchState.OFF_ROUTE
        elif off >= 0.5 or confidence < lost:
            self._state = MatchState.LOST
        elif confidence >= localized:
            self._state = MatchState.LOCALIZED
        elif self._state is not MatchState.LOCALIZED:
            self._state = MatchState.UNCERTAIN
        return self._state
