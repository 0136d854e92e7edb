"""The camera that most matches of an image with points agree on, and how much speaks for it.

P3P in LO-RANSAC (pycolmap; Persson and Nordberg 2018, Chum et al. 2003) gives a first pose. By it,
what else looks alike is looked for where it should be, and all is adjusted together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.files import quaternion_of
from saane_ros.data.poses.transforms import turn_between
from saane_ros.metric.cameras import Camera
from saane_ros.metric.features import PIXELS, Keypoints
from saane_ros.types import Pose

Array = NDArray[np.float64]

INLIER_PX = 3.0
"""In pixels of the size in which features are found."""
LOSS_PX, FINE_LOSS_PX = 1.0, 0.25
"""Scale of the robust loss while a pose is looked for, and when it is told: most points lie well
within a pixel, and those that do not pull."""
TRIALS = 500
LEAST_MATCHES = 8
LEAST_AGREEING = 6
"""From here on a pose is worth a second look."""
GUIDED_PX = 8.0
GUIDED_ROUNDS = 2
PIXEL_SIGMA = 0.9
"""Standard deviation of a right match in one direction."""
LOOKS = 1.5
"""Times the median distance of matches that agree: what else looks alike by a pose."""
LEAST_EVIDENCE, CERTAIN = 30.0, 50.0
"""See `evidence_of`: a pose is told from the first on, no other is looked for from the second."""
LEAST_INLIERS = 10
SPREAD_CELLS = 5
"""Of 4 x 4 over the image, that inliers lie in: a facade that is alike, a sign or a bus is not it.
Of the right poses of two synthetic validation towns hardly one lies in fewer."""
REACH_M = 12.0
REACH_TURN = np.radians(60.0)
"""From the nearest of its places."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A pose before it is believed: p_optical = rotation @ p_map + offset.

    xy: pixels (n, 2) of the matches that agree.  points: theirs in the map (n, 3).  optical: of
    the places that were looked at.  evidence: see `evidence_of`.
    """

    rotation: Array
    offset: Array
    xy: NDArray[np.float32]
    points: Array
    optical: list[Pose]
    evidence: float

    @property
    def pose(self) -> Pose:
        """Of the camera's optical frame in the map."""
        x, y, z = (-self.rotation.T @ self.offset).tolist()
        return Pose((x, y, z), quaternion_of(self.rotation.T))

    def cells(self, camera: Camera) -> int:
        """Of 4 x 4 over the image, how many have a match."""
        return len(np.unique((self.xy * 4 // [camera.width, camera.height]) @ [1, 4]))

    def near(self) -> bool:
        """Whether it lies by one of its places, and looks its way."""
        here = self.pose
        return any(
            math.dist(here.position, there.position) <= REACH_M
            and turn_between(here, there) <= REACH_TURN
            for there in self.optical
        )

    def credible(self, camera: Camera) -> bool:
        """The rule: of images of other places, below 1 in 1,000 passes."""
        return (
            len(self.xy) >= LEAST_INLIERS
            and self.evidence >= LEAST_EVIDENCE
            and self.cells(camera) >= SPREAD_CELLS
            and self.near()
        )


@dataclass(frozen=True, eq=False)
class Seen:
    """points: (m, 3) of the map, place after place as `looks`.  optical: poses of the places."""

    points: Array
    looks: list[Keypoints]
    optical: list[Pose]


class Solver:
    """PnP in the pixels of a camera without distortion, centred; points from a zero nearby."""

    def __init__(self, colmap: Any, camera: Camera, xy: NDArray[np.float32], zero: Array) -> None:
        self._colmap, self._camera, self._zero = colmap, camera, zero
        self._pixels = camera.rays(xy) * camera.focal
        self._known = np.asarray(np.isfinite(self._pixels).all(axis=1))
        self._unit = max(1.0, (camera.width * camera.height / PIXELS) ** 0.5)
        self._model = colmap.Camera.create_from_model_name(
            1, "SIMPLE_PINHOLE", camera.focal, camera.width, camera.height
        )
        self._model.params = [camera.focal, 0.0, 0.0]

    def ransac(
        self, pairs: NDArray[np.int64], points: Array, seed: int
    ) -> tuple[Array, Array, NDArray[np.int64]] | None:
        """Rotation, offset, and the rows of `pairs` that agree."""
        rows = np.flatnonzero(self._known[pairs[:, 0]])
        options = self._colmap.AbsolutePoseEstimationOptions()
        options.ransac.max_error = INLIER_PX * self._unit
        options.ransac.max_num_trials = TRIALS
        options.ransac.random_seed = seed
        used = pairs[rows]
        answer = self._colmap.estimate_absolute_pose(
            self._pixels[used[:, 0]], points[used[:, 1]] - self._zero, self._model, options
        )
        if answer is None or answer["num_inliers"] < LEAST_AGREEING:
            return None
        mask = np.asarray(answer["inlier_mask"], bool)
        return (*self._split(answer["cam_from_world"]), rows[mask])

    def settled(
        self, rotation: Array, offset: Array, keypoints: Keypoints, seen: Seen, limit: float
    ) -> Candidate | None:
        """A first pose made better by what else matches where it says; None where too little."""
        for _ in range(GUIDED_ROUNDS):
            pairs = self.guided(rotation, offset, keypoints, seen, limit)
            again = self.refined(rotation, offset, pairs, seen.points)
            if again is None:
                return None
            rotation, offset, inlying = again
        evidence = evidence_of(self.residuals(rotation, offset, pairs, seen.points))
        told = self.refined(rotation, offset, pairs, seen.points, FINE_LOSS_PX)
        if told is None:
            return None
        rotation, offset, inlying = told
        xy, points = keypoints.xy[pairs[inlying, 0]], seen.points[pairs[inlying, 1]]
        return Candidate(rotation, offset, xy, points, seen.optical, evidence)

    def refined(
        self,
        rotation: Array,
        offset: Array,
        pairs: NDArray[np.int64],
        points: Array,
        loss_px: float = LOSS_PX,
    ) -> tuple[Array, Array, NDArray[np.int64]] | None:
        """The same, from a pose and pairs that fit it, by least squares with a robust loss."""
        if len(pairs) < LEAST_AGREEING:
            return None
        start = np.column_stack([rotation, offset + rotation @ self._zero])
        mine, theirs = self._pixels[pairs[:, 0]], points[pairs[:, 1]]
        options = self._colmap.AbsolutePoseRefinementOptions()
        options.loss_function_scale = loss_px * self._unit
        everything = np.ones(len(pairs), bool)
        answer = self._colmap.refine_absolute_pose(
            self._colmap.Rigid3d(start), mine, theirs - self._zero, everything, self._model, options
        )
        if answer is None:
            return None
        rotation, offset = self._split(answer["cam_from_world"])
        off = self.residuals(rotation, offset, pairs, points)
        return rotation, offset, np.flatnonzero(off < INLIER_PX)

    def residuals(
        self, rotation: Array, offset: Array, pairs: NDArray[np.int64], points: Array
    ) -> Array:
        """How far keypoints lie from where their points project to (m,), in units of a pixel."""
        at = self._projected(rotation, offset, points[pairs[:, 1]])
        off: Array = np.linalg.norm(at - self._pixels[pairs[:, 0]], axis=1) / self._unit
        return off

    def guided(
        self, rotation: Array, offset: Array, keypoints: Keypoints, seen: Seen, limit: float
    ) -> NDArray[np.int64]:
        """Pairs (m, 2) of keypoints and points that look alike where a pose projects them to."""
        at = self._projected(rotation, offset, seen.points)
        reach = GUIDED_PX * self._unit
        # Not every pair is compared: keypoints in order of their x, and the stretch of each point.
        order = np.argsort(np.where(self._known, self._pixels[:, 0], np.inf))[: self._known.sum()]
        xs, ys = np.ascontiguousarray(self._pixels[order].T)
        across, down = np.ascontiguousarray(at.T)
        low, high = np.searchsorted(xs, across - reach), np.searchsorted(xs, across + reach)
        counts = np.where(np.isfinite(across), high - low, 0)
        theirs = np.repeat(np.arange(len(at)), counts)
        within = np.arange(len(theirs)) - np.repeat(np.cumsum(counts) - counts, counts)
        mine = np.repeat(low, counts) + within
        beside = np.flatnonzero(np.abs(ys[mine] - down[theirs]) < reach)
        mine, theirs = mine[beside], theirs[beside]
        close = np.hypot(xs[mine] - across[theirs], ys[mine] - down[theirs]) < reach
        mine, theirs = order[mine[close]], theirs[close]
        looks = np.concatenate([one.descriptors for one in seen.looks])
        apart = keypoints.descriptors[mine].astype(np.float32) - looks[theirs]
        distances = np.sqrt((apart * apart).sum(axis=1))
        good = distances < limit
        return nearest_only(np.column_stack([mine, theirs])[good], distances[good])[0]

    def _projected(self, rotation: Array, offset: Array, points: Array) -> Array:
        local = points @ rotation.T + offset
        with np.errstate(divide="ignore", invalid="ignore"):
            at = self._camera.focal * local[:, :2] / local[:, 2:]
        at[local[:, 2] <= 0] = np.nan
        return np.asarray(at)

    def _split(self, cam_from_world: Any) -> tuple[Array, Array]:
        matrix = np.asarray(cam_from_world.matrix())
        return matrix[:, :3], matrix[:, 3] - matrix[:, :3] @ self._zero


def nearest_only(
    pairs: NDArray[np.int64], distances: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """A keypoint that several points look like is the one that looks most like it."""
    order = np.argsort(distances, kind="stable")
    _, first = np.unique(pairs[order, 0], return_index=True)
    return pairs[order[first]], distances[order[first]]


def evidence_of(residuals: Array) -> float:
    """How much likelier pairs are by this pose than by chance, natural logarithm.

    residuals: pixels (m,) within a disc of GUIDED_PX, over which pairs by chance lie evenly. By the
    right pose a share of them, the one that fits best, is normal about their points. Counts of
    inliers do not tell these apart, as a disc holds many pairs by chance where much looks alike.
    """
    squares = np.minimum(residuals, GUIDED_PX) ** 2
    against = GUIDED_PX**2 / (2 * PIXEL_SIGMA**2) * np.exp(-squares / (2 * PIXEL_SIGMA**2))
    share = np.linspace(0.0, 0.99, 34)[:, None]
    return float(np.log(1 - share + share * against[None, :]).sum(axis=1).max())
