"""From a frame to a place match: the one path that node, command line and evaluation share."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.frame_check import image_fault
from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.localization.calibration import published_rate
from saane_ros.localization.pose_estimate import estimate_pose
from saane_ros.localization.query_statistics import QueryPostprocessing
from saane_ros.localization.sequence_filter import (
    PUBLISHED_DELTA,
    SequenceFilter,
    StateMachine,
)
from saane_ros.route_map.search import MapSearch, candidates_from
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Candidates, Embedding, Frame, Match, MatchState, Pose


@dataclass(frozen=True)
class Localization:
    """A match, and the embedding it came from."""

    match: Match
    embedding: Embedding


@dataclass(frozen=True)
class _Verdict:
    """What the distances of a frame say, by either way of deciding.

    belief: float64 (N,).  window: the places that the pose is averaged over.
    """

    state: MatchState
    best: int
    confidence: float
    belief: NDArray[np.float64]
    window: slice


class Localizer:
    """Matches frames with the places of a route map.

    Deterministic: the same frames after `reset` give the same matches. `settings` may be replaced
    between two frames; the live ones take effect at the next. Raises SaaneError where the map was
    made by another model than `embedder`.
    """

    def __init__(self, embedder: Embedder, route_map: RouteMap, settings: Settings) -> None:
        route_map.check_embedder(embedder)
        self.settings = settings
        self._embedder = embedder
        self._map = route_map
        self._search = MapSearch(route_map)
        self._queries = QueryPostprocessing(route_map.postprocessing)
        calibration = route_map.info.calibration
        if route_map.postprocessing is None:
            # The card's is the newer one where both have it. It is of descriptors as embedded:
            # of others it would say more than they know, see `RouteMapBuilder`.
            calibration = embedder.calibration or calibration
        self._filter = SequenceFilter(route_map.arc_length, route_map.metric, calibration)
        self._states = StateMachine()
        self._travelled: float | None = None
        steps = np.diff(route_map.arc_length) if route_map.metric else np.empty(0)
        self._spacing = float(np.median(steps)) if steps.size else 0.0

    def reset(self) -> None:
        """Forget all earlier frames."""
        self._queries.reset()
        self._filter.reset()
        self._states.reset()
        self._travelled = None

    def localize(self, frame: Frame, attention: bool = False, labels: bool = False) -> Localization:
        """Match one frame; attention maps and labels come along where asked for.

        Raises SaaneError where the image is empty, black or not RGB; the belief is untouched then.
        """
        fault = image_fault(frame.image)
        if fault is not None:
            raise SaaneError(
                f"Frame {frame.name or frame.stamp_ns} cannot be matched, as {fault}: "
                "check the camera."
            )
        start = time.perf_counter()
        embedding = self._embedder.embed([frame.image], attention, labels)[0]
        embedded = time.perf_counter()
        distances = self._search.distances(self._queries.process(embedding.descriptor))
        candidates = candidates_from(
            distances, self.settings.candidates, self.settings.ratio_window
        )
        searched = time.perf_counter()
        verdict = self._decide(distances, candidates, frame)
        pose, covariance = self._pose(verdict)
        timings = {
            "embed": 1e3 * (embedded - start),
            "search": 1e3 * (searched - embedded),
            "filter": 1e3 * (time.perf_counter() - searched),
        }
        match = Match(
            stamp_ns=frame.stamp_ns,
            state=verdict.state,
            place=self._map.places[verdict.best],
            distance=float(distances[verdict.best]),
            ratio=candidates.ratio,
            confidence=verdict.confidence,
            candidates=candidates,
            probabilities=verdict.belief[candidates.places].astype(np.float32),
            pose=pose,
            covariance=covariance,
            timings_ms=timings,
        )
        return Localization(match, embedding)

    def _decide(
        self, distances: NDArray[np.float32], candidates: Candidates, frame: Frame
    ) -> _Verdict:
        if self.settings.sequence_filter:
            return self._by_sequence(distances, self._advance(frame.travelled))
        return self._by_ratio(distances, candidates)

    def _by_sequence(self, distances: NDArray[np.float32], advance: float | None) -> _Verdict:
        belief = self._filter.update(distances, advance)
        state = self._states.update(
            belief.confidence,
            belief.off,
            self.settings.localized_confidence,
            self.settings.lost_confidence,
        )
        return _Verdict(state, belief.best, belief.confidence, belief.places, belief.window)

    def _by_ratio(self, distances: NDArray[np.float32], candidates: Candidates) -> _Verdict:
        best = int(candidates.places[0])
        ratio = candidates.ratio
        state = MatchState.LOCALIZED if ratio >= self.settings.min_ratio else MatchState.UNCERTAIN
        logs = -published_rate(distances, PUBLISHED_DELTA) * distances.astype(np.float64)
        belief = np.exp(logs - logs.max())
        return _Verdict(state, best, 1 - 1 / ratio, belief / belief.sum(), slice(best, best + 1))

    def _advance(self, travelled: float | None) -> float | None:
        """Metres since the frame before; None where unknown or where the odometry restarted."""
        before, self._travelled = self._travelled, travelled
        if before is None or travelled is None or not np.isfinite(travelled - before):
            return None
        return travelled - before if travelled >= before else None

    def _pose(self, verdict: _Verdict) -> tuple[Pose | None, tuple[float, ...] | None]:
        if verdict.state is not MatchState.LOCALIZED:
            return None, None
        estimate = estimate_pose(
            self._map.places[verdict.window], verdict.belief[verdict.window], self._spacing
        )
        return (None, None) if estimate is None else estimate
