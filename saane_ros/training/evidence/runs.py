"""Drives on and off a map, made of the images of a route and of other places, and what they show.

The first stage sees single frames, the second the belief along a drive; both by the localizer's
own parts, so that what is fitted is what runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from saane_ros.localization.candidates import CandidateFinder, Found
from saane_ros.localization.evidence import NEAREST
from saane_ros.localization.sequence import Sequence, tolerance_steps
from saane_ros.route_map.calibration import EvidenceWeights
from saane_ros.route_map.cohort import Cohort
from saane_ros.route_map.place_graph import PlaceGraph, build_graph, line_graph
from saane_ros.route_map.scale import map_scale
from saane_ros.route_map.search import exact_distances, k_smallest
from saane_ros.training.evidence.material import DriveViews, Elsewhere, Route, Views

STRETCH = 80
"""Frames of another place that are inserted into a drive, and of the drive around them."""
SEGMENT = 40
"""Frames between two kidnaps."""
STOP_EVERY, STOP_FRAMES = 20, 25
PARKED_VIEWS, PARKED_FRAMES = 3, 10
FAST = 8
PERIOD_NS = 100_000_000
SAMPLE = 512
VIEWS = 40
"""Of every other place, as examples of single frames."""


class Shot(NamedTuple):
    """One frame of a drive. right: rows that it may show, None where it shows none.

    travelled: metres, None without odometry.
    """

    views: Views
    row: int
    right: frozenset[int] | None
    travelled: float | None = None


@dataclass(frozen=True)
class Run:
    """A drive made of shots. elsewhere: kind of the other place that it shows, if any."""

    scenario: str
    tag: str
    elsewhere: str
    shots: list[Shot]


@dataclass
class Ground:
    """A route as a map in memory."""

    route: Route
    cohort: Cohort
    _found: dict[tuple[int, int], Found] = field(default_factory=dict)

    @cached_property
    def graph(self) -> PlaceGraph:
        if self.route.positions is None:
            return line_graph(self.route.places.descriptors)
        return build_graph(self.route.positions, [np.arange(len(self.route.places))])

    @cached_property
    def finder(self) -> CandidateFinder:
        places = self.route.places
        self.scale = map_scale(
            places.descriptors, places.grids, self.graph, self.cohort.descriptors
        )
        return CandidateFinder(self.graph, places.grids, self.scale)

    def found(self, views: Views, row: int) -> Found:
        """The candidates of an image, as `Localizer.find` has them."""
        key = (id(views), row)
        if key not in self._found:
            self._found[key] = self._find(views, row)
        return self._found[key]

    def _find(self, views: Views, row: int) -> Found:
        descriptor = views.descriptors[row]
        distances = exact_distances(descriptor, self.route.places.descriptors)
        nearest = k_smallest(distances, NEAREST)
        spread = np.linspace(0, len(distances) - 1, min(SAMPLE, len(distances)))
        return self.finder.find(
            nearest,
            distances[nearest].astype(np.float64),
            None if views.grids is None else views.grids[row],
            exact_distances(descriptor, self.cohort.descriptors).astype(np.float64),
            distances[np.unique(spread.round().astype(int))].astype(np.float64),
        )

    def is_right(self, place: int, right: frozenset[int] | None) -> bool:
        """Whether a place is within the tolerance of one that the frame shows."""
        if not right:
            return False
        if self.graph.step > 0:  # `right` holds all places within the metres of the tolerance
            return place in right
        reach = tolerance_steps(0.0)
        spot = self.graph.spot
        return any(abs(spot[place] - spot[r]) <= reach for r in right if r < len(spot))


@dataclass(frozen=True, eq=False)
class Example:
    """One frame by itself. values: signals of its groups (G, S).

    right: which group shows a right place (G,); None where the frame was taken elsewhere.
    elsewhere: kind of that place.  anywhere: nothing is known but that the frame is of the route.
    """

    route: str
    kind: str
    elsewhere: str
    values: NDArray[np.float64]
    right: NDArray[np.bool_] | None
    anywhere: bool = False


def examples(ground: Ground, others: list[Elsewhere]) -> Iterator[Example]:
    """Single frames of all drives of a route, a third of them, and of other places."""
    route = ground.route
    for drive in route.drives:
        for row in range(0, len(drive.views), 3 if len(drive.views) > 150 else 1):
            found = ground.found(drive.views, row)
            right = [ground.is_right(group.best, drive.right[row]) for group in found.groups]
            yield Example(route.name, route.kind, "", found.signals.values, np.array(right))
    for other in others:
        for row in range(0, len(other.views), max(1, len(other.views) // VIEWS)):
            found = ground.found(other.views, row)
            yield Example(route.name, route.kind, other.kind, found.signals.values, None)


@dataclass(frozen=True, eq=False)
class Belonging:
    """One frame along a run: the signals of the track, and whether the place is right.

    on: whether the frame shows a place of the map.  fresh: whether it was the first of its run or
    after a kidnap that many frames ago, see `since`.
    """

    route: str
    kind: str
    scenario: str
    tag: str
    elsewhere: str
    since: int
    on: bool
    right: bool
    off: float
    signals: NDArray[np.float64]


def follow(ground: Ground, run: Run, weights: EvidenceWeights) -> Iterator[Belonging]:
    """Let a sequence follow a run."""
    route, graph = ground.route, ground.graph
    finder = ground.finder
    sequence = Sequence(graph, ground.scale, weights, route.positions is not None)
    for number, shot in enumerate(run.shots):
        find = _finding(ground, shot)
        descriptor = shot.views.descriptors[shot.row]
        stamp = number * PERIOD_NS
        estimate, signals = sequence.take(descriptor, stamp, shot.travelled, find)
        place = int(graph.places_of(np.array([estimate.spot]))[0])
        yield Belonging(
            route.name,
            route.kind,
            run.scenario,
            run.tag,
            run.elsewhere,
            number % SEGMENT if run.scenario == "kidnapped" else number,
            shot.right is not None,
            ground.is_right(place, shot.right),
            estimate.off,
            signals,
        )
    assert finder is ground.finder


def _finding(ground: Ground, shot: Shot) -> Callable[[], Found]:
    return lambda: ground.found(shot.views, shot.row)


def runs(route: Route, others: list[Elsewhere]) -> Iterator[Run]:
    """Every kind of drive that a localizer has to live with."""
    for drive in route.drives:
        yield from _on_route(drive)
    for number, other in enumerate(others):
        drive = route.drives[number % len(route.drives)]
        yield _inserted(drive, other)
        shots = [Shot(other.views, row, None) for row in range(min(len(other.views), 200))]
        yield Run("elsewhere", other.name, other.kind, shots)
        for view in np.linspace(0, len(other.views) - 1, PARKED_VIEWS):
            parked = [Shot(other.views, round(view), None)] * PARKED_FRAMES
            yield Run("parked elsewhere", other.name, other.kind, parked)


def _on_route(drive: DriveViews) -> Iterator[Run]:
    shots = [Shot(drive.views, row, right) for row, right in enumerate(drive.right)]
    yield Run("plain", drive.name, "", shots)
    if drive.travelled is not None:
        metres = drive.travelled
        for name, order in (("odometry", 1), ("reverse, odometry", -1)):
            driven = [s._replace(travelled=float(m)) for s, m in zip(shots, metres, strict=True)]
            yield Run(name, drive.name, "", driven[::order])
    if len(shots) >= 2 * SEGMENT:
        yield Run(f"every {FAST}th", drive.name, "", shots[::FAST])
        yield Run("reverse", drive.name, "", shots[::-1])
        segments = [shots[i : i + SEGMENT] for i in range(0, len(shots) - SEGMENT + 1, SEGMENT)]
        mixed = np.random.default_rng(1).permutation(len(segments))
        yield Run("kidnapped", drive.name, "", [shot for i in mixed for shot in segments[i]])
    yield Run("eight times", drive.name, "", [shot for shot in shots[:60] for _ in range(8)])
    stops = [STOP_FRAMES if i % STOP_EVERY == STOP_EVERY - 1 else 1 for i in range(len(shots))]
    stopping = [shot for shot, times in zip(shots, stops, strict=True) for _ in range(times)]
    yield Run("stops", drive.name, "", stopping[: 20 * STOP_FRAMES])


def _inserted(drive: DriveViews, other: Elsewhere) -> Run:
    shots = [Shot(drive.views, row, right) for row, right in enumerate(drive.right)]
    middle, around = len(shots) // 2, STRETCH // 2
    foreign = [Shot(other.views, row, None) for row in range(min(len(other.views), STRETCH))]
    before, after = shots[max(0, middle - around) : middle], shots[middle : middle + around]
    return Run("inserted", f"{drive.name} + {other.name}", other.kind, before + foreign + after)
