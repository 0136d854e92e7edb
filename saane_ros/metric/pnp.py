"""The pose of a camera by the points that the matched places see: perspective-n-point.

A query's keypoints are matched with those of each place, P3P in LO-RANSAC finds the camera that
most matches agree on, and what they leave is minimised (pycolmap; Persson and Nordberg 2018, Chum
et al. 2003). A pose that too few matches carry, or that lies too far from its places, is refused.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.files import rotation_of
from saane_ros.data.poses.transforms import OPTICAL, compose, inverse
from saane_ros.errors import SaaneError
from saane_ros.metric.cameras import Camera
from saane_ros.metric.features import Keypoints, LocalFeatures
from saane_ros.metric.solving import (
    CERTAIN,
    LEAST_MATCHES,
    LOOKS,
    Candidate,
    Seen,
    Solver,
    nearest_only,
)
from saane_ros.metric.store import Points
from saane_ros.metric.triangulation import pycolmap
from saane_ros.types import Pose, Rgb

Array = NDArray[np.float64]

BUDGET_MS = 30.0
STARTS = 5
"""RANSACs of an image, as long as none is certain: the one with the most evidence counts."""
INFLATION = 2.0
"""Of the covariance: errors of points are common to their matches, which residuals do not tell.
By the errors on synthetic towns of validation seeds."""


@dataclass(frozen=True, eq=False)
class Refinement:
    """Where a camera's base is, by points of the map.

    covariance: row-major 6 x 6 over (x, y, z, roll, pitch, yaw), turns about the axes of the map,
    as `Match` has it.  inliers: matches that agree.  error: their root mean square reprojection
    error, pixels of the image.  timings_ms: by step ("features", "pose").  pixels, projected: of
    the inliers, where the image shows them and where the pose puts their points, (n, 2).
    zoom: natural log of the factor on the focal length that would fit better, where the pose
    adapts; a hint, as it is too small where the intrinsics are far off.
    """

    pose: Pose
    covariance: tuple[float, ...]
    inliers: int
    error: float
    timings_ms: dict[str, float]
    pixels: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 2), np.float32))
    projected: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 2), np.float32))
    zoom: float = 0.0


class Refiner:
    """Refines the pose of one image after another by the points of a map.

    poses: of the map's body, by place.  mount: the map's camera on that body, axes x forward, y
    left, z up.  own: the own camera on the robot's base, the same as `mount` by default.
    budget_ms: of an image; what has not found a pose by then gives up, None never does.
    Raises SaaneError where `features` are not those of the map, or pycolmap is not installed.
    """

    def __init__(
        self,
        points: Points,
        poses: Sequence[Pose | None],
        mount: Pose,
        features: LocalFeatures,
        own: Pose | None = None,
        budget_ms: float | None = BUDGET_MS,
    ) -> None:
        if points.features != features.name:
            raise SaaneError(
                f"The points of the map are of {points.features} features and {features.name} are "
                "loaded: load those, or build the map again."
            )
        self._colmap = pycolmap()
        self._points, self._poses, self._features = points, poses, features
        self._optical_on_body = compose(mount, OPTICAL)
        self._optical_on_base = compose(mount if own is None else own, OPTICAL)
        self._budget_ms = budget_ms

    def refine(self, image: Rgb, camera: Camera, places: Sequence[int]) -> Refinement | None:
        """The pose of the base when the image was taken; None where it cannot be told.

        places: rows of the map that the image may be at, a few. Raises SaaneError where the camera
        cannot have taken the image.
        """
        camera = camera.fitting(image.shape)
        watch = Watch(self._budget_ms)
        keypoints = self._features.extract(image)
        watch.step("features")
        return self.refine_seen(keypoints, camera, places, watch)

    def refine_seen(
        self, keypoints: Keypoints, camera: Camera, places: Sequence[int], watch: Watch
    ) -> Refinement | None:
        """The same of an image whose keypoints are known; camera: of this very image."""
        candidate = self.candidate(keypoints, camera, places, watch)
        watch.step("pose")
        if candidate is None or not candidate.credible(camera):
            return None
        return self._told(camera, candidate, watch.timings_ms)

    def candidate(
        self,
        keypoints: Keypoints,
        camera: Camera,
        places: Sequence[int],
        watch: Watch | None = None,
    ) -> Candidate | None:
        """The pose with the most evidence, believed or not; None where there is none in time."""
        seen = self._seen(places)
        if seen is None:
            return None
        pairs, distances = self._matched(keypoints, seen)
        if len(pairs) < LEAST_MATCHES:
            return None
        ideal = Solver(self._colmap, camera, keypoints.xy, np.array(seen.optical[0].position))
        best: Candidate | None = None
        for seed in range(STARTS):
            if watch is not None and watch.spent:
                break
            found = ideal.ransac(pairs, seen.points, seed)
            if found is None:
                continue
            rotation, offset, inlying = found
            # An image of the map's own drive is exactly like its place: what lies near counts.
            limit = LOOKS * float(np.median(distances[inlying])) or math.inf
            one = ideal.settled(rotation, offset, keypoints, seen, limit)
            if one is not None and (best is None or one.evidence > best.evidence):
                best = one
            if best is not None and best.evidence >= CERTAIN:
                break
        return best

    def _seen(self, places: Sequence[int]) -> Seen | None:
        """What all places see, in the map."""
        points, looks, optical = [], [], []
        for place in places:
            pose = self._poses[place]
            if pose is None:
                continue
            frame = compose(pose, self._optical_on_body)
            local, one = self._points.seen_at(place)
            points.append(local @ rotation_of(frame.orientation).T + frame.position)
            looks.append(one)
            optical.append(frame)
        return Seen(np.concatenate(points), looks, optical) if points else None

    def _matched(
        self, keypoints: Keypoints, seen: Seen
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows of keypoints and of points (m, 2) that look the same, and their distances (m,)."""
        pairs, distances, first = [], [], 0
        for one in seen.looks:
            matches = self._features.match(keypoints, one)
            pairs.append(matches.pairs + np.array([0, first]))
            distances.append(matches.distances)
            first += len(one)
        return nearest_only(np.concatenate(pairs), np.concatenate(distances))

    def _told(self, camera: Camera, found: Candidate, timings_ms: dict[str, float]) -> Refinement:
        """The pose of the base, by the camera's optical frame on it."""
        base = compose(found.pose, inverse(self._optical_on_base))
        local = found.points @ found.rotation.T + found.offset
        projected = camera.project(local)
        squares = float(((projected - found.xy) ** 2).sum())
        slope = jacobian(camera, found.rotation, local, found.points - np.array(base.position))
        scale = INFLATION * squares / (2 * len(local) - 6)
        covariance = tuple((scale * np.linalg.inv(slope.T @ slope)).ravel().tolist())
        error = math.sqrt(squares / len(local))
        zoom = zoom_of(camera, slope, projected, found.xy - projected)
        return Refinement(
            base,
            covariance,
            len(local),
            error,
            timings_ms,
            found.xy,
            projected.astype(np.float32),
            zoom,
        )


def jacobian(camera: Camera, rotation: Array, local: Array, arms: Array) -> Array:
    """How pixels move with the base, (2n, 6): metres and radians along and about the map's axes.

    rotation: map to camera.  local: points (n, 3) before the camera.  arms: points less the base's
    position, in the map. A turn t of the base about the map's axes moves p_local by R (arm x t).
    """
    step = 1e-5 * local[:, 2]
    by_local = np.empty((len(local), 2, 3))
    for axis in range(3):
        aside = np.outer(step, np.eye(3)[axis])
        across = camera.project(local + aside) - camera.project(local - aside)
        by_local[:, :, axis] = across / (2 * step[:, None])
    by_map = by_local @ rotation
    x, y, z = arms.T
    none = np.zeros(len(arms))
    cross = np.array([[none, -z, y], [z, none, -x], [-y, x, none]]).transpose(2, 0, 1)
    return np.concatenate([-by_map, by_map @ cross], axis=2).reshape(-1, 6)


def zoom_of(camera: Camera, slope: Array, projected: Array, off: Array) -> float:
    """Log of the factor on the focal length that fits better: one Gauss-Newton step with the pose.

    slope: `jacobian` (2n, 6).  projected: pixels (n, 2).  off: of the keypoints from these.
    """
    outwards = projected - [camera.k[2], camera.k[5]]
    both = np.column_stack([slope, outwards.ravel()])
    return float(np.linalg.lstsq(both, off.ravel(), rcond=None)[0][6])


class Watch:
    """Milliseconds by step, and whether a budget is spent; a budget of None never is."""

    def __init__(self, budget_ms: float | None) -> None:
        self.timings_ms: dict[str, float] = {}
        self._budget_ms = budget_ms
        self._began = self._last = time.perf_counter()

    def step(self, name: str) -> None:
        """Note how long a step took."""
        now = time.perf_counter()
        self.timings_ms[name] = (now - self._last) * 1e3
        self._last = now

    @property
    def spent(self) -> bool:
        """Whether no further step should begin."""
        elapsed = (time.perf_counter() - self._began) * 1e3
        return self._budget_ms is not None and elapsed > self._budget_ms
