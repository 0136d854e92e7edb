from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from saane_ros.errors import SaaneError
from saane_ros.simulation import (
    CLASS_NAMES,
    CONDITIONS,
    DYNAMIC_CLASSES,
    Camera,
    Town,
    TownFrame,
    Traverse,
    render_many,
)
from saane_ros.simulation.labels import BUILDING, CAR, LANE_MARKING, ROAD, SKY, VEGETATION
from saane_ros.types import Pose

SMALL = Camera(160, 120)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def town() -> Town:
    return Town(7, 300.0)


def digest(traverse: Traverse, index: int) -> str:
    shown = traverse.render(index)
    return hashlib.sha256(shown.image.tobytes() + shown.labels.tobytes()).hexdigest()


def projected(pose: Pose, camera: Camera, point: np.ndarray) -> np.ndarray:
    """K [R | t] X from the published pose alone: quaternion, mount height and intrinsics."""
    x, y, z, w = pose.orientation
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    body = turn.T @ (point - np.array(pose.position)) - np.array([0.0, 0.0, 1.5])
    pixel = camera.matrix @ np.array([-body[1], -body[2], body[0]])
    return pixel / pixel[2]


def test_same_seed_gives_the_same_bytes_in_any_order_and_in_another_process(town: Town) -> None:
    night = Traverse(town, "night", 5, camera=SMALL)
    first = [digest(night, i) for i in (3, 90, 3)]
    assert first[0] == first[2]
    again = Traverse(Town(7, 300.0), "night", 5, camera=SMALL)
    assert digest(again, 90) == first[1]
    code = (
        "import hashlib; from saane_ros.simulation import *;"
        "t = Traverse(Town(7, 300.0), 'night', 5, camera=Camera(160, 120)).render(90);"
        "print(hashlib.sha256(t.image.tobytes() + t.labels.tobytes()).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == first[1]


def test_rendering_on_two_processes_changes_neither_order_nor_bytes(town: Town) -> None:
    rain = Traverse(town, "rain", 2, camera=SMALL)
    indices = [40, 2, 41, 7]
    for index, shown in zip(indices, render_many(rain, indices, workers=2), strict=True):
        assert shown.name == f"rain-{index:06d}"
        np.testing.assert_array_equal(shown.image, rain.render(index).image)


def test_a_wall_corner_shows_where_the_pose_and_the_matrix_say(town: Town) -> None:
    """Where a building ends against the sky, the labels change within 0.4 m of its corner."""
    camera = Camera(320, 240)
    traverse = Traverse(town, "overcast", 1, camera=camera, traffic=0.0)
    checked = 0
    for index in range(0, len(traverse), 5):
        shown = traverse.render(index)
        for x0, y0, x1, y1, height in town.content.walls:
            for x, y, ox, oy in ((x0, y0, x1, y1), (x1, y1, x0, y0)):
                corner = np.array([x, y, height / 2])
                if not 12 < np.linalg.norm(corner[:2] - shown.pose.position[:2]) < 40:
                    continue
                inward = (np.array([ox, oy]) - corner[:2]) / np.hypot(ox - x, oy - y)
                inner = np.array([*(corner[:2] + 0.4 * inward), height / 2])
                outer = np.array([*(corner[:2] - 0.4 * inward), height / 2])
                depths = [_label_and_depth(shown, camera, p) for p in (inner, outer)]
                if None in depths:
                    continue
                (inside, behind, expected), (outside, _, _) = depths
                if outside == SKY and inside == BUILDING and abs(behind - expected) < 0.5:
                    checked += 1
    assert checked >= 10


def _label_and_depth(
    shown: TownFrame, camera: Camera, point: np.ndarray
) -> tuple[int, float, float] | None:
    """Label and depth at the pixel of a map point, and the depth that it should have."""
    u, v, _ = projected(shown.pose, camera, point)
    if not (2 < u < camera.width - 3 and 2 < v < camera.height - 3):
        return None
    x, y, z, w = shown.pose.orientation
    forward = np.array([1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)])
    depth = float(forward @ (point - np.array(shown.pose.position)))
    at = (round(float(v)), round(float(u)))
    return int(shown.labels[at]), float(shown.depth[at]), depth


def test_street_lamps_stand_where_the_pose_says(town: Town) -> None:
    """Every lamp head within 25 m and in view that is not hidden has its depth in the depth map."""
    camera = Camera(320, 240)
    traverse = Traverse(town, "overcast", 1, camera=camera, traffic=0.0)
    hits = misses = 0
    for index in range(0, len(traverse), 6):
        shown = traverse.render(index)
        for lamp in town.content.lamps:
            found = _label_and_depth(shown, camera, lamp)
            if found is None or not 6 < found[2] < 25:
                continue
            label, depth, expected = found
            if depth < expected - 0.5:
                continue
            if CLASS_NAMES[label] == "pole" and abs(depth - expected) < 0.5:
                hits += 1
            else:
                misses += 1
    assert hits >= 10
    assert misses == 0


def test_labels_of_the_static_town_are_the_same_by_day_and_by_night(town: Town) -> None:
    day = Traverse(town, "day", 4, camera=SMALL)
    night = Traverse(town, "night", 4, camera=SMALL)
    moving = [CLASS_NAMES.index(name) for name in DYNAMIC_CLASSES]
    assert len(day) == len(night)
    for index in (0, 60, 200):
        a, b = day.render(index), night.render(index)
        assert a.pose == b.pose
        still = ~(np.isin(a.labels, moving) | np.isin(b.labels, moving))
        assert still.mean() > 0.5
        np.testing.assert_array_equal(a.labels[still], b.labels[still])
        assert a.image.mean() > 2.5 * b.image.mean()


def test_bare_trees_leave_more_sky(town: Town) -> None:
    leaf = Traverse(town, "day", 4, camera=SMALL, traffic=0.0)
    bare = Traverse(town, "leaves_off", 4, camera=SMALL, traffic=0.0)
    share = [
        sum(float((t.render(i).labels == VEGETATION).mean()) for i in range(0, len(t), 40))
        for t in (leaf, bare)
    ]
    assert 0 < share[1] < 0.7 * share[0]


def test_two_traverses_differ_in_position_speed_and_traffic_but_not_in_town(town: Town) -> None:
    first, second = Traverse(town, "day", 1, camera=SMALL), Traverse(town, "day", 2, camera=SMALL)
    size = min(len(first), len(second))
    assert abs(np.mean(first.drive.lateral) - np.mean(second.drive.lateral)) > 0.05
    assert np.abs(first.travelled[:size] - second.travelled[:size]).max() > 1.0
    assert first.light != second.light
    cars = [[len(t.traffic.present(i)) for i in range(0, size, 20)] for t in (first, second)]
    assert cars[0] != cars[1]
    assert first.town.content is second.town.content


def test_without_traffic_nothing_moves(town: Town) -> None:
    moving = [CLASS_NAMES.index(name) for name in DYNAMIC_CLASSES]
    empty = Traverse(town, "day", 1, camera=SMALL, traffic=0.0)
    full = Traverse(town, "day", 1, camera=SMALL)
    assert not any(np.isin(empty.render(i).labels, moving).any() for i in range(0, 300, 50))
    assert any((full.render(i).labels == CAR).any() for i in range(0, 300, 50))


def test_stamps_are_exact_multiples_of_the_period(town: Town) -> None:
    traverse = Traverse(town, "fog", 1, camera=SMALL, rate_hz=16.0, start_stamp_ns=10**18 + 1)
    assert traverse.stamps_ns[:3] == [10**18 + 1, 10**18 + 62_500_001, 10**18 + 125_000_001]
    assert traverse.render(100).stamp_ns == 10**18 + 1 + 100 * 62_500_000
    assert traverse.render(100).stamp_ns == traverse.stamps_ns[100]


def test_frames_carry_the_ground_truth_that_the_poses_tell(town: Town) -> None:
    traverse = Traverse(town, "day", 3, camera=SMALL, lateral_m=-1.5)
    shown = traverse.render(50)
    frame = next(traverse.frames())
    assert frame.travelled == 0.0
    assert frame.pose == traverse.poses[0]
    assert shown.pose == traverse.poses[50]
    assert shown.image.shape == (120, 160, 3)
    assert shown.labels.dtype == np.uint8
    on_line = town.route.point(shown.travelled)
    gap = np.linalg.norm(on_line - np.array(shown.pose.position[:2]))
    assert gap == pytest.approx(abs(traverse.drive.lateral[50]), abs=1e-6)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_condition_shows_a_street(town: Town, condition: str) -> None:
    shown = Traverse(town, condition, 6, camera=SMALL).render(120)
    share = np.bincount(shown.labels.ravel(), minlength=len(CLASS_NAMES)) / shown.labels.size
    assert share[ROAD] + share[LANE_MARKING] > 0.1
    assert share[BUILDING] > 0.02
    assert np.isinf(shown.depth[shown.labels == SKY]).all()
    assert np.isfinite(shown.depth[shown.labels != SKY]).all()
    assert shown.image.std() > 8


def test_fog_hides_what_is_far_and_leaves_what_is_near(town: Town) -> None:
    clear = Traverse(town, "overcast", 6, camera=SMALL, traffic=0.0)
    fog = Traverse(town, "fog", 6, camera=SMALL, traffic=0.0)
    contrast = []
    for traverse in (clear, fog):
        shown = traverse.render(150)
        grey = shown.image.mean(axis=2)
        far = (shown.depth > 60) & np.isfinite(shown.depth)
        contrast.append(float(grey[far].std() / grey.std()))
    assert contrast[1] < 0.6 * contrast[0]


def test_unknown_conditions_and_impossible_speeds_are_told(town: Town) -> None:
    with pytest.raises(SaaneError, match=r"'hail'.*day, overcast"):
        Traverse(town, "hail", 1)
    with pytest.raises(SaaneError, match="give a rate and a speed"):
        Traverse(town, "day", 1, speed_mps=0.0)
    with pytest.raises(IndexError):
        Traverse(town, "day", 1).render(-1)
