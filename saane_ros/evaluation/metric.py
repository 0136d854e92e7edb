"""How exactly a map's points tell where a camera is, and how seldom they speak of other places."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.images.folders import ImageFolder
from saane_ros.data.poses.files import rotation_of
from saane_ros.data.poses.transforms import IDENTITY
from saane_ros.metric.cameras import PLUMB_BOB, Camera, camera_of
from saane_ros.metric.features import MOST_OF_MAP, LocalFeatures
from saane_ros.metric.loading import load_features
from saane_ros.metric.pnp import Refinement, Refiner
from saane_ros.metric.store import Points
from saane_ros.metric.triangulation import View, triangulate
from saane_ros.progress import progress
from saane_ros.simulation import Town, Traverse
from saane_ros.simulation.camera import MOUNT_HEIGHT_M
from saane_ros.simulation.streets import LANE_M
from saane_ros.types import Frame, Pose, Rgb
from saane_ros.weights.feature_cards import ROOTSIFT

LOOKED_AT = 6
"""Places that an image is compared with, the nearest by its true pose: what a localizer that knows
the place would name."""
TOWN_LENGTH_M = 200.0
PLACE_EVERY_M, QUERY_EVERY_M = 2.0, 4.0
CONDITIONS = ("day", "dusk", "rain", "night")
HEADER = (
    f"{'query':<16} {'images':>6} {'refined':>8} {'cm median':>10} {'95 %':>7} {'deg median':>11} "
    f"{'95 %':>6} {'NEES':>6} {'ms':>6} {'95 %':>6}"
)
"""NEES: median of e' C^-1 e over 6, e over (x, y, z, roll, pitch, yaw); 0.89 where C is right."""


@dataclass(frozen=True, eq=False)
class Mapped:
    """A drive with points. camera: what took its images.  mount: its pose on the body.

    features: for queries.  seconds: that finding keypoints and triangulating took.
    """

    points: Points
    poses: list[Pose]
    camera: Camera
    mount: Pose
    features: LocalFeatures
    seconds: float = 0.0

    @property
    def refiner(self) -> Refiner:
        """Takes the time that it needs."""
        return Refiner(self.points, self.poses, self.mount, self.features, budget_ms=None)


@dataclass(frozen=True)
class Row:
    """What became of the images of a query. errors: (n, 3) of those refined, centimetres, degrees
    and NEES / 6.  timings: milliseconds of each (images,).
    """

    name: str
    images: int
    errors: NDArray[np.float64]
    timings: NDArray[np.float64]

    def __str__(self) -> str:
        share = f"{self.name:<16} {self.images:>6} {len(self.errors) / self.images:>8.1%}"
        if not len(self.errors):
            return share
        (cm, deg, nees), (cm95, deg95, _) = np.percentile(self.errors, [50, 95], axis=0)
        ms, ms95 = np.percentile(self.timings, [50, 95])
        return (
            f"{share} {cm:>10.2f} {cm95:>7.1f} {deg:>11.3f} {deg95:>6.2f} {nees:>6.2f} {ms:>6.1f} "
            f"{ms95:>6.1f}"
        )


def mapped(
    frames: Iterable[Frame], camera: Camera, mount: Pose, card: str = ROOTSIFT, weights: str = ""
) -> Mapped:
    """Triangulate a drive; SaaneError where it gives no points.

    card: of local features.  weights: folder looked into first for theirs.
    """
    features = load_features(card, weights, most=MOST_OF_MAP)
    posed = [frame for frame in frames if frame.pose is not None]
    began = time.perf_counter()
    views = [View(frame.pose, features.extract(frame.image)) for frame in posed]
    points, adjusted = triangulate(views, camera, mount, features)
    seconds = time.perf_counter() - began
    poses = [pose for pose in adjusted if pose is not None]
    return Mapped(points, poses, camera, mount, load_features(points.features, weights), seconds)


def measured(name: str, built: Mapped, queries: Sequence[Frame]) -> Row:
    """Refine every query at the places next to its true pose."""
    at = np.array([pose.position for pose in built.poses])
    refiner = built.refiner
    errors, timings = [], []
    for frame in progress(queries, name, unit="image", delay_s=2.0):
        assert frame.pose is not None, "queries of a drive with poses have one"
        near = np.argsort(np.linalg.norm(at - frame.pose.position, axis=1))[:LOOKED_AT]
        found = refiner.refine(frame.image, built.camera, near.tolist())
        if found is not None:
            errors.append(error_of(found, frame.pose))
            timings.append(sum(found.timings_ms.values()))
    return Row(name, len(queries), np.array(errors).reshape(-1, 3), np.array(timings))


def error_of(found: Refinement, truth: Pose) -> tuple[float, float, float]:
    """Centimetres, degrees, and NEES / 6 by the covariance."""
    shift = np.subtract(found.pose.position, truth.position)
    turn = rotation_of(found.pose.orientation) @ rotation_of(truth.orientation).T
    # Small turns about the axes of the map.
    about = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    angle = float(np.arctan2(np.linalg.norm(about) / 2, (np.trace(turn) - 1) / 2))
    both = np.concatenate([shift, about / 2])
    covariance = np.array(found.covariance).reshape(6, 6)
    nees = float(both @ np.linalg.solve(covariance, both)) / 6
    return 100 * float(np.linalg.norm(shift)), float(np.degrees(angle)), nees


def town_map(seed: int, card: str = ROOTSIFT, weights: str = "") -> tuple[Town, Mapped]:
    """A drive by day in the right lane of a synthetic town."""
    town = Town(seed, TOWN_LENGTH_M)
    traverse = Traverse(town, "day", seed=100 * seed, lateral_m=-LANE_M)
    simulated = traverse.camera
    k = simulated.matrix.ravel().tolist()
    camera = camera_of(simulated.width, simulated.height, PLUMB_BOB, k, (), "The synthetic town")
    mount = replace(IDENTITY, position=(0.0, 0.0, MOUNT_HEIGHT_M))
    return town, mapped(_frames(traverse, PLACE_EVERY_M), camera, mount, card, weights)


def town_queries(town: Town, condition: str) -> list[Frame]:
    """A drive in the other lane, among other traffic."""
    number = 1 + CONDITIONS.index(condition)
    traverse = Traverse(town, condition, seed=100 * town.seed + number, lateral_m=LANE_M)
    return _frames(traverse, QUERY_EVERY_M)


def folder_parts(folder: ImageFolder, every: int) -> tuple[list[Frame], list[Frame]]:
    """Every so many-th image for the map, and all others as queries."""
    frames = list(folder.frames())
    return frames[::every], [frame for i, frame in enumerate(frames) if i % every]


def foreign(built: Mapped, images: Iterable[Rgb]) -> tuple[int, int, int]:
    """Images of other places tried and refined, and comparisons: each at the places of many a
    stretch of the map.

    An image is taken for one of a camera with the field of view of the map's.
    """
    refiner = built.refiner
    tried, believed, compared = 0, 0, 0
    for image in images:
        height, width = image.shape[:2]
        focal = built.camera.focal * width / built.camera.width
        k = (focal, 0.0, (width - 1) / 2, 0.0, focal, (height - 1) / 2, 0.0, 0.0, 1.0)
        camera = Camera(width, height, PLUMB_BOB, k)
        keypoints = built.features.extract(image)
        several = [
            refiner.candidate(
                keypoints, camera, range(start, min(start + LOOKED_AT, len(built.poses)))
            )
            for start in range(0, max(1, len(built.poses) - LOOKED_AT + 1), 2 * LOOKED_AT)
        ]
        tried, compared = tried + 1, compared + len(several)
        believed += sum(one is not None and one.credible(camera) for one in several)
    return tried, believed, compared


def _frames(traverse: Traverse, every: float) -> list[Frame]:
    travelled = np.asarray(traverse.travelled)
    wanted = np.arange(0.0, travelled[-1], every)
    indices = np.unique([int(np.abs(travelled - s).argmin()) for s in wanted])
    return [traverse.render(int(i)).frame() for i in indices]
