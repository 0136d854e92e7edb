"""Whether a drive's poses explain its images, and better ones where they do not.

Bundle adjustment with the poses as prior (Triggs et al. 2000), by pycolmap and Ceres.
Odometry and satellites tell poses to centimetres and tenths of a degree, images their neighbours'
to less. Points and poses move so that the images fit, and each pose is held to what was told by a
Gaussian over all six degrees of freedom: the images tell how neighbours lie to each other, the
prior where the whole lies, and how large it is. pycolmap's own adjustment has priors of positions
only, which leave the roll about a straight drive open.
"""

from __future__ import annotations

import ctypes
import math
import signal
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.files import rotation_of
from saane_ros.data.poses.transforms import compose, inverse, turn_between
from saane_ros.errors import SaaneError
from saane_ros.types import Pose

Array = NDArray[np.float64]

MEAN_ERROR_PX = 2.0
"""Of matches from the epipolar lines that the drive's poses draw; in pixels of the size in which
features are found. Above it, poses or intrinsics are wrong."""
TRIED_FOCALS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6)
CLEARLY = 0.6
"""Another focal length is the right one where it leaves this share of the error."""
JUDGED_PAIRS = 100

PRIOR_M = 0.1
PRIOR_DEG = 1.0
"""Standard deviations of a told pose, along and about each axis."""
ITERATIONS = 50
FREED_COST = 0.98
FREED_CHANGE = 0.08
"""A focal length that moves with the poses is the right one where it leaves less than this share of
the cost, and its logarithm changes by more than this. Right ones leave 0.999 and change by 0.01,
those 20 % off in a town 0.92 to 0.96 and 0.14 to 0.18; on a straight road any is right."""


def adjust(
    colmap: Any, reconstruction: Any, told: Mapping[int, Any], sigma: float, focal: bool = False
) -> float:
    """Move the frames and points of a reconstruction of one camera; the cost that remains.

    told: rig_from_world (`Rigid3d`) by frame, the prior.  sigma: standard deviation of a keypoint,
    pixels; those further off count less (Cauchy).  focal: the focal length moves too. Raises
    SaaneError where pyceres is not installed.
    """
    ceres = load_pyceres()
    from pycolmap import cost_functions

    config = colmap.BundleAdjustmentConfig()
    for image in reconstruction.images:
        config.add_image(image)
    for camera in () if focal else reconstruction.cameras:
        config.set_constant_cam_intrinsics(camera)
    options = colmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.ceres.loss_function_type = colmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = sigma
    options.ceres.solver_options.num_threads = 1
    options.ceres.solver_options.max_num_iterations = ITERATIONS
    options.ceres.solver_options.function_tolerance = 1e-5
    adjuster = colmap.create_default_ceres_bundle_adjuster(options, config, reconstruction)
    # Kept, as what is added to it lives as long as this name for it.
    problem = adjuster.problem
    # The adjuster counts plain pixels, not pixels in sigmas: so does the prior.
    deviations = np.repeat([np.radians(PRIOR_DEG), PRIOR_M], 3) / sigma
    for frame, prior in told.items():
        pose = reconstruction.frame(frame).rig_from_world.params
        # A frame that sees no point is no part of the problem, and stays.
        if problem.has_parameter_block(pose):
            cost = cost_functions.AbsolutePosePriorCost(np.diag(deviations**2), prior)
            problem.add_residual_block(cost, ceres.TrivialLoss(), [pose])
    return float(adjuster.solve().ceres_summary.final_cost)


def freed_focal(
    colmap: Any, reconstruction: Any, told: Mapping[int, Any], sigma: float, cost: float
) -> float:
    """The focal length (pixels) that is clearly better than that of an adjustment; 0 for none.

    Poses that move make up for a wrong one, but not for nothing. The rest is as in `adjust`, which
    left this cost; the reconstruction moves on. One beyond those tried is not believed: images
    that tell too little lead anywhere.
    """
    own = reconstruction.camera(1).focal_length
    left = adjust(colmap, reconstruction, told, sigma, focal=True)
    better = float(reconstruction.camera(1).focal_length)
    clear = left < FREED_COST * cost and abs(math.log(better / own)) > FREED_CHANGE
    return better if clear and TRIED_FOCALS[0] < better / own < TRIED_FOCALS[-1] else 0.0


def load_pyceres() -> Any:
    """The library, without the handlers of signals that it installs: a node ends by its own."""
    libc = ctypes.CDLL(None)
    actions = {int(number): ctypes.create_string_buffer(1024) for number in signal.valid_signals()}
    for number, action in actions.items():
        libc.sigaction(number, None, action)
    try:
        import pyceres as library
    except ImportError:
        raise SaaneError(
            "The poses of the drive do not explain its images, and to adjust them needs pyceres, "
            "which is missing: pip install 'saane_ros[metric]'."
        ) from None
    finally:
        for number, action in actions.items():
            libc.sigaction(number, action, None)
    return library


def judged(
    matched: Mapping[tuple[int, int], NDArray[np.int64]],
    cameras: Mapping[int, Pose],
    rays: Mapping[int, Array],
    focal: float,
    unit: float,
) -> tuple[float, float]:
    """The images' error by poses and intrinsics, and the focal length (pixels) that fits better.

    matched: rows of two views (m, 2).  cameras: optical poses.  rays: x, y at depth one (n, 2).
    unit: pixels that count as one. The error is the median distance from epipolar lines; the focal
    length is zero where none is clearly better. One that only makes less of errors of poses, which
    a shorter one does, is not: it has to explain the images.
    """
    some = list(matched.items())[:: max(1, len(matched) // JUDGED_PAIRS)]

    def error(scale: float) -> float:
        distances = [
            _epipolar(cameras[i], cameras[j], rays[i][m[:, 0]] / scale, rays[j][m[:, 1]] / scale)
            for (i, j), m in some
        ]
        return float(np.median(distances)) * focal * scale / unit

    errors = [error(scale) for scale in TRIED_FOCALS]
    own, least = errors[TRIED_FOCALS.index(1.0)], min(errors)
    better = least < CLEARLY * own and least <= MEAN_ERROR_PX
    return own, TRIED_FOCALS[errors.index(least)] * focal if better else 0.0


def _epipolar(first: Pose, second: Pose, here: Array, there: Array) -> float:
    """Median distance of rays of the second camera from lines by those of the first, (m, 2)."""
    between = compose(inverse(second), first)
    x, y, z = between.position
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    one = np.ones(len(here))
    lines = np.column_stack([here, one]) @ (cross @ rotation_of(between.orientation)).T
    off = np.abs((np.column_stack([there, one]) * lines).sum(axis=1))
    return float(np.median(off / np.linalg.norm(lines[:, :2], axis=1)))


def moved(before: Mapping[int, Pose], after: Mapping[int, Pose]) -> tuple[float, float]:
    """How far poses moved, medians in metres and degrees."""
    shifts = [math.dist(pose.position, after[i].position) for i, pose in before.items()]
    turns = [turn_between(pose, after[i]) for i, pose in before.items()]
    return float(np.median(shifts)), float(np.degrees(np.median(turns)))
