"""A frame's pose by the points of its map, and what finding them says of the place.

The witness of points is a likelihood ratio of its own: the evidence of descriptors is fitted on
maps without points. Points that are found speak for the place by how many agree. Points that are
not found speak against it as far as this drive's were found so far: by night SIFT finds none, so
that a drive whose points were never found says nothing by their absence.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.transforms import IDENTITY
from saane_ros.errors import SaaneError
from saane_ros.localization.candidates import representative
from saane_ros.localization.evidence import Testimony
from saane_ros.localization.sequence import neighbourhood
from saane_ros.metric.cameras import Camera, camera_with
from saane_ros.metric.features import Keypoints, RootSift
from saane_ros.metric.pnp import Refinement, Refiner, Watch
from saane_ros.metric.triangulation import PLACE_POINTS
from saane_ros.route_map.place_graph import PlaceGraph
from saane_ros.route_map.search import Nearest
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Embedding, Frame, PointsSeen

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ASKED = 6
OF_SEARCH = 2
"""Places that an image is compared with at most, and how many of them are the nearest by descriptor
rather than the most probable ones."""
FOUND = ((10, 3.0), (15, 4.0), (25, 5.0))
"""Inliers from which on, and the natural logarithm of how much likelier so many are of an image
taken at the places than of one taken elsewhere."""
MEMORY = 0.8
"""Share of the earlier frames' say in how often this drive's points are found, a frame."""
MOST_FOUND = 0.7
"""What that is believed to be at most: one frame without points is 0.3 times as likely then."""


@dataclass(frozen=True, eq=False)
class Look:
    """Keypoints of an image, its camera, and how much of the image's time is spent."""

    keypoints: Keypoints
    camera: Camera
    watch: Watch

    @property
    def took_ms(self) -> float:
        """What finding the keypoints took."""
        return self.watch.timings_ms["features"]


@dataclass(frozen=True, eq=False)
class Seen(Embedding):
    """An embedding, and what points of a map are looked for with; None where they are not."""

    look: Look | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """What the points of some places say of an image.

    places: rows of the map that were compared.  refinement: of the map's body, as if it had the own
    camera; None where the points do not agree on a pose.  place: the compared one next to it.
    """

    places: Sequence[int]
    refinement: Refinement | None = None
    place: int | None = None

    @property
    def seen(self) -> PointsSeen:
        """For the match."""
        found = self.refinement
        if found is None:
            return PointsSeen(0)
        return PointsSeen(found.inliers, found.error, found.pixels, found.projected)


class MapPoints:
    """Compares the images of one drive with the points of a map; deterministic after `reset`.

    there: whether the map has any.
    told: what became of the last image, or why the points cannot be used; empty before.
    fault: a sentence where they cannot, of this map or with this camera; else empty.
    """

    def __init__(self, route_map: RouteMap, graph: PlaceGraph) -> None:
        self._refiner: Refiner | None = None
        self._features, self._graph = RootSift(), graph
        self._poses = route_map.poses()
        self.fault, self.told = "", "the map has no points"
        self._share = 0.0
        points, mount = route_map.points, route_map.info.camera
        self.there = points is not None
        if points is None:
            return
        self._counts = np.diff(points.starts)
        try:
            self._refiner = Refiner(points, self._poses, mount or IDENTITY, self._features)
            self.told = ""
        except SaaneError as error:
            self.fault = self.told = str(error)

    @property
    def usable(self) -> bool:
        """Whether there are points that images can be compared with."""
        return self._refiner is not None

    def reset(self) -> None:
        """A new drive, of which nothing is known."""
        self._share = 0.0

    def look(
        self, frame: Frame, budget_ms: float, behind: Callable[[], bool] | None = None
    ) -> Look | None:
        """What points are looked for with; None where nothing tells the camera, or there is no
        time.

        behind: whether a newer frame waits, of a live drive; without it there is time.
        """
        self.fault = ""
        if frame.camera is None:
            self.told = "nothing tells the camera's intrinsics"
            return None
        try:
            camera = camera_with(frame.camera).fitting(frame.image.shape)
        except SaaneError as error:
            self.fault = self.told = str(error)
            return None
        if behind is not None and behind():
            self.told = "left out, as a newer image waits"
            return None
        watch = Watch(None if behind is None else budget_ms)
        keypoints = self._features.extract(frame.image)
        watch.step("features")
        return Look(keypoints, camera, watch)

    def inquiry(self, look: Look | None, nearest: Nearest) -> Inquiry:
        """Asks about one frame."""
        return Inquiry(self, self._graph, look, nearest)

    def ask(self, look: Look, places: Sequence[int]) -> Answer | None:
        """Compare with places (rows of the map); None where there was no time or nothing to see."""
        places = [place for place in places if self._counts[place] >= PLACE_POINTS]
        if self._refiner is None or not places:
            self.told = "the places have no points"
            return None
        found = None
        if not look.watch.spent:
            found = self._refiner.refine_seen(look.keypoints, look.camera, places, look.watch)
        if found is None:
            self.told = "not found"
            if look.watch.spent:
                self.told = "left out, as it takes longer than refine_budget_ms"
                return None
            return Answer(places)
        self.told = f"{found.inliers} points, {found.error:.1f} pixels"
        apart = [
            math.inf if pose is None else math.dist(pose.position, found.pose.position)
            for pose in (self._poses[row] for row in places)
        ]
        return Answer(places, found, places[int(np.argmin(apart))])

    def log_ratio(self, inliers: int) -> float:
        """Log likelihood ratio of an answer, at its places against anywhere else; it is counted."""
        against = math.log(1 - min(self._share, MOST_FOUND))
        self._share = MEMORY * self._share + (1 - MEMORY) * (inliers > 0)
        if not inliers:
            return against
        return max(ratio for least, ratio in FOUND if inliers >= least)


class Inquiry:
    """Asks the points of a map about one frame, once.

    answer: None as long as nobody asked, or it was in vain.  ms: what asking took.
    """

    def __init__(
        self, points: MapPoints, graph: PlaceGraph, look: Look | None, nearest: Nearest
    ) -> None:
        self._points, self._graph, self._nearest = points, graph, nearest
        self.look = look
        self.answer: Answer | None = None
        self.ms = 0.0
        self._asked = False

    def answer_at(self, spots: Ints, masses: Floats) -> Answer | None:
        """The answer, asked at the most probable of spots (S,) with their masses (S,)."""
        if self.look is None or self._asked:
            return self.answer
        self._asked = True
        start = time.perf_counter()
        probable = spots[np.argsort(-masses, kind="stable")][: ASKED - OF_SEARCH]
        rows = [representative(self._graph, int(spot), self._nearest) for spot in probable]
        rows += map(int, self._nearest.places[:OF_SEARCH])
        self.answer = self._points.ask(self.look, list(dict.fromkeys(rows)))
        self.ms = 1e3 * (time.perf_counter() - start)
        return self.answer

    def testify(self, spots: Ints, masses: Floats) -> Testimony | None:
        """What the answer says of places: for that next to the pose, or against all asked."""
        answer = self.answer_at(spots, masses)
        if answer is None:
            return None
        places = answer.places if answer.place is None else [answer.place]
        near = [neighbourhood(self._graph, int(self._graph.spot[place])) for place in places]
        ratio = self._points.log_ratio(answer.seen.inliers)
        return Testimony(np.unique(np.concatenate(near)), ratio)


def with_look(embedding: Embedding, look: Look | None) -> Embedding:
    """An embedding together with what points are looked for with."""
    if look is None:
        return embedding
    values = {one.name: getattr(embedding, one.name) for one in fields(Embedding)}
    return Seen(**values, look=look)


def look_of(embedding: Embedding) -> Look | None:
    """What came with an embedding."""
    return embedding.look if isinstance(embedding, Seen) else None
