"""A map by one camera, used by another: other lenses, sizes, distortion models and mounts."""

from __future__ import annotations

import numpy as np
import pytest
from lenses import BENT, FISHEYE, LARGE, NORMAL, RATIONAL_LENS, Rig

from saane_ros.data.poses.transforms import read_mount
from saane_ros.evaluation.metric import Mapped, error_of, mapped
from saane_ros.metric.cameras import Camera
from saane_ros.metric.features import RootSift
from saane_ros.metric.pnp import Refiner
from saane_ros.simulation import Town, Traverse

pytest.importorskip("pycolmap", reason="the extra metric is absent")

MOUNT = read_mount("0 0 1.5 0 0 0")
OTHER = read_mount("1.1 -0.3 1.3 0.01 0.06 0.12")
assert MOUNT is not None
assert OTHER is not None


@pytest.fixture(scope="module")
def rigs() -> tuple[Rig, Rig]:
    """A drive that makes maps, and one beside it."""
    town = Town(2001, 50.0)
    return (
        Rig(Traverse(town, "day", 1, lateral_m=-1.75)),
        Rig(Traverse(town, "day", 2, lateral_m=-0.5)),
    )


@pytest.fixture(scope="module")
def maps(rigs: tuple[Rig, Rig]) -> dict[Camera, Mapped]:
    return {
        camera: mapped([rigs[0].frame(i, camera, MOUNT) for i in range(0, 36, 3)], camera, MOUNT)
        for camera in (NORMAL, BENT, FISHEYE)
    }


@pytest.mark.parametrize(
    ("by", "own", "share", "most_cm"),
    [
        pytest.param(NORMAL, LARGE, 0.5, 15.0, id="longer-and-larger"),
        pytest.param(BENT, RATIONAL_LENS, 0.9, 8.0, id="plumb_bob-rational"),
        pytest.param(FISHEYE, FISHEYE, 0.9, 8.0, id="fisheye-fisheye"),
        pytest.param(NORMAL, FISHEYE, 0.8, 20.0, id="pinhole-fisheye"),
        pytest.param(FISHEYE, NORMAL, 0.4, 20.0, id="fisheye-pinhole"),
    ],
)
def test_another_camera_finds_its_own_base(
    rigs: tuple[Rig, Rig],
    maps: dict[Camera, Mapped],
    by: Camera,
    own: Camera,
    share: float,
    most_cm: float,
) -> None:
    built = maps[by]
    assert built.points.error < 0.6
    at = np.array([pose.position for pose in built.poses])
    refiner = Refiner(built.points, built.poses, MOUNT, RootSift(), OTHER, budget_ms=None)
    errors, images = [], range(2, 30, 4)
    for frame in (rigs[1].frame(i, own, OTHER) for i in images):
        assert frame.pose is not None
        near = np.argsort(np.linalg.norm(at - frame.pose.position, axis=1))[:6].tolist()
        found = refiner.refine(frame.image, own, near)
        if found is not None:
            errors.append(error_of(found, frame.pose)[:2])
    assert len(errors) >= share * len(images)
    cm, degrees = np.median(errors, axis=0)
    assert cm < most_cm
    assert degrees < 0.4


def test_the_sides_of_a_fisheye_tell_its_pose(
    rigs: tuple[Rig, Rig], maps: dict[Camera, Mapped]
) -> None:
    """Points are made and found where no pinhole of a usual width sees any."""
    built = maps[FISHEYE]
    rays = FISHEYE.rays(built.points.rows["xy"].astype(np.float64) / 8)
    aside = np.degrees(np.arctan(np.linalg.norm(rays, axis=1)))
    assert (aside > 60).mean() > 0.05
    frame = rigs[1].frame(10, FISHEYE, OTHER)
    found = Refiner(built.points, built.poses, MOUNT, RootSift(), OTHER, budget_ms=None).refine(
        frame.image, FISHEYE, [2, 3, 4]
    )
    assert found is not None
    rays = FISHEYE.rays(found.pixels)
    assert np.degrees(np.arctan(np.linalg.norm(rays, axis=1))).max() > 50
    # What the model gives no ray has no keypoint that counts: the corners are black.
    assert np.isfinite(rays).all()
