"""Poses of a drive that are off: adjusted by its images, themselves as prior, against true ones."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from test_poses_by_points import IMAGE, MOUNT, PLAIN, QUERY, Labels, World, bodies, drive_views

from saane_ros.data.poses.transforms import compose, inverse, turn_between
from saane_ros.metric.adjustment import PRIOR_DEG, PRIOR_M, adjust
from saane_ros.metric.pnp import Refiner
from saane_ros.metric.triangulation import NoPoints, View, pycolmap, triangulate
from saane_ros.types import Pose

pytest.importorskip("pycolmap", reason="the extra metric is absent")
pytest.importorskip("pyceres", reason="the extra metric is absent")


def off(drive: Sequence[Pose], metres: float, degrees: float, seed: int = 0) -> list[Pose]:
    """A drive's poses as odometry tells them, each off by itself."""
    rng = np.random.default_rng(seed)
    told = []
    for pose in drive:
        half = np.radians(rng.normal(0, degrees, 3)) / 2
        turn = Pose(rng.normal(0, metres, 3).tolist(), (*half.tolist(), 1.0))
        turned = compose(replace(turn, position=(0.0, 0.0, 0.0)), pose).orientation
        told.append(Pose(tuple(np.add(pose.position, turn.position).tolist()), turned))  # type: ignore[arg-type]
    return told


def test_exact_poses_stay_to_the_last_bit() -> None:
    drive = bodies()
    points, poses = triangulate(drive_views(drive), PLAIN, MOUNT, Labels())
    assert poses == drive
    assert points.moved == (0.0, 0.0)


@pytest.mark.parametrize(("metres", "degrees"), [(0.05, 0.3), (0.1, 0.5), (0.2, 1.0)])
def test_poses_that_are_off_are_adjusted_by_the_images(metres: float, degrees: float) -> None:
    """Against true poses; far from zero, and the query too is where it truly was."""
    world, labels, drive = World(), Labels(), bodies(24, far=5e5)
    world.points += [5e5, 0, 0]
    told = off(drive, metres, degrees)
    views = [
        View(pose, world.look(PLAIN, true, 0.3)) for pose, true in zip(told, drive, strict=True)
    ]
    points, poses = triangulate(views, PLAIN, MOUNT, labels)
    adjusted = [pose for pose in poses if pose is not None]
    assert points.error < 0.6
    before, after = (
        np.array([[math.dist(a.position, b.position), turn_between(a, b)] for a, b in pairs])
        for pairs in (zip(told, drive, strict=True), zip(adjusted, drive, strict=True))
    )
    assert (np.median(after, axis=0) < 0.5 * np.median(before, axis=0)).all()
    moves = [
        [math.dist(a.position, b.position), math.degrees(turn_between(a, b))]
        for a, b in zip(told, adjusted, strict=True)
    ]
    assert points.moved == pytest.approx(np.median(moves, axis=0))
    # Neighbours agree as the images tell, whatever the whole is off by.
    steps = [
        compose(compose(inverse(a), b), inverse(compose(inverse(c), d)))
        for a, b, c, d in zip(adjusted, adjusted[1:], drive, drive[1:], strict=False)
    ]
    assert np.median([math.hypot(*step.position) for step in steps]) < 0.2 * metres
    query = replace(QUERY, position=(5e5 + 19.3, -1.4, 0.2))
    labels.next = world.look(PLAIN, query, 0.3)
    refiner = Refiner(points, adjusted, MOUNT, labels, budget_ms=None)
    found = refiner.refine(IMAGE, PLAIN, [8, 9, 10, 11])
    assert found is not None
    assert math.dist(found.pose.position, query.position) < metres


@pytest.mark.parametrize("focal", [340.0, 440.0, 480.0, 600.0])
def test_poses_that_move_do_not_hide_a_wrong_focal_length(focal: float) -> None:
    """400 pixels are right, as bends show."""
    drive = [
        replace(pose, orientation=(0.0, 0.0, math.sin(a / 2), math.cos(a / 2)))
        for pose, a in zip(bodies(), 0.25 * np.sin(np.arange(12)), strict=True)
    ]
    seen = drive_views(drive)
    told = off(drive, 0.1, 0.5)
    views = [View(pose, view.keypoints) for pose, view in zip(told, seen, strict=True)]
    _, poses = triangulate(views, PLAIN, MOUNT, Labels())
    assert poses != told
    wrong = replace(PLAIN, k=(focal, 0.0, 320.0, 0.0, focal, 240.0, 0.0, 0.0, 1.0))
    with pytest.raises(NoPoints, match=r"a focal length of (39|40)\d pixels fits better"):
        triangulate(views, wrong, MOUNT, Labels())


def test_the_prior_pulls_as_its_deviations_say() -> None:
    """Where an adjustment ends its cost has no slope: poses and points, by a naive sum."""
    colmap = pycolmap()
    options = colmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig = 1, 1
    options.num_frames_per_rig, options.num_points3D = 5, 10
    options.camera_has_prior_focal_length = True
    colmap.set_random_seed(0)
    found = colmap.synthesize_dataset(options)
    rng = np.random.default_rng(0)
    for image in found.images.values():
        for seen in image.points2D:
            seen.xy = seen.xy + rng.normal(0, 4.0, 2)
    told = {}
    for number, frame in found.frames.items():
        matrix = frame.rig_from_world.matrix()
        told[number] = colmap.Rigid3d(matrix + np.c_[np.zeros((3, 3)), rng.normal(0, 0.2, 3)])
    sigma = 2.0
    adjust(colmap, found, told, sigma)

    def cost(number: int, step: NDArray[np.float64]) -> float:
        """With a frame turned and moved by a step about and along its camera's axes."""
        turn = colmap.Rotation3d(step[:3]) if step[:3].any() else colmap.Rotation3d()
        total = 0.0
        for one, image in found.images.items():
            pose = image.cam_from_world()
            rotation, offset = pose.rotation.matrix(), pose.translation
            if image.frame_id == number:
                rotation, offset = turn.matrix() @ rotation, turn.matrix() @ offset + step[3:]
            for point in image.points2D:
                if point.has_point3D():
                    local = rotation @ found.points3D[point.point3D_id].xyz + offset
                    pixel = found.cameras[image.camera_id].img_from_cam(local)
                    square = float(((pixel - point.xy) ** 2).sum())
                    total += math.log1p(square / sigma**2)
            prior = told[image.frame_id]
            between = rotation @ prior.rotation.matrix().T
            angle = math.acos(min(1.0, (np.trace(between) - 1) / 2))
            centre = -rotation.T @ offset + prior.rotation.matrix().T @ prior.translation
            total += (math.degrees(angle) / PRIOR_DEG) ** 2 + float(centre @ centre) / PRIOR_M**2
            assert one == image.image_id
        return total

    for number in found.frames:
        for axis in range(6):
            step = np.zeros(6)
            step[axis] = 1e-5
            slope = (cost(number, step) - cost(number, -step)) / 2e-5
            curve = (cost(number, step) + cost(number, -step) - 2 * cost(number, 0 * step)) / 1e-10
            assert abs(slope / curve) < 1e-3


def test_an_adjustment_leaves_the_handling_of_signals_as_it_was() -> None:
    """In a process of its own, as another test may have loaded the library already."""
    program = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('own handler'))\n"
        "from saane_ros.metric.adjustment import load_pyceres\n"
        "load_pyceres()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "time.sleep(0.01)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "own handler\n")
