"""Points of a drive and poses by them: known points, a rendered town, and what gives none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from saane_ros.data.poses.files import rotation_of
from saane_ros.data.poses.transforms import OPTICAL, compose, inverse, read_mount, turn_between
from saane_ros.errors import SaaneError
from saane_ros.metric.cameras import EQUIDISTANT, PLUMB_BOB, Camera
from saane_ros.metric.features import MOST_OF_MAP, Keypoints, Matches, RootSift
from saane_ros.metric.pnp import INFLATION, Refinement, Refiner, jacobian
from saane_ros.metric.solving import evidence_of
from saane_ros.metric.triangulation import NoPoints, View, drive_points, neighbours, triangulate
from saane_ros.simulation import Town, Traverse
from saane_ros.types import Pose, Rgb

pytest.importorskip("pycolmap", reason="the extra metric is absent")

K = (400.0, 0.0, 320.0, 0.0, 400.0, 240.0, 0.0, 0.0, 1.0)
PLAIN = Camera(640, 480, PLUMB_BOB, K)
BENT = Camera(640, 480, PLUMB_BOB, K, (-0.2, 0.05, 0.001, -0.001, 0.0))
FISH = Camera(640, 480, EQUIDISTANT, K, (-0.02, 0.01, -0.005, 0.001))
MOUNT = read_mount("1.2 0.1 1.5 0.02 0.1 -0.05")
IMAGE = np.zeros((480, 640, 3), np.uint8)
assert MOUNT is not None


class Labels:
    """Keypoints of known points: what `World.look` saw last, matched by their number."""

    name = "labels"
    size = 2

    def __init__(self) -> None:
        self.next = Keypoints(np.empty((0, 2), np.float32), np.empty((0, 2), np.uint8))

    def extract(self, image: Rgb) -> Keypoints:
        return self.next

    def match(self, first: Keypoints, second: Keypoints, ratio: float = 1.0) -> Matches:
        a, b = (one.descriptors.astype(int) @ [256, 1] for one in (first, second))
        _, mine, theirs = np.intersect1d(a, b, return_indices=True)
        pairs = np.column_stack([mine, theirs])
        return Matches(pairs, np.ones(len(pairs), np.float32))


class World:
    """Points around a road along x, and what a camera on a body sees of them."""

    def __init__(self, seed: int = 0, count: int = 600) -> None:
        rng = np.random.default_rng(seed)
        side = rng.choice([-1.0, 1.0], count) * rng.uniform(4, 12, count)
        self.points = np.column_stack([rng.uniform(-5, 60, count), side, rng.uniform(0, 8, count)])
        self.rng = rng

    def look(
        self, camera: Camera, body: Pose, noise: float = 0.0, mount: Pose = MOUNT
    ) -> Keypoints:
        optical = compose(compose(body, mount), OPTICAL)
        local = (self.points - optical.position) @ rotation_of(optical.orientation)
        pixels = camera.project(local) + self.rng.normal(0, noise, (len(local), 2))
        with np.errstate(invalid="ignore"):
            seen = ((pixels > 0) & (pixels < [640, 480])).all(axis=1) & (local[:, 2] < 40)
        numbers = np.flatnonzero(seen)
        labels = np.column_stack([numbers // 256, numbers % 256]).astype(np.uint8)
        return Keypoints(pixels[seen].astype(np.float32), labels)


def bodies(count: int = 12, step: float = 2.0, far: float = 0.0) -> list[Pose]:
    """A drive that bends."""
    found = []
    for i in range(count):
        yaw = 0.03 * math.sin(i)
        found.append(
            Pose(
                (far + step * i, 0.3 * math.sin(i / 2), 0.0),
                (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)),
            )
        )
    return found


def refined(
    camera: Camera, noise: float, query: Pose, own: Pose = MOUNT, seed: int = 0
) -> tuple[Refinement, float]:
    """The refinement of a query among a drive's places, and the map's own error."""
    world, labels, drive = World(seed), Labels(), bodies()
    views = [View(pose, world.look(camera, pose, noise)) for pose in drive]
    points, _ = triangulate(views, camera, MOUNT, labels)
    refiner = Refiner(points, drive, MOUNT, labels, own, budget_ms=None)
    labels.next = world.look(camera, query, noise, own)
    found = refiner.refine(IMAGE, camera, [3, 4, 5, 6])
    assert found is not None
    return found, points.error


QUERY = Pose((9.3, -1.4, 0.2), (0.01, -0.02, 0.05, math.sqrt(1 - 0.003)))


@pytest.mark.parametrize("camera", [PLAIN, BENT, FISH], ids=["plain", "bent", "fisheye"])
def test_a_pose_is_found_among_exact_points(camera: Camera) -> None:
    found, error = refined(camera, 0.0, QUERY)
    assert error < 0.02
    assert math.dist(found.pose.position, QUERY.position) < 0.002
    assert turn_between(found.pose, QUERY) < 1e-4
    assert found.inliers > 80


def test_a_camera_mounted_elsewhere_finds_its_own_base() -> None:
    own = read_mount("-0.4 0.3 0.9 0 0 0.2")
    assert own is not None
    found, _ = refined(PLAIN, 0.0, QUERY, own)
    assert math.dist(found.pose.position, QUERY.position) < 0.002
    assert turn_between(found.pose, QUERY) < 1e-4


def test_points_far_from_zero_are_as_exact() -> None:
    world, labels = World(), Labels()
    world.points += [5e5, 0, 0]
    drive = bodies(far=5e5)
    views = [View(pose, world.look(PLAIN, pose)) for pose in drive]
    points, _ = triangulate(views, PLAIN, MOUNT, labels)
    labels.next = world.look(PLAIN, replace(QUERY, position=(5e5 + 9.3, -1.4, 0.2)))
    found = Refiner(points, drive, MOUNT, labels, budget_ms=None).refine(IMAGE, PLAIN, [3, 4, 5])
    assert found is not None
    assert math.dist(found.pose.position, (5e5 + 9.3, -1.4, 0.2)) < 0.002


def test_jacobian_by_moving_the_base() -> None:
    world, on_base = World(), compose(MOUNT, OPTICAL)

    def pixels(base: Pose, points: NDArray[np.float64]) -> NDArray[np.float64]:
        optical = compose(base, on_base)
        local = (points - optical.position) @ rotation_of(optical.orientation)
        return BENT.project(local)

    optical = compose(QUERY, on_base)
    local = (world.points - optical.position) @ rotation_of(optical.orientation)
    seen = world.points[(local[:, 2] > 3) & (np.abs(local[:, :2]) < local[:, 2:]).all(axis=1)]
    local = (seen - optical.position) @ rotation_of(optical.orientation)
    slope = jacobian(
        BENT, rotation_of(optical.orientation).T, local, seen - np.array(QUERY.position)
    ).reshape(-1, 2, 6)
    for axis in range(6):
        step = np.zeros(6)
        step[axis] = 1e-5
        turn = Pose(
            (0.0, 0.0, 0.0),
            (*(step[3:] / 2).tolist(), 1.0),  # type: ignore[arg-type]
        )
        turned = compose(turn, Pose((0.0, 0.0, 0.0), QUERY.orientation)).orientation
        moved = Pose(tuple(np.add(QUERY.position, step[:3]).tolist()), turned)  # type: ignore[arg-type]
        naive = (pixels(moved, seen) - pixels(QUERY, seen)) / 1e-5
        assert np.abs(slope[:, :, axis] - naive).max() < 1e-2 * max(1, np.abs(naive).max())


def test_covariance_by_monte_carlo() -> None:
    """Exact points and noisy pixels: errors spread as told, but for the stated inflation."""
    world, labels, drive = World(), Labels(), bodies()
    views = [View(pose, world.look(PLAIN, pose)) for pose in drive]
    refiner = Refiner(
        triangulate(views, PLAIN, MOUNT, labels)[0], drive, MOUNT, labels, budget_ms=None
    )
    errors, told = [], []
    for _ in range(60):
        labels.next = world.look(PLAIN, QUERY, 0.5)
        found = refiner.refine(IMAGE, PLAIN, [3, 4, 5, 6])
        assert found is not None
        turn = compose(replace(found.pose), inverse(QUERY)).orientation
        errors.append(
            [*np.subtract(found.pose.position, QUERY.position), *np.multiply(turn[:3], 2)]
        )
        told.append(np.array(found.covariance).reshape(6, 6) / INFLATION)
    drawn = np.sqrt((np.array(errors) ** 2).mean(axis=0))
    ratio = drawn / np.sqrt(np.diag(np.mean(told, axis=0)))
    assert (ratio > 0.6).all()
    assert (ratio < 1.6).all()


def test_evidence_tells_right_matches_from_chance() -> None:
    rng = np.random.default_rng(0)
    even = 8 * np.sqrt(rng.uniform(size=(200, 60)))
    right = np.abs(rng.normal(0, 0.9, (200, 30, 2)))
    by_chance = [evidence_of(one) for one in even]
    mixed = [
        evidence_of(np.concatenate([a, np.linalg.norm(b, axis=1)]))
        for a, b in zip(even, right, strict=True)
    ]
    assert max(by_chance) < 12
    assert min(mixed) > 24
    assert evidence_of(np.empty(0)) == 0.0


def test_a_place_with_nothing_in_common_and_a_spent_budget_give_no_pose() -> None:
    world, labels, drive = World(), Labels(), bodies()
    views = [View(pose, world.look(PLAIN, pose)) for pose in drive]
    points, _ = triangulate(views, PLAIN, MOUNT, labels)
    refiner = Refiner(points, drive, MOUNT, labels, budget_ms=None)
    assert refiner.refine(IMAGE, PLAIN, []) is None
    # The same numbers at other pixels: everything matches and nothing fits.
    seen = world.look(PLAIN, QUERY)
    shuffled = world.rng.permutation(seen.xy)
    labels.next = Keypoints(shuffled, seen.descriptors)
    assert refiner.refine(IMAGE, PLAIN, [3, 4, 5, 6]) is None
    labels.next = seen
    assert refiner.refine(IMAGE, PLAIN, [3, 4, 5, 6]) is not None
    assert Refiner(points, drive, MOUNT, labels, budget_ms=0.0).refine(IMAGE, PLAIN, [4]) is None
    with pytest.raises(SaaneError, match="The points of the map are of labels features"):
        Refiner(points, drive, MOUNT, RootSift())


@pytest.mark.parametrize("aside", [6.0, 12.0])
def test_a_bare_wall_tells_the_pose_too(aside: float) -> None:
    """All points in one plane, along which a sideways camera drives."""
    world, labels, drive = World(), Labels(), bodies()
    world.points[:, 1] = aside
    left = read_mount("0 0 1.5 0 0 1.5708")
    assert left is not None
    views = [View(pose, world.look(PLAIN, pose, 0.3, left)) for pose in drive]
    points, _ = triangulate(views, PLAIN, left, labels)
    refiner = Refiner(points, drive, left, labels, budget_ms=None)
    labels.next = world.look(PLAIN, QUERY, 0.3, left)
    found = refiner.refine(IMAGE, PLAIN, [3, 4, 5, 6])
    assert found is not None
    assert math.dist(found.pose.position, QUERY.position) < 0.1
    assert turn_between(found.pose, QUERY) < math.radians(0.5)


def test_places_of_a_stop_see_what_those_beside_it_see() -> None:
    """A drive that stands for nine places in its middle has points before and after."""
    there = bodies()
    drive = [*there[:6], *[there[5]] * 9, *there[6:]]
    points, _ = triangulate(drive_views(drive), PLAIN, MOUNT, Labels())
    counts = np.diff(points.starts)
    assert (counts[:6] > 20).all()
    assert (counts[-6:] > 20).all()
    assert points.error < 0.05


def drive_views(drive: Sequence[Pose], camera: Camera = PLAIN) -> list[View]:
    world = World()
    return [View(pose, world.look(camera, pose)) for pose in drive]


def test_drives_without_parallax_are_told() -> None:
    stood = [Pose((0.0, 0.0, 0.0))] * 6
    turned = [Pose((0.0, 0.0, 0.0), (0.0, 0.0, math.sin(a), math.cos(a))) for a in (0, 0.1, 0.2)]
    for drive in (stood, turned, bodies(4, 40.0)):
        with pytest.raises(NoPoints, match="shows nothing from two sides"):
            triangulate(drive_views(drive), PLAIN, MOUNT, Labels())
    with pytest.raises(NoPoints, match="fewer than two places have a pose"):
        triangulate(
            [View(None, view.keypoints) for view in drive_views(stood)], PLAIN, MOUNT, Labels()
        )


def test_a_wrong_focal_length_is_told_with_the_right_one() -> None:
    """By turns between places: on a straight road any focal length would fit."""
    wrong = replace(PLAIN, k=(600.0, 0.0, 320.0, 0.0, 600.0, 240.0, 0.0, 0.0, 1.0))
    bends = [
        replace(pose, orientation=(0.0, 0.0, math.sin(a / 2), math.cos(a / 2)))
        for pose, a in zip(bodies(), 0.25 * np.sin(np.arange(12)), strict=True)
    ]
    views = drive_views(bends)
    assert triangulate(views, PLAIN, MOUNT, Labels())[0].error < 0.05
    with pytest.raises(NoPoints, match=r"focal length 600 pixels.*of (420|360) pixels fits better"):
        triangulate(views, wrong, MOUNT, Labels())


def test_wrong_poses_and_blank_images_are_told() -> None:
    views = drive_views(bodies())
    rng = np.random.default_rng(1)
    astray = [
        View(
            replace(v.pose, position=tuple(rng.normal(v.pose.position, 2.0).tolist())), v.keypoints
        )
        for v in views
        if v.pose is not None
    ]
    with pytest.raises(NoPoints, match="check the camera's calibration, its mount and the poses"):
        triangulate(astray, PLAIN, MOUNT, Labels())
    blank = Keypoints(np.empty((0, 2), np.float32), np.empty((0, 2), np.uint8))
    with pytest.raises(NoPoints, match="too little in common"):
        triangulate([View(v.pose, blank) for v in views], PLAIN, MOUNT, Labels())
    few = [v if i < 3 else View(v.pose, blank) for i, v in enumerate(views)]
    with pytest.raises(NoPoints, match="only 3 of its 12 places see"):
        triangulate(few, PLAIN, MOUNT, Labels())


def test_what_a_drive_lacks_is_told() -> None:
    views, shape = drive_views(bodies()), {(480, 640)}
    with pytest.raises(NoPoints, match="intrinsics of its camera are not known"):
        drive_points(views, None, shape, MOUNT, Labels())
    with pytest.raises(NoPoints, match="nobody told where the camera sat"):
        drive_points(views, PLAIN, shape, None, Labels())
    with pytest.raises(NoPoints, match="of several sizes"):
        drive_points(views, PLAIN, {(480, 640), (240, 320)}, MOUNT, Labels())
    with pytest.raises(SaaneError, match="another shape"):
        drive_points(views, PLAIN, {(400, 640)}, MOUNT, Labels())


def test_another_pass_is_matched_and_the_opposite_way_is_not() -> None:
    there = [Pose((2.0 * i, 0.0, 0.0)) for i in range(20)]
    again = [Pose((2.0 * i, 3.0, 0.0)) for i in range(20)]
    back = [Pose((2.0 * i, -3.0, 0.0), (0.0, 0.0, 1.0, 0.0)) for i in range(20)]
    pairs = neighbours([*there, *again, *back])
    assert pairs[5][:5] == [6, 7, 8, 9, 11]
    assert set(pairs[5][5:]) <= set(range(18, 40))
    assert 25 in pairs[5]
    assert all(j < 40 for i in range(40) for j in pairs.get(i, ()))


@pytest.fixture(scope="module")
def town() -> tuple[Traverse, Traverse]:
    world = Town(2001, 60.0)
    return Traverse(world, "day", 1, lateral_m=-1.75), Traverse(world, "day", 2, lateral_m=-0.5)


def test_rendered_images_are_refined_to_centimetres(town: tuple[Traverse, Traverse]) -> None:
    mapping, driving = town
    simulated = mapping.camera
    camera = Camera(
        simulated.width, simulated.height, PLUMB_BOB, tuple(simulated.matrix.ravel().tolist())
    )
    mount = Pose((0.0, 0.0, 1.5))
    features = RootSift(MOST_OF_MAP)
    frames = [mapping.render(i) for i in range(0, 40, 3)]
    views = [View(frame.pose, features.extract(frame.image)) for frame in frames]
    points, _ = triangulate(views, camera, mount, features)
    assert points.error < 1.2
    assert points.place_bytes <= 25_000
    poses = [frame.pose for frame in frames]
    refiner = Refiner(points, poses, mount, RootSift(), budget_ms=None)
    at = np.array([pose.position for pose in poses])
    errors = []
    for shown in (driving.render(i) for i in range(4, 28, 4)):
        near = np.argsort(np.linalg.norm(at - shown.pose.position, axis=1))[:4].tolist()
        found = refiner.refine(shown.image, camera, near)
        if found is not None:
            errors.append(math.dist(found.pose.position, shown.pose.position))
            # The same image, twice as large, of the same camera.
            large = cv2.resize(shown.image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
            again = refiner.refine(large, camera, near)
            assert again is not None
            assert math.dist(again.pose.position, found.pose.position) < 0.5
    assert len(errors) >= 5
    assert np.median(errors) < 0.15
    # A place of the other end of the road is no place of this image.
    assert refiner.refine(driving.render(2).image[:, ::-1].copy(), camera, [11, 12, 13]) is None


def test_a_drive_of_blurred_images_is_told(town: tuple[Traverse, Traverse]) -> None:
    """As by night or round a bend, when all of an image is smeared along its rows."""
    mapping, features = town[0], RootSift(MOST_OF_MAP)
    k = tuple(mapping.camera.matrix.ravel().tolist())
    camera = Camera(mapping.camera.width, mapping.camera.height, PLUMB_BOB, k)
    smear = np.full((1, 75), 1 / 75)
    views = []
    for frame in (mapping.render(i) for i in range(0, 36, 3)):
        image = np.asarray(cv2.filter2D(frame.image, -1, smear), np.uint8)
        views.append(View(frame.pose, features.extract(image)))
    with pytest.raises(NoPoints, match="drive slower or by better light"):
        triangulate(views, camera, Pose((0.0, 0.0, 1.5)), features)
