"""From a frame to a place match: the one path that node, command line and evaluation share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.frame_check import image_fault
from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.localization.belief import Ask, Estimate
from saane_ros.localization.body import Base
from saane_ros.localization.candidates import CandidateFinder, Found, representatives
from saane_ros.localization.decision import Decision
from saane_ros.localization.evidence import NEAREST, frame_evidence, with_testimony
from saane_ros.localization.points import Answer, Look, MapPoints, look_of, with_look
from saane_ros.localization.pose_estimate import estimate_pose, horizontal_deviation
from saane_ros.localization.pose_prior import PosePrior, spots_at
from saane_ros.localization.query_statistics import QueryPostprocessing
from saane_ros.localization.sequence import Sequence, neighbourhood
from saane_ros.localization.track import confidence
from saane_ros.route_map.arrays import members
from saane_ros.route_map.cohort import cohort_descriptors, embedder_of
from saane_ros.route_map.search import MapSearch, Nearest, exact_distances
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import (
    BY_PLACE,
    REFINED,
    Candidates,
    Embedding,
    Frame,
    Match,
    MatchState,
    Pose,
)

Told = tuple[Pose, tuple[float, ...]]
"""A pose and its covariance."""


@dataclass(frozen=True)
class Localization:
    """A match, the embedding it came from, and the map that it is a match with."""

    match: Match
    embedding: Embedding
    route_map: RouteMap


@dataclass(frozen=True, eq=False)
class _Verdict:
    """What is believed after a frame, by either way of deciding.

    spots, masses: of the neighbourhood that the pose is averaged over (m,).
    """

    spot: int
    spots: NDArray[np.int64]
    masses: NDArray[np.float64]
    confidence: float
    off: float
    accepted: float


class Localizer:
    """Matches frames with the places of a route map.

    Deterministic: the same frames after `reset` give the same matches. `settings` may be replaced
    between two frames; the live ones take effect at the next. Raises SaaneError where the map was
    made by another model than `embedder`, or is of a format that cannot tell when it is left.
    base: whose poses the matches have; its camera may be learned later.  points: of the map.
    """

    def __init__(self, embedder: Embedder, route_map: RouteMap, settings: Settings) -> None:
        route_map.check_embedder(embedder)
        bearings = route_map.localizable()
        self.settings = settings
        self.base = Base(route_map, settings)
        rerank = route_map.info.rerank
        self._embedder = embedder_of(embedder, rerank)
        self.route_map = route_map
        self._graph = bearings.graph
        self._graph.prepare()
        self._weights = bearings.calibration.weights
        self._projection = None if bearings.grids is None else bearings.cohort.projection
        self._cohort = cohort_descriptors(bearings.cohort, route_map.postprocessing)
        self._search = MapSearch(route_map)
        self._queries = QueryPostprocessing(route_map.postprocessing)
        scale = bearings.calibration.scale
        self._finder = CandidateFinder(self._graph, bearings.grids, scale, rerank)
        self._sequence = Sequence(self._graph, scale, self._weights.evidence, route_map.metric)
        self._decision = Decision()
        self.points = MapPoints(route_map, self._graph, settings)

    @property
    def wants_grid(self) -> bool:
        """Whether the map has feature grids, so that `embed` makes one."""
        return self._projection is not None

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width that images are resized to; None where points or a model use more."""
        return None if self.points.usable else getattr(self._embedder, "input_size", None)

    @property
    def odometry_fault(self) -> str:
        """Why odometry is not used, in words; empty where it is or there is none."""
        return self._sequence.odometry_fault

    @property
    def belief(self) -> tuple[NDArray[np.int64], NDArray[np.float64], float, float]:
        """Spots of the place graph (S,), their masses (S,), the mass of all others, and of off.

        They sum to 1; copies. Of the filter along the route: without it they never change.
        """
        belief = self._sequence.belief
        return belief.spots.copy(), belief.masses.copy(), belief.rest, belief.off

    def reset(self) -> None:
        """Forget all earlier frames."""
        self._queries.reset()
        self._sequence.reset()
        self._decision.reset()
        self.points.reset()

    def spots_at(self, prior: PosePrior) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """What `assume` takes of a pose; SaaneError where it is none on this map."""
        if not self.settings.sequence_filter:
            raise SaaneError(
                "Without the sequence filter an initial pose changes nothing: set the parameter "
                "sequence_filter."
            )
        return spots_at(self.route_map, self._graph, self.base.told(prior))

    def assume(self, spots: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
        """Forget earlier frames and begin with a belief in spots (n,), shares (n,).

        It moves the belief, and is no evidence: the state stays lost until frames agree, as what
        is told may be wrong and LOCALIZED promises a rate of errors. (AMCL takes a pose as given.)
        """
        self._sequence.assume(spots, shares)
        self._decision.reset()

    def embed(self, frame: Frame, attention: bool = False, labels: bool = False) -> Embedding:
        """The embedding that `locate` needs; attention maps and labels where asked for.

        Raises SaaneError where the image is empty, shows nothing or is not RGB.
        """
        fault = image_fault(frame.image)
        if fault is not None:
            raise SaaneError(
                f"Frame {frame.name or frame.stamp_ns} cannot be matched, as {fault}: "
                "check the camera."
            )
        return self._embedder.embed([frame.image], attention, labels, self.wants_grid)[0]

    def look(self, frame: Frame, behind: Callable[[], bool] | None = None) -> Look | None:
        """What points are looked for with; None where they are not to be.

        behind: whether a newer frame waits, which must not wait longer. Who asks so is live, and
        has `refine_budget_ms` for it; else time does not count, so that what comes out is the same
        each time.
        """
        budget_ms = self.settings.refine_budget_ms
        if not budget_ms or not self.points.usable:
            return None
        return self.points.look(frame, budget_ms, behind)

    def localize(
        self,
        frame: Frame,
        attention: bool = False,
        labels: bool = False,
        behind: Callable[[], bool] | None = None,
    ) -> Localization:
        """Embed and match one frame; see `embed` and `look`. A refused frame leaves the belief."""
        start = time.perf_counter()
        embedding = self.embed(frame, attention, labels)
        embedded = time.perf_counter()
        seen = with_look(embedding, self.look(frame, behind))
        match = self.locate(seen, frame.stamp_ns, frame.travelled)
        match.timings_ms["embed"] = 1e3 * (embedded - start)
        return Localization(match, embedding, self.route_map)

    def locate(
        self,
        embedding: Embedding,
        stamp_ns: int,
        travelled: float | None = None,
        share: float = 1.0,
    ) -> Match:
        """Match what `embed` made of a frame, and `look` where there are points.

        travelled: metres along the robot's heading since any fixed moment, backwards negative.
        share: of the error rate that this match may use up.
        """
        start = time.perf_counter()
        descriptor = self._queries.process(embedding.descriptor)
        nearest = self._search.nearest(descriptor, NEAREST)
        searched = time.perf_counter()
        inquiry = self.points.inquiry(look_of(embedding), nearest)

        rerank_ms: list[float] = []

        def find() -> Found:
            found = self.find(embedding, descriptor, nearest)
            if found.rerank_ms is not None:
                rerank_ms.append(found.rerank_ms)
            return found

        error_rate = share * self.settings.error_rate
        if self.settings.sequence_filter:
            estimate, signals = self._sequence.take(
                descriptor, stamp_ns, travelled, find, inquiry.testify
            )
            verdict = self._by_sequence(estimate, signals, error_rate)
        else:
            verdict = self._by_frame(find(), error_rate, inquiry.testify)
        state = self._decision.state(verdict.confidence, verdict.off, verdict.accepted)
        candidates = self._candidates(nearest)
        place, distance = self._place(verdict.spot, nearest, descriptor)
        by_place = refined = None
        if state is MatchState.LOCALIZED:
            by_place = self._by_place(verdict, nearest)
            inquiry.answer_at(verdict.spots, verdict.masses)
        driven = None if self.odometry_fault else travelled
        agreed = self.points.agrees(inquiry.answer, driven)
        if state is MatchState.LOCALIZED and (agreed or not self.settings.sequence_filter):
            refined = self._refined(verdict, inquiry.answer)
        pose, covariance = refined or by_place or (None, None)
        timings = {
            "search": 1e3 * (searched - start),
            "filter": 1e3 * (time.perf_counter() - searched) - inquiry.ms,
        }
        if rerank_ms:
            timings["rerank"] = sum(rerank_ms)
        if inquiry.look is not None:
            timings["points"] = inquiry.ms + inquiry.look.took_ms
        return Match(
            stamp_ns=stamp_ns,
            state=state,
            place=self.route_map.places[place],
            distance=distance,
            ratio=candidates.ratio,
            confidence=verdict.confidence,
            off_route=verdict.off,
            candidates=candidates,
            probabilities=self._probabilities(candidates, verdict),
            pose=pose,
            covariance=covariance,
            source=REFINED if refined else BY_PLACE,
            by_place=by_place,
            points=None if inquiry.answer is None else inquiry.answer.seen,
            timings_ms=timings,
        )

    def candidates_of(self, embedding: Embedding) -> Found:
        """The candidates of a frame by itself, where the map's descriptors are as embedded."""
        descriptor = self._queries.process(embedding.descriptor)
        return self.find(embedding, descriptor, self._search.nearest(descriptor, NEAREST))

    def find(
        self, embedding: Embedding, descriptor: NDArray[np.float32], nearest: Nearest
    ) -> Found:
        """The candidates of a frame, its processed descriptor and nearest places."""
        grid = None
        if self._projection is not None and embedding.grid is not None:
            grid = self._projection.compact(embedding.grid)
        return self._finder.find(
            nearest.places,
            nearest.distances.astype(np.float64),
            grid,
            exact_distances(np.ascontiguousarray(descriptor), self._cohort).astype(np.float64),
            nearest.sample.astype(np.float64),
        )

    def _by_sequence(
        self, estimate: Estimate, signals: NDArray[np.float64], error_rate: float
    ) -> _Verdict:
        trust = self._weights.trust
        return _Verdict(
            estimate.spot,
            estimate.spots,
            estimate.masses,
            confidence(signals, trust),
            estimate.off,
            trust.threshold(error_rate),
        )

    def _by_frame(self, found: Found, error_rate: float, ask: Ask) -> _Verdict:
        """What the frame says by itself."""
        evidence = frame_evidence(found.signals, self._weights.evidence)
        each = zip(found.groups, evidence.groups, strict=True)
        spots = [group.spots for group in found.groups]
        told = ask(np.concatenate(spots), np.concatenate([sure * g.shares for g, sure in each]))
        if told is not None:
            evidence = with_testimony(evidence, spots, told)
        group = found.groups[int(evidence.groups.argmax())]
        spot = int(group.spots[group.shares.argmax()])
        near = members(group.spots, neighbourhood(self._graph, spot))
        sure = float(evidence.groups.max())
        return _Verdict(
            spot,
            group.spots[near],
            sure * group.shares[near],
            sure * float(group.shares[near].sum()),
            evidence.off,
            1 - error_rate,
        )

    def _candidates(self, nearest: Nearest) -> Candidates:
        """The k best, and the ratio to the best place outside the neighbourhood of the first."""
        count = min(self.settings.candidates, len(nearest.places))
        spots = self._graph.spot[nearest.places]
        near = self._graph.around(int(spots[0]), self._finder.reach)
        others = nearest.distances[~members(spots, near)]
        return Candidates(
            nearest.places[:count],
            nearest.distances[:count],
            _ratio(float(nearest.distances[0]), others),
        )

    def _place(
        self, spot: int, nearest: Nearest, descriptor: NDArray[np.float32]
    ) -> tuple[int, float]:
        """The place of a spot that the frame is most like, and its distance."""
        seen = np.flatnonzero(self._graph.spot[nearest.places] == spot)
        if len(seen):
            return int(nearest.places[seen[0]]), float(nearest.distances[seen[0]])
        first = self._graph.places_of([spot])[:1]
        return int(first[0]), float(self._search.distances_to(descriptor, first)[0])

    def _probabilities(self, candidates: Candidates, verdict: _Verdict) -> NDArray[np.float32]:
        spots = self._graph.spot[candidates.places].astype(np.int64)
        if self.settings.sequence_filter:
            return self._sequence.belief.masses_of(spots).astype(np.float32)
        at = np.minimum(np.searchsorted(verdict.spots, spots), len(verdict.spots) - 1)
        known = verdict.spots[at] == spots
        return np.where(known, verdict.masses[at], 0.0).astype(np.float32)

    def _by_place(self, verdict: _Verdict, nearest: Nearest) -> Told | None:
        """The pose that the belief in places amounts to."""
        rows = representatives(self._graph, verdict.spots, nearest)
        places = self.route_map.places
        estimate = estimate_pose(
            places.positions[rows], places.orientations[rows], verdict.masses, self._graph.step
        )
        return None if estimate is None else self._exact_enough(*self.base.moved(*estimate))

    def _refined(self, verdict: _Verdict, answer: Answer | None) -> Told | None:
        """The pose by points, where it lies by the place that is believed in."""
        if answer is None or answer.refinement is None or answer.place is None:
            return None
        if self.points.zoom_fault:
            return None
        if self._graph.spot[answer.place] not in neighbourhood(self._graph, verdict.spot):
            return None
        found = answer.refinement
        return self._exact_enough(*self.base.moved(found.pose, found.covariance))

    def _exact_enough(self, pose: Pose, covariance: tuple[float, ...]) -> Told | None:
        exact = horizontal_deviation(covariance) <= self.settings.max_deviation
        return (pose, covariance) if exact else None


def _ratio(first: float, others: NDArray[np.float32]) -> float:
    """Second best over best distance: infinite where only the best is 0, 1 without another."""
    if others.size == 0:
        return 1.0
    second = float(others.min())
    if first == 0.0:
        return 1.0 if second == 0.0 else float("inf")
    return second / first
