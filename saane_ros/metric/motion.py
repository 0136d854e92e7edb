"""Poses of a drive from its images alone: incremental structure from motion (pycolmap).

Schoenberger and Frahm 2016, "Structure-from-Motion Revisited". Images are matched with those that
follow; scale and direction are free unless positions of some images are known.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.files import quaternion_of, rotation_of
from saane_ros.data.poses.transforms import OPTICAL, compose, inverse
from saane_ros.errors import SaaneError
from saane_ros.metric.cameras import PLUMB_BOB, Camera
from saane_ros.metric.features import Keypoints, LocalFeatures
from saane_ros.metric.triangulation import ANGLE_DEG, PAIR_MATCHES, pycolmap
from saane_ros.progress import progress
from saane_ros.types import Pose

Array = NDArray[np.float64]

AHEAD = (1, 2, 3, 4, 6, 8)
"""Images further along that each is matched with."""
GUESSED_FOCALS = (0.85, 0.6, 1.2)
"""Of the longer side: where intrinsics are not known, the search begins at one after another until
the images can be joined."""
INITIAL_ANGLE_DEG = 4.0
"""Between the rays of the first two images' points."""
STOOD_PX = 1.0
"""Neighbouring images whose keypoints move less show no motion."""
TURNED_FOCALS = np.geomspace(0.4, 1.4, 12)
"""Of the longer side: by which turns alone are tried where the focal length is not known."""
TURNED_PAIRS, TURN_ROUNDS = 60, 3
LEAST_SHARE = 0.5
"""A drive of which fewer images get a pose is none."""
LEAST_ANCHORS = 3
ANCHORED_SPAN_M = 5.0
"""Known positions of a lesser extent tell no scale."""


@dataclass(frozen=True, eq=False)
class Motion:
    """poses: of the camera, axes x forward, y left, z up; None of images that got none.  camera:
    given or estimated.  scaled: whether metres are metres.
    """

    poses: list[Pose | None]
    camera: Camera
    scaled: bool


def motion(
    views: Sequence[Keypoints],
    shape: tuple[int, int],
    camera: Camera | None,
    known: Sequence[Pose | None],
    features: LocalFeatures,
    folder: Path,
) -> Motion:
    """Poses of images (H, W) in route order by their keypoints.

    camera: what took them; None is estimated, one for all.  known: poses of the camera, of which
    the positions align and scale the drive where they can. Without, its first pose is the zero, and
    the median step between images is 1.  folder: of these images, camera and features alone;
    matches that an interrupted run left there are taken over. Raises SaaneError where no motion can
    be told.
    """
    colmap = pycolmap()
    height, width = shape
    pixels = [_ideal(one.xy, camera) for one in views]
    focals = [share * max(shape) for share in GUESSED_FOCALS]
    if camera is not None:
        focals = [camera.focal]
    tried = np.array(focals) if camera is not None else TURNED_FOCALS * max(shape)
    model = "SIMPLE_RADIAL" if camera is None else "SIMPLE_PINHOLE"
    own = colmap.Camera.create_from_model_name(1, model, focals[0], width, height)
    # A guess too: a drive ahead tells too little without.
    own.has_prior_focal_length = True
    options = colmap.IncrementalPipelineOptions()
    options.random_seed = 0
    options.extract_colors = False
    options.num_threads = 1
    options.min_num_matches = PAIR_MATCHES
    options.multiple_models = False
    # A drive moves ahead, by which rays of neighbours meet at small angles.
    options.mapper.init_max_forward_motion = 1.0
    options.mapper.init_min_tri_angle = INITIAL_ANGLE_DEG
    options.mapper.init_min_num_inliers = 2 * PAIR_MATCHES
    options.mapper.filter_min_tri_angle = ANGLE_DEG
    options.mapper.abs_pose_min_num_inliers = PAIR_MATCHES
    options.ba_refine_focal_length = camera is None
    options.ba_refine_extra_params = camera is None
    least = max(3, LEAST_SHARE * len(views))
    best, count = None, 0
    for focal in focals:
        own.params = [focal, *own.params[1:]]
        path = folder / f"{focal:.0f}.db"
        with contextlib.closing(colmap.Database.open(path)) as database:
            matched = _fill(colmap, database, own, views, pixels, features)
        _check_turned(matched, np.array([width, height]) / 2, tried)
        with progress(range(len(views)), "poses", unit="image", delay_s=2.0) as bar:
            found = colmap.incremental_mapping(
                path, folder, folder, options, next_image_callback=bar.update
            )
        best = max(found.values(), key=lambda one: one.num_reg_images(), default=None)
        count = 0 if best is None else best.num_reg_images()
        if count >= least:
            break
    if best is None or count < least:
        raise SaaneError(
            f"The images tell no drive, as only {count} of {len(views)} could be joined: give more "
            "images of the way, of a camera that moves ahead and does not turn on the spot."
        )
    poses = [_pose(best, number + 1) for number in range(len(views))]
    aligned, scaled = _aligned(poses, known)
    return Motion(aligned, camera or _estimated(best.camera(1)), scaled)


def _ideal(xy: NDArray[np.float32], camera: Camera | None) -> Array:
    """Keypoints as pixels (n, 2) of COLMAP, without distortion where the camera is known."""
    if camera is None:
        return np.asarray(xy, np.float64) + 0.5
    # What no ray leads to lies far outside, where nothing agrees with it.
    rays = np.nan_to_num(camera.rays(xy), nan=-1e3)
    return rays * camera.focal + np.array([camera.width, camera.height]) / 2


def _fill(
    colmap: Any,
    database: Any,
    camera: Any,
    views: Sequence[Keypoints],
    pixels: Sequence[Array],
    features: LocalFeatures,
) -> list[tuple[Array, Array]]:
    """Images and what matches between them, pixels (n, 2) of each pair; SaaneError where nothing
    moves. Pairs that are there already are not matched again.
    """
    if database.num_images() != len(views):
        database.clear_all_tables()
        with colmap.DatabaseTransaction(database):
            _fill_images(colmap, database, camera, pixels)
    options = colmap.TwoViewGeometryOptions()
    options.ransac.random_seed = 0
    options.detect_watermark = False
    options.compute_relative_pose = True
    matched = []
    for first in progress(range(len(views)), "matches", unit="image", delay_s=2.0):
        for second in (first + step for step in AHEAD if first + step < len(views)):
            here, there = pixels[first], pixels[second]
            if not database.exists_two_view_geometry(first + 1, second + 1):
                pairs = features.match(views[first], views[second]).pairs
                geometry = colmap.TwoViewGeometry()
                if len(pairs) >= PAIR_MATCHES:
                    geometry = colmap.estimate_two_view_geometry(
                        camera, here, camera, there, pairs.astype(np.uint32), options
                    )
                    database.write_matches(first + 1, second + 1, pairs.astype(np.uint32))
                database.write_two_view_geometry(first + 1, second + 1, geometry)
            geometry = database.read_two_view_geometry(first + 1, second + 1)
            inliers = np.asarray(geometry.inlier_matches, np.int64).reshape(-1, 2)
            if len(inliers) >= PAIR_MATCHES:
                matched.append((here[inliers[:, 0]], there[inliers[:, 1]]))
    if not matched:
        raise SaaneError(
            "The images tell no drive, as those that follow each other have too little in common: "
            "give more images of the way."
        )
    if _most([np.median(np.linalg.norm(a - b, axis=1)) for a, b in matched]) < STOOD_PX:
        raise SaaneError(
            "The images tell no drive, as the camera stood: give images of one that moves."
        )
    return matched


def _fill_images(colmap: Any, database: Any, camera: Any, pixels: Sequence[Array]) -> None:
    database.write_camera(camera, use_camera_id=True)
    rig = colmap.Rig(rig_id=1)
    rig.add_ref_sensor(camera.sensor_id)
    database.write_rig(rig, use_rig_id=True)
    for number, xy in enumerate(pixels, 1):
        image = colmap.Image(name=f"{number:08d}", keypoints=xy, camera_id=1, image_id=number)
        image.frame_id = number
        frame = colmap.Frame(frame_id=number, rig_id=1)
        frame.add_data_id(image.data_id)
        database.write_frame(frame, use_frame_id=True)
        database.write_image(image, use_image_id=True)
        database.write_keypoints(number, xy.astype(np.float32))


def _check_turned(matched: Sequence[tuple[Array, Array]], centre: Array, focals: Array) -> None:
    """SaaneError where turns of the camera alone explain all that matches, by one of the focal
    lengths: without way there is nothing to tell, and a search would make up anything.
    """
    some = matched[:: max(1, len(matched) // TURNED_PAIRS)]
    for focal in focals:
        rays = [((a - centre) / focal, (b - centre) / focal) for a, b in some]
        if focal * _most([_parallax(a, b) for a, b in rays]) < STOOD_PX:
            raise SaaneError(
                "The images tell no drive, as the camera only turned on the spot: give images of "
                "one that moves."
            )


def _parallax(here: Array, there: Array) -> float:
    """Median of what a turn leaves between rays x/z, y/z (n, 2); the better half tells the turn."""
    a, b = (np.column_stack([one, np.ones(len(one))]) for one in (here, there))
    a, b = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (a, b))
    off = np.zeros(len(a))
    for _ in range(TURN_ROUNDS):
        near = off <= np.median(off)
        u, _, vt = np.linalg.svd(b[near].T @ a[near])
        turn = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
        off = np.linalg.norm(a @ turn.T - b, axis=1)
    return float(np.median(off))


def _most(values: Sequence[float]) -> float:
    return float(np.percentile(values, 90))


def _pose(found: Any, number: int) -> Pose | None:
    """Of an image's camera, axes x forward, y left, z up; None where it was not joined."""
    if not found.exists_image(number) or not found.image(number).has_pose:
        return None
    matrix = np.asarray(found.image(number).cam_from_world().inverse().matrix())
    x, y, z = matrix[:, 3].tolist()
    return compose(Pose((x, y, z), quaternion_of(matrix[:, :3])), inverse(OPTICAL))


def _estimated(camera: Any) -> Camera:
    focal, x, y, k1 = map(float, camera.params)
    k = (focal, 0.0, x - 0.5, 0.0, focal, y - 0.5, 0.0, 0.0, 1.0)
    return Camera(camera.width, camera.height, PLUMB_BOB, k, (k1, 0.0, 0.0, 0.0))


def _aligned(
    poses: Sequence[Pose | None], known: Sequence[Pose | None]
) -> tuple[list[Pose | None], bool]:
    """The poses moved, turned and scaled onto known positions, or from their first, step 1."""
    both = [(a.position, b.position) for a, b in zip(poses, known, strict=True) if a and b]
    if len(both) >= LEAST_ANCHORS:
        here, there = (np.array(side) for side in zip(*both, strict=True))
        if np.ptp(there, axis=0).max() >= ANCHORED_SPAN_M:
            scale, rotation, offset = similarity(here, there, _ups(poses, known))
            return _moved(poses, scale, rotation, offset), True
    some = [pose for pose in poses if pose is not None]
    steps = [math.dist(a.position, b.position) for a, b in itertools.pairwise(some)]
    scale = 1.0 / max(float(np.median(steps)), 1e-9)
    back = inverse(some[0])
    rotation = rotation_of(back.orientation)
    return _moved(poses, scale, rotation, scale * np.array(back.position)), False


def _ups(poses: Sequence[Pose | None], known: Sequence[Pose | None]) -> tuple[Array, Array]:
    """Up of the cameras (n, 3), and of the map: a straight drive's positions tell no roll."""
    both = [a for a, b in zip(poses, known, strict=True) if a and b]
    up = np.array([rotation_of(pose.orientation)[:, 2] for pose in both])
    return up, np.tile([0.0, 0.0, 1.0], (len(up), 1))


def similarity(
    here: Array, there: Array, ups: tuple[Array, Array] | None = None
) -> tuple[float, Array, Array]:
    """Scale, rotation and offset that take points (n, 3) onto others (Umeyama 1991).

    ups: directions (n, 3) before and after, which count where the points lie on one line.
    """
    a, b = here - here.mean(axis=0), there - there.mean(axis=0)
    covariance = b.T @ a / len(a)
    size = float((a * a).sum() / len(a))
    turning = covariance
    if ups is not None:
        # Little beside the points of a drive with bends.
        turning = covariance + 0.01 * np.linalg.norm(covariance) * (ups[1].T @ ups[0]) / len(a)
    u, _, vt = np.linalg.svd(turning)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ flip @ vt
    scale = float(np.trace(rotation.T @ covariance)) / max(size, 1e-12)
    return scale, rotation, there.mean(axis=0) - scale * rotation @ here.mean(axis=0)


def _moved(
    poses: Sequence[Pose | None], scale: float, rotation: Array, offset: Array
) -> list[Pose | None]:
    moved: list[Pose | None] = []
    for pose in poses:
        if pose is None:
            moved.append(None)
            continue
        x, y, z = (scale * rotation @ np.array(pose.position) + offset).tolist()
        moved.append(Pose((x, y, z), quaternion_of(rotation @ rotation_of(pose.orientation))))
    return moved
