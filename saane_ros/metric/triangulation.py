"""Points in space by the images and poses of a map's drive, through pycolmap.

Keypoints of neighbouring places are matched; a pair is kept where an essential matrix explains it,
whatever the poses say. Then the drive's poses are held and the points are triangulated and adjusted
(Schoenberger and Frahm 2016). Poses that do not explain the images are first adjusted together with
points (`adjustment`). The map then tells the adjusted ones: a camera that is found by the points
has to be where the map says it is.

What cannot be triangulated raises NoPoints with one sentence; a map is then built without points.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.files import quaternion_of, rotation_of
from saane_ros.data.poses.transforms import OPTICAL, compose, inverse, turn_between
from saane_ros.errors import SaaneError
from saane_ros.metric.adjustment import MEAN_ERROR_PX, adjust, freed_focal, judged, moved
from saane_ros.metric.cameras import Camera
from saane_ros.metric.features import PIXELS, Keypoints, LocalFeatures, Matches, spread
from saane_ros.metric.store import STEPS_A_PIXEL, Points, row_type
from saane_ros.progress import progress
from saane_ros.types import Pose

Array = NDArray[np.float64]

STEPS = (1, 2, 3, 4, 6)
"""Places further along the drive that each is matched with."""
AGAIN = 2
"""Nearest places of another pass that each is matched with."""
REACH_M = 25.0
TURN = np.radians(45.0)
"""Further apart or turned, two places are not matched."""
STOOD_M = 0.05
"""Nearer, two places have no parallax: the drive stood, or turned on the spot."""
PAIR_MATCHES = 15
HELD_ERROR_PX = 0.7
"""Of `judged`. Below it, poses explain the images and stay as they are told; above, they are
adjusted. Exact poses have 0.3 to 0.65, those off by 2 cm and 0.1 degrees 0.7 to 0.8."""
ROUNDS = 2
"""Of triangulation and adjustment: by better poses more points are found."""
WIDER = 2.0
"""Points are first sought so many times as far off as the poses' error."""
MOST_MOVED_M, MOST_TURNED_DEG = 0.5, 3.0
"""In the median; poses that have to be moved further are not off but wrong."""
POINT_PX = 1.0
"""A point that is seen further from where it projects to is no point."""
ANGLE_DEG = 1.0
"""Between the rays to a point: below, its distance is a guess."""
PLACE_POINTS = 20
LEAST_SHARE = 0.3
"""A map has points where this share of its places sees this many."""
MOST_PER_PLACE = 170


class NoPoints(SaaneError):  # noqa: N818
    """Why a drive gives no points; its map is built without."""


@dataclass(frozen=True, eq=False)
class View:
    """One place of the drive. pose: of the body in the map; None where unknown."""

    pose: Pose | None
    keypoints: Keypoints


def drive_points(
    views: Sequence[View],
    camera: Camera | None,
    shapes: Collection[tuple[int, int]],
    mount: Pose | None,
    features: LocalFeatures,
) -> tuple[Points, list[Pose | None]]:
    """What `triangulate` gives, of a drive that may lack what it needs.

    shapes: heights and widths of the images, all different ones. Raises NoPoints, SaaneError.
    """
    if camera is None:
        raise NoPoints(
            "The map has no points, as the intrinsics of its camera are not known: record its "
            "CameraInfo, or give a file of them."
        )
    if mount is None:
        raise NoPoints(
            "The map has no points, as nobody told where the camera sat on what the poses are of: "
            "give its pose."
        )
    if len(shapes) != 1:
        raise NoPoints("The map has no points, as its images are of several sizes: give one size.")
    return triangulate(views, camera.fitting(next(iter(shapes))), mount, features)


def triangulate(
    views: Sequence[View],
    camera: Camera,
    mount: Pose,
    features: LocalFeatures,
) -> tuple[Points, list[Pose | None]]:
    """Points of a drive's places in route order, and the poses by which they are seen.

    These are the views' own where they explain the images, else adjusted with the own as prior.
    camera: what took the images.  mount: its pose on the body, axes x forward, y left, z up.
    Raises NoPoints, and SaaneError where pycolmap is not installed.
    """
    colmap = pycolmap()
    optical = compose(mount, OPTICAL)
    posed = [i for i, view in enumerate(views) if view.pose is not None]
    if len(posed) < 2:
        raise NoPoints("The map has no points, as fewer than two places have a pose.")
    cameras = {i: compose(pose, optical) for i in posed if (pose := views[i].pose) is not None}
    poses = [views[i].pose for i in posed]
    pairs = neighbours([pose for pose in poses if pose is not None])
    if not pairs:
        raise NoPoints(
            "The map has no points, as the drive shows nothing from two sides: it stood, turned on "
            f"the spot, or its places lie more than {REACH_M:g} m apart."
        )
    rays = {i: camera.rays(views[i].keypoints.xy) for i in posed}
    ideal = _Ideal(colmap, camera, rays)
    matched: dict[tuple[int, int], NDArray[np.int64]] = {}
    for number, first in enumerate(progress(posed, "points", unit="place", delay_s=2.0)):
        for other in pairs.get(number, ()):
            second = posed[other]
            found = features.match(views[first].keypoints, views[second].keypoints)
            kept = ideal.verified(first, second, found)
            if len(kept) >= PAIR_MATCHES:
                matched[first, second] = kept
    if not matched:
        raise NoPoints(
            "The map has no points, as neighbouring images have too little in common: place them "
            "nearer to each other."
        )
    adjusted = ideal.explaining(matched, cameras)
    found = ideal.triangulated(matched, adjusted, POINT_PX)
    points = _selected(views, found, ideal.zero, adjusted, camera, features)
    if adjusted is cameras:
        return points, [view.pose for view in views]
    bodies = {i: compose(pose, inverse(optical)) for i, pose in adjusted.items()}
    told = {i: pose for i in posed if (pose := views[i].pose) is not None}
    return replace(points, moved=moved(told, bodies)), [bodies.get(i) for i in range(len(views))]


def pycolmap() -> Any:
    """The library; SaaneError where it is not installed."""
    try:
        import pycolmap as library
    except ImportError:
        raise SaaneError(
            "Points of a map need pycolmap, which is missing: pip install 'saane_ros[metric]'."
        ) from None
    library.logging.minloglevel = int(library.logging.Level.ERROR)
    return library


def neighbours(poses: Sequence[Pose]) -> dict[int, list[int]]:
    """By place, the later places to match it with: along the drive, and of another pass."""
    at = np.array([pose.position for pose in poses])
    found: dict[int, list[int]] = {}
    for i in range(len(poses)):
        apart = np.linalg.norm(at - at[i], axis=1)
        ahead = [i + step for step in STEPS if i + step < len(poses)]
        passes = np.flatnonzero(np.arange(len(poses)) > i + max(STEPS) * 2)
        near = passes[np.argsort(apart[passes], kind="stable")[:AGAIN]].tolist()
        found[i] = [
            j
            for j in (*ahead, *near)
            if STOOD_M < apart[j] < REACH_M and turn_between(poses[i], poses[j]) < TURN
        ]
    return {i: some for i, some in found.items() if some}


class _Ideal:
    """Keypoints as pixels of a camera without distortion, and what pycolmap makes of them."""

    def __init__(self, colmap: Any, camera: Camera, rays: dict[int, Array]) -> None:
        self._colmap = colmap
        self.focal = camera.focal
        self.known = {i: np.flatnonzero(np.isfinite(some).all(axis=1)) for i, some in rays.items()}
        self.rays = rays
        self.zero = np.zeros(3)
        self.unit = max(1.0, math.sqrt(camera.width * camera.height / PIXELS))
        self.camera = colmap.Camera.create_from_model_name(
            1, "SIMPLE_PINHOLE", self.focal, camera.width, camera.height
        )
        self.centre = np.array([camera.width, camera.height]) / 2
        self.pixels = {
            i: np.nan_to_num(some) * self.focal + self.centre for i, some in rays.items()
        }

    def verified(self, first: int, second: int, found: Matches) -> NDArray[np.int64]:
        """Matches that an essential matrix explains, as rows of both (m, 2)."""
        pairs = found.pairs[
            np.isin(found.pairs[:, 0], self.known[first])
            & np.isin(found.pairs[:, 1], self.known[second])
        ]
        if len(pairs) < PAIR_MATCHES:
            return pairs[:0]
        options = self._colmap.TwoViewGeometryOptions()
        options.ransac.random_seed = 0
        options.ransac.max_error = 2.0
        options.ransac.max_num_trials = 1000
        options.detect_watermark = False
        geometry = self._colmap.estimate_calibrated_two_view_geometry(
            self.camera,
            self.pixels[first],
            self.camera,
            self.pixels[second],
            pairs.astype(np.uint32),
            options,
        )
        return np.asarray(geometry.inlier_matches, np.int64).reshape(-1, 2)

    def explaining(
        self, matched: dict[tuple[int, int], NDArray[np.int64]], cameras: dict[int, Pose]
    ) -> dict[int, Pose]:
        """The drive's poses where they explain the images; else adjusted ones that do.

        NoPoints where poses and intrinsics do not go together.
        """
        # Far from zero, as UTM grids are, float32 steps of a solver would tell.
        self.zero = np.mean([pose.position for pose in cameras.values()], axis=0)
        error, better = judged(matched, cameras, self.rays, self.focal, self.unit)
        own = error
        # A wrong focal length is told before poses that move could make up for it.
        if own <= HELD_ERROR_PX and not better:
            return cameras
        told = {i + 1: self._in_world(pose) for i, pose in cameras.items()}
        adjusted = cameras
        for number in range(0 if better else ROUNDS):
            found = self.triangulated(matched, adjusted, max(POINT_PX, WIDER * error))
            cost = adjust(self._colmap, found, told, self.unit)
            adjusted = {i: self._in_map(found.image(i + 1).cam_from_world()) for i in cameras}
            error, better = judged(matched, adjusted, self.rays, self.focal, self.unit)
            if number == ROUNDS - 1 and not better:
                better = freed_focal(self._colmap, found, told, self.unit, cost)
        metres, degrees = moved(cameras, adjusted)
        far = metres > MOST_MOVED_M or degrees > MOST_TURNED_DEG
        if error > MEAN_ERROR_PX or better or far:
            fits = f"; a focal length of {better:.0f} pixels fits better" if better else ""
            raise NoPoints(
                f"The map has no points, as by its poses and intrinsics (focal length "
                f"{self.focal:.0f} pixels) its own images lie {own:.1f} pixels from each "
                f"other{fits}: check the camera's calibration, its mount and the poses."
            )
        return adjusted

    def triangulated(
        self,
        matched: dict[tuple[int, int], NDArray[np.int64]],
        cameras: dict[int, Pose],
        pixels: float,
    ) -> Any:
        """The reconstruction by the drive's poses, which stay; points are seen `pixels` near."""
        colmap = self._colmap
        reconstruction = colmap.Reconstruction()
        reconstruction.add_camera_with_trivial_rig(self.camera)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "matches.db"
            with contextlib.closing(colmap.Database.open(path)) as database:
                database.write_camera(self.camera, use_camera_id=True)
                database.write_rig(reconstruction.rig(1), use_rig_id=True)
                for view, pose in cameras.items():
                    image = colmap.Image(
                        name=f"{view:08d}",
                        keypoints=self.pixels[view],
                        camera_id=1,
                        image_id=view + 1,
                    )
                    reconstruction.add_image_with_trivial_frame(image, self._in_world(pose))
                    database.write_frame(reconstruction.frame(view + 1), use_frame_id=True)
                    database.write_image(reconstruction.image(view + 1), use_image_id=True)
                    database.write_keypoints(view + 1, self.pixels[view].astype(np.float32))
                for (first, second), pairs in matched.items():
                    geometry = colmap.TwoViewGeometry()
                    geometry.config = int(colmap.TwoViewGeometryConfiguration.CALIBRATED)
                    geometry.inlier_matches = pairs.astype(np.uint32)
                    database.write_two_view_geometry(first + 1, second + 1, geometry)
                    database.write_matches(first + 1, second + 1, pairs.astype(np.uint32))
            options = colmap.IncrementalPipelineOptions()
            options.random_seed = 0
            options.extract_colors = False
            options.min_num_matches = PAIR_MATCHES
            options.num_threads = 1
            options.triangulation.ignore_two_view_tracks = False
            options.triangulation.min_angle = ANGLE_DEG
            options.mapper.filter_min_tri_angle = ANGLE_DEG
            options.mapper.filter_max_reproj_error = pixels * self.unit
            wide = float(np.degrees(2 * pixels * self.unit / self.focal))
            options.triangulation.create_max_angle_error = wide
            options.triangulation.continue_max_angle_error = wide
            found = colmap.triangulate_points(
                reconstruction, path, Path(folder), Path(folder), options=options
            )
        return found

    def _in_world(self, pose: Pose) -> Any:
        """cam_from_world of an optical pose in the map, less `zero`."""
        rotation = rotation_of(pose.orientation).T
        offset = -rotation @ (np.array(pose.position) - self.zero)
        return self._colmap.Rigid3d(np.column_stack([rotation, offset]))

    def _in_map(self, cam_from_world: Any) -> Pose:
        """The inverse of `_in_world`."""
        matrix = cam_from_world.inverse().matrix()
        x, y, z = (matrix[:, 3] + self.zero).tolist()
        return Pose((x, y, z), quaternion_of(matrix[:, :3]))


def _selected(
    views: Sequence[View],
    found: Any,
    zero: Array,
    cameras: dict[int, Pose],
    camera: Camera,
    features: LocalFeatures,
) -> Points:
    """The points of a reconstruction as rows of their places."""
    chosen: list[NDArray[Any]] = []
    squares, seen, enough = 0.0, 0, 0
    kept: set[int] = set()
    for number, view in enumerate(views):
        rows: NDArray[Any] = np.empty(0, row_type(features.size))
        if number in cameras:
            image = found.image(number + 1)
            indices = np.array(list(image.get_observation_point2D_idxs()), np.int64)
            ids = np.array([image.points2D[i].point3D_id for i in indices], np.int64)
            points = [found.point3D(int(i)) for i in ids]
            if len(indices):
                length = np.array([p.track.length() for p in points], np.float32)
                xy = view.keypoints.xy[indices]
                most = spread(xy, length, (camera.height, camera.width), MOST_PER_PLACE)
                at = np.array([p.xyz for p in points])[most] + zero
                local = _into(cameras[number], at)
                off = camera.project(local) - xy[most]
                squares, seen = squares + float((off**2).sum()), seen + len(most)
                kept.update(ids[most].tolist())
                rows = np.empty(len(most), rows.dtype)
                rows["point"] = local
                rows["xy"] = np.clip(np.rint(xy[most] * STEPS_A_PIXEL), 0, 65535)
                rows["descriptor"] = view.keypoints.descriptors[indices[most]]
        enough += len(rows) >= PLACE_POINTS
        chosen.append(rows)
    if enough < LEAST_SHARE * len(views):
        raise NoPoints(
            f"The map has no points, as only {enough} of its {len(views)} places see "
            f"{PLACE_POINTS} or more: place them nearer to each other, or drive slower or by "
            "better light."
        )
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in chosen])]).astype(np.int64)
    error = float(np.sqrt(squares / max(1, seen)))
    return Points(features.name, camera, len(kept), error, starts, np.concatenate(chosen))


def _into(frame: Pose, points: Array) -> Array:
    """Points (n, 3) of the map in the axes of a pose."""
    return (points - np.array(frame.position)) @ rotation_of(frame.orientation)
