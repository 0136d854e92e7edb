"""Rigid transforms against 4 x 4 matrices, and chains of static ones."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigid import matrix, poses, same
from scipy.spatial.transform import Rotation

from saane_ros.data.poses.transforms import (
    IDENTITY,
    OPTICAL,
    StaticTransforms,
    apply,
    between,
    compose,
    frame_name,
    inverse,
    read_mount,
    turn_between,
    valid_pose,
)
from saane_ros.errors import SaaneError
from saane_ros.types import Pose

ANGLES = st.floats(-math.pi, math.pi)
METRES = st.floats(-1e4, 1e4)


@given(poses(), poses())
def test_composing_is_multiplying_matrices(first: Pose, second: Pose) -> None:
    same(compose(first, second), matrix(first) @ matrix(second))
    assert math.hypot(*compose(first, second).orientation) == pytest.approx(1, abs=1e-12)


@given(poses())
def test_the_inverse_leads_back(pose: Pose) -> None:
    same(inverse(pose), np.linalg.inv(matrix(pose)))
    same(compose(pose, inverse(pose)), np.eye(4))


@given(poses(), st.tuples(METRES, METRES, METRES))
def test_points_move_as_by_matrices(pose: Pose, point: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(apply(pose, point), (matrix(pose) @ [*point, 1])[:3], atol=1e-8)


@given(poses(), poses(), st.floats(0, 1))
def test_between_two_poses_both_parts_are_the_share_of_the_way(
    first: Pose, second: Pose, share: float
) -> None:
    found = between(first, second, share)
    straight = (1 - share) * np.array(first.position) + share * np.array(second.position)
    np.testing.assert_allclose(found.position, straight, atol=1e-8)
    whole = (_turn(first).inv() * _turn(second)).magnitude()
    assert turn_between(first, second) == pytest.approx(whole, abs=1e-6)
    if whole < 3.1:  # else both ways round are the shorter one
        assert turn_between(first, found) == pytest.approx(share * whole, abs=1e-6)
        assert turn_between(found, second) == pytest.approx((1 - share) * whole, abs=1e-6)


def _turn(pose: Pose) -> Rotation:
    return Rotation.from_quat(pose.orientation)


@given(st.tuples(METRES, METRES, METRES), st.tuples(ANGLES, ANGLES, ANGLES))
def test_a_mount_is_read_as_urdf_turns(
    place: tuple[float, float, float], turn: tuple[float, float, float]
) -> None:
    read = read_mount(" ".join(map(repr, [*place, *turn])))
    assert read is not None
    expected = np.eye(4)
    expected[:3, :3] = Rotation.from_euler("xyz", turn).as_matrix()
    expected[:3, 3] = place
    same(read, expected)
    assert read_mount(", ".join(map(repr, [*place, *turn]))) == read


def test_a_mount_that_looks_left_and_down() -> None:
    read = read_mount("0.5 0.2 1.4 0 0.1 1.5707963267948966")
    assert read is not None
    assert apply(read, (1.0, 0.0, 0.0)) == pytest.approx(
        (0.5, 0.2 + math.cos(0.1), 1.4 - math.sin(0.1))
    )


def test_what_is_no_mount_is_told_and_nothing_is_none() -> None:
    assert read_mount("  ") is None
    for text in ("1 2 3", "1 2 3 4 5 6 7", "a b c d e f", "0 0 0 0 0 nan", "0 0 inf 0 0 0"):
        with pytest.raises(SaaneError, match="give six numbers"):
            read_mount(text)


def test_a_quaternion_of_a_message_becomes_a_unit_one_or_nothing() -> None:
    assert valid_pose((1.0, 2.0, 3.0), (0.0, 0.0, 2.0, 0.0)) == Pose((1, 2, 3), (0, 0, 1, 0))
    assert valid_pose((1.0, 2.0, 3.0), (0.0, 0.0, 0.0, 0.0)) is None
    assert valid_pose((math.nan, 2.0, 3.0), (0.0, 0.0, 0.0, 1.0)) is None
    assert valid_pose((1.0, 2.0, 3.0), (0.0, math.inf, 0.0, 1.0)) is None


@given(st.lists(st.tuples(st.integers(0, 9), poses()), min_size=1, max_size=9), st.data())
def test_any_two_frames_of_a_tree_are_related_by_the_product_of_its_matrices(
    drawn: list[tuple[int, Pose]], data: Any
) -> None:
    """Frame n hangs on a frame before it; the way to the root is multiplied out."""
    tree = StaticTransforms()
    to_root = [np.eye(4)]
    for child, (number, pose) in enumerate(drawn, start=1):
        parent = number % child
        tree.add(f"/frame_{parent}", f"frame_{child}", pose)
        to_root.append(to_root[parent] @ matrix(pose))
    frames = st.integers(0, len(drawn))
    first, second = data.draw(frames), data.draw(frames)
    found = tree.find(f"frame_{first}", f"/frame_{second}")
    assert found is not None
    same(found, np.linalg.inv(to_root[second]) @ to_root[first], 1e-5)
    assert tree.find("frame_0", "elsewhere") is None


def test_a_frame_without_a_name_is_nowhere_and_one_alone_is_itself() -> None:
    tree = StaticTransforms()
    tree.add("base", "base", Pose((1, 0, 0)))
    tree.add("", "camera", Pose((1, 0, 0)))
    assert len(tree) == 0
    assert tree.find("camera", "") is None
    assert tree.find("base", "/base") == IDENTITY
    assert frame_name("/base ") == "base"


def test_a_later_word_counts_and_what_is_no_transform_does_not() -> None:
    tree = StaticTransforms()
    tree.take(
        SimpleNamespace(
            transforms=[_stamped("base", "mast", (0, 0, 1)), _stamped("base", "lidar", (0, 0, 2))]
        )
    )
    tree.take(
        SimpleNamespace(
            transforms=[
                _stamped("base", "mast", (0, 0, 3)),
                _stamped("base", "lidar", (0, 0, 9), 0.0),
            ]
        )
    )
    assert tree.find("mast", "base") == Pose((0, 0, 3))
    assert tree.find("lidar", "mast") == Pose((0, 0, -1))


def _stamped(parent: str, child: str, place: tuple[float, ...], w: float = 1.0) -> Any:
    x, y, z = map(float, place)
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=parent),
        child_frame_id=child,
        transform=SimpleNamespace(
            translation=SimpleNamespace(x=x, y=y, z=z),
            rotation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=w),
        ),
    )


def test_a_camera_looks_along_x_whichever_frame_its_images_name() -> None:
    """A camera on a mast that looks to the left, told by its housing and by its optical frame."""
    left = read_mount("0 0 2 0 0 1.5707963267948966")
    assert left is not None
    tree = StaticTransforms()
    tree.add("base", "camera_link", left)
    tree.add("camera_link", "camera", OPTICAL)
    for name in ("camera_link", "camera"):
        found = tree.camera(name, "base")
        assert found is not None
        same(found, matrix(left))
    ahead = apply(tree.find("camera", "base") or IDENTITY, (0.0, 0.0, 1.0))
    assert ahead == pytest.approx((0.0, 1.0, 2.0), abs=1e-9)
    assert tree.camera("unknown", "base") is None
