"""The values that travel from a camera message to a place match."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
"""H x W x 3, RGB."""
GRID_SIDE = 14
"""Cells of the longer side of a feature grid: what stride 16 leaves of 224 pixels."""


@dataclass(frozen=True)
class Pose:
    """A pose in the map frame: metres, and a unit quaternion (x, y, z, w)."""

    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Intrinsics:
    """What a camera's pixels mean; `metric.cameras.Camera` computes with it.

    Size in pixels, and the name of a distortion model.  k: 3 x 3 row-major, fx 0 cx 0 fy cy 0 0 1.
    d: coefficients in CameraInfo's order.
    """

    width: int
    height: int
    model: str
    k: tuple[float, ...]
    d: tuple[float, ...] = ()


@dataclass(frozen=True)
class Frame:
    """One camera image with what is known of it.

    `travelled` is the distance in metres since the first frame, by odometry or by pose; driven
    backwards it falls.  camera: what took the image, None where nobody tells.
    """

    image: Rgb
    stamp_ns: int
    name: str = ""
    pose: Pose | None = None
    travelled: float | None = None
    camera: Intrinsics | None = None


@dataclass(frozen=True)
class Embedding:
    """What an embedder says of one image.

    descriptor: float32 (D,).
    attention: per modality ("appearance", "semantic") a float32 (h, w) map in [0, 1].
    labels: uint8 (H, W) class of every pixel, at the size of the network's input.
    grid: float32 (h, w, C) mid-level features that show what lies where in the image, at most
        `GRID_SIDE` cells a side; float16 and as many as the model has where they are its own local
        features (`TwoStage`); None where not asked for or the system has none.
    """

    descriptor: NDArray[np.float32]
    attention: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    labels: NDArray[np.uint8] | None = None
    grid: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class Place:
    """One reference image of a route map.

    along: metres along the route where the map tells it, as one of several drives does; otherwise
    it follows from the poses.
    """

    id: int
    name: str
    stamp_ns: int
    pose: Pose | None = None
    thumbnail: Path | None = None
    along: float | None = None


@dataclass(frozen=True)
class Candidates:
    """The k nearest places of one query, best first.

    places: int64 (k,), rows of the map.  distances: float32 (k,), Euclidean.
    ratio: second best distance over best, the second best outside the ratio window.
    """

    places: NDArray[np.int64]
    distances: NDArray[np.float32]
    ratio: float


class MatchState(Enum):
    LOCALIZED = "localized"
    UNCERTAIN = "uncertain"
    LOST = "lost"
    OFF_ROUTE = "off_route"


REFINED, BY_PLACE = "refined", "place"


@dataclass(frozen=True, eq=False)
class PointsSeen:
    """What comparing an image with the points of a map came to.

    inliers: matches that agree on one pose, 0 where none was found.  error: their root mean square
    reprojection error, pixels.  pixels, projected: of these matches, where the image shows a point
    and where the pose puts it, float32 (inliers, 2).
    """

    inliers: int
    error: float | None = None
    pixels: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 2), np.float32))
    projected: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 2), np.float32))


@dataclass(frozen=True)
class Match:
    """Where one frame was taken, as far as the localizer can tell.

    confidence: probability that the place is right, see `localization/localizer.py`.
    off_route: belief in being nowhere on the map.
    covariance: row-major 6 x 6 over (x, y, z, roll, pitch, yaw), only with a pose.
    probabilities: float32 (k,), belief in each of `candidates.places`.
    source: of the pose, REFINED by points of the map or BY_PLACE.  by_place: the pose and
    covariance of the places alone, whichever is told.
    points: None where the image was not compared with points.
    timings_ms: milliseconds by step ("embed", "search", "filter" with "rerank" in it where feature
    grids were compared, and "points" where the map's were looked for).
    """

    stamp_ns: int
    state: MatchState
    place: Place
    distance: float
    ratio: float
    confidence: float
    off_route: float
    candidates: Candidates
    probabilities: NDArray[np.float32]
    pose: Pose | None = None
    covariance: tuple[float, ...] | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    source: str = BY_PLACE
    by_place: tuple[Pose, tuple[float, ...]] | None = None
    points: PointsSeen | None = None
