"""A frame's pose by the points of its map, and what finding them says of the place.

The witness of points is a likelihood ratio of its own: the evidence of descriptors is fitted on
maps without points. Points that are found speak for the place by how many agree. Points that are
not found speak against it as far as this drive's were found so far: by night SIFT finds none, so
that a drive whose points were never found says nothing by their absence.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.transforms import IDENTITY
from saane_ros.errors import SaaneError
from saane_ros.localization.candidates import representatives
from saane_ros.localization.evidence import Testimony
from saane_ros.localization.sequence import neighbourhood
from saane_ros.metric.cameras import Camera, camera_with
from saane_ros.metric.features import Keypoints, LocalFeatures, RootSift
from saane_ros.metric.loading import load_features
from saane_ros.metric.pnp import Refinement, Refiner, Watch
from saane_ros.metric.triangulation import PLACE_POINTS
from saane_ros.route_map.place_graph import PlaceGraph
from saane_ros.route_map.search import Nearest
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Embedding, Frame, PointsSeen, Pose

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Found: TypeAlias = "tuple[Pose, float | None]"
"""A pose by points, and the metres by odometry when it was taken."""

ASKED = 6
OF_SEARCH = 2
"""Places that an image is compared with at most, and how many of them are the nearest by descriptor
rather than the most probable ones."""
FOUND = ((10, 2.5), (25, 3.0), (40, 5.0))
"""Inliers from which on, and the natural logarithm of how much likelier so many are of an image
taken at the places than of one taken elsewhere. At the true places of four synthetic validation
towns and a drive of KITTI most images by day, dusk and rain have 30 to 60, and 5 of 210 by night
any. Of 1850 comparisons with images from elsewhere three were believed, with 28, 34 and 37 inliers:
of one town in another with the same facades, 1.4 % of the comparisons of that kind. The ratios are
set by hand below what these counts give, as a strange place may well look like one of the map."""
MEMORY = 0.8
"""Share of the earlier frames' say in how often this drive's points are found, a frame."""
MOST_FOUND = 0.7
"""What that is believed to be at most: one frame without points is 0.3 times as likely then."""

ZOOMS, ENOUGH = 15, 8
"""Last poses by which the focal length is judged, and how many are enough."""
ZOOM = 0.006
"""Median log of the factor on the focal length that fits better: beyond, the intrinsics are not
those of the camera. In the synthetic town it is 0.001 with the right ones; with a focal length 10 %
wrong it is 0.02, and poses are off by 2 m with a deviation of 5 cm."""

RECENT = 5
"""Last images whose poses a pose is compared with, by the metres between them."""
APART_M, APART_SHARE = 1.0, 0.1
"""What two poses may lie nearer or farther than was driven between them. Windows of one facade that
are taken for each other put a pose their distance of some metres off."""


@dataclass(frozen=True, eq=False)
class Look:
    """Keypoints of an image, what found them, its camera, and how much of its time is spent."""

    keypoints: Keypoints
    features: str
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
    settings: `weights` and `device` of the map's features, where these are a network.
    """

    def __init__(self, route_map: RouteMap, graph: PlaceGraph, settings: Settings) -> None:
        self._refiner: Refiner | None = None
        self._features: LocalFeatures = RootSift()
        self._graph = graph
        self._poses = route_map.poses()  # made one by one, when they are looked at
        self.told = "the map has no points"
        self._unusable = self._misfit = ""
        self._share = 0.0
        points, mount = route_map.points, route_map.info.camera
        self._camera: Camera | None = None
        self._zooms: deque[float] = deque(maxlen=ZOOMS)
        self._recent: deque[Found | None] = deque(maxlen=RECENT)
        self.there = points is not None
        if points is None:
            return
        self._counts = np.diff(points.starts)
        try:
            self._features = load_features(points.features, settings.weights, settings.device)
            self._refiner = Refiner(points, self._poses, mount or IDENTITY, self._features)
            self.told = ""
        except SaaneError as error:
            self._unusable = self.told = str(error)

    @property
    def fault(self) -> str:
        """Why there are no poses by points, of this map or with this camera; else empty."""
        return self._unusable or self._misfit or self.zoom_fault

    @property
    def zoom_fault(self) -> str:
        """A sentence where the poses so far would rather have another focal length; else empty."""
        zoom = float(np.median(self._zooms)) if len(self._zooms) >= ENOUGH else 0.0
        if self._camera is None or abs(zoom) <= ZOOM:
            return ""
        return (
            f"By the map's points a focal length of {self._camera.focal:.0f} pixels is too "
            f"{'short' if zoom > 0 else 'long'}: check the camera's intrinsics."
        )

    @property
    def usable(self) -> bool:
        """Whether there are points that images can be compared with."""
        return self._refiner is not None

    def reset(self) -> None:
        """A new drive, of which nothing is known."""
        self._share = 0.0
        self._zooms.clear()
        self._recent.clear()

    def look(
        self, frame: Frame, budget_ms: float, behind: Callable[[], bool] | None = None
    ) -> Look | None:
        """What points are looked for with; None where nothing tells the camera, or there is no
        time.

        behind: whether a newer frame waits, of a live drive; without it there is time.
        """
        self._misfit = ""
        if frame.camera is None:
            self.told = "nothing tells the camera's intrinsics"
            return None
        try:
            camera = camera_with(frame.camera).fitting(frame.image.shape)
        except SaaneError as error:
            self._misfit = self.told = str(error)
            return None
        if behind is not None and behind():
            self.told = "left out, as a newer image waits"
            return None
        watch = Watch(None if behind is None else budget_ms)
        keypoints = self._features.extract(frame.image)
        watch.step("features")
        return Look(keypoints, self._features.name, camera, watch)

    def inquiry(self, look: Look | None, nearest: Nearest) -> Inquiry:
        """Asks about one frame."""
        return Inquiry(self, self._graph, look, nearest)

    def ask(self, look: Look, places: Sequence[int]) -> Answer | None:
        """Compare with places (rows of the map); None where there was no time or nothing to see."""
        places = [place for place in places if self._counts[place] >= PLACE_POINTS]
        if self._refiner is None or not places:
            self.told = "the places have no points"
            return None
        if look.features != self._features.name:
            self.told = f"the image was looked at by {look.features}, for another map"
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
        self._judge(look.camera, found)
        apart = [
            math.inf if pose is None else math.dist(pose.position, found.pose.position)
            for pose in (self._poses[row] for row in places)
        ]
        return Answer(places, found, places[int(np.argmin(apart))])

    def agrees(self, answer: Answer | None, travelled: float | None) -> bool:
        """Whether an answer's pose goes with most of the last images', and one at least; noted.

        The first of a drive has none to go with. Where points are hardly ever found, as by night,
        the one pose that is found is mostly wrong.
        travelled: metres by odometry since any fixed moment; without it no two poses disagree.
        """
        if answer is None:
            return False
        earlier, first = [one for one in self._recent if one is not None], not self._recent
        found = answer.refinement
        here = None if found is None else (found.pose, travelled)
        self._recent.append(here)
        if here is None:
            return False
        agreeing = sum(_agree(here, one) for one in earlier)
        agreed = first or (agreeing > 0 and 2 * agreeing >= len(earlier))
        if not agreed:
            self.told = "waits for poses that agree"
        return agreed

    def _judge(self, camera: Camera, found: Refinement) -> None:
        """Note what focal length a pose would rather have."""
        if camera != self._camera:
            self._zooms.clear()
        self._camera = camera
        self._zooms.append(found.zoom)

    def log_ratio(self, inliers: int) -> float:
        """Log likelihood ratio of an answer, at its places against anywhere else; it is counted."""
        against = math.log(1 - min(self._share, MOST_FOUND))
        self._share = MEMORY * self._share + (1 - MEMORY) * (inliers > 0)
        if not inliers:
            return against
        return max(ratio for least, ratio in FOUND if inliers >= least)


def _agree(one: Found, other: Found) -> bool:
    """Whether two poses lie as far from each other as was driven between them."""
    (here, now), (there, before) = one, other
    if now is None or before is None or not math.isfinite(now - before):
        return True
    driven = abs(now - before)
    apart = math.dist(here.position, there.position)
    return abs(apart - driven) <= APART_M + APART_SHARE * driven


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
        rows = representatives(self._graph, probable, self._nearest)
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
