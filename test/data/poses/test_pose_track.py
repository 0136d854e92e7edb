"""Interpolated poses against rotation matrices and naive sums."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from saane_ros.data.poses.track import PoseTrack, course_orientations, slerp

SECOND = 10**9


def yaw(angle: float) -> np.ndarray:
    return np.array([0.0, 0.0, math.sin(angle / 2), math.cos(angle / 2)])


def rotation(q: np.ndarray) -> np.ndarray:
    x, y, z, w = q
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * skew + 2 * skew @ skew


@settings(deadline=None)
@given(
    first=st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: math.hypot(*q) > 0.1),
    second=st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(
        lambda q: math.hypot(*q) > 0.1
    ),
    share=st.floats(0, 1),
)
def test_slerp_turns_by_the_share_of_the_angle(first, second, share):
    a, b = (np.array(q) / math.hypot(*q) for q in (first, second))
    mixed = slerp(a, b, share)
    whole, part = (
        math.acos(np.clip((np.trace(rotation(a).T @ rotation(q)) - 1) / 2, -1, 1))
        for q in (b, mixed)
    )
    assert abs(np.linalg.norm(mixed) - 1) < 1e-12
    assert abs(part - share * whole) < 1e-4


def test_a_pose_between_two_is_halfway_and_turned_halfway():
    track = PoseTrack(
        np.array([2 * SECOND, SECOND]),
        np.array([[4.0, 2.0, 0.0], [0.0, 0.0, 0.0]]),
        np.array([3 * yaw(1.0), yaw(0.0)]),
    )
    pose, travelled = track.at(int(1.5 * SECOND))
    np.testing.assert_allclose(pose.position, (2, 1, 0))
    np.testing.assert_allclose(pose.orientation, yaw(0.5), atol=1e-12)
    assert travelled == math.hypot(4, 2) / 2


def test_there_is_no_pose_outside_nor_within_a_gap():
    seconds = np.array([0, 1, 2, 30, 31])
    track = PoseTrack(
        seconds * SECOND,
        np.column_stack([seconds * 2.0, [0] * 5, [0] * 5]),
        np.tile(yaw(0), (5, 1)),
    )
    inside = {second: track.at(round(second * SECOND)) for second in (0, 0.5, 2, 30, 31)}
    assert all(found is not None for found in inside.values())
    assert inside[30][1] == 60
    for second in (-0.1, 2.1, 15, 29.9, 31.1):
        assert track.at(round(second * SECOND)) is None


def test_slow_but_steady_poses_are_no_gaps():
    seconds = np.arange(5) * 10
    track = PoseTrack(
        seconds * SECOND, np.column_stack([seconds, [0] * 5, [0] * 5]), np.tile(yaw(0), (5, 1))
    )
    assert track.at(25 * SECOND)[0].position[0] == 25


@settings(deadline=None)
@given(
    seconds=st.lists(st.integers(0, 50), min_size=2, max_size=30),
    seed=st.integers(0, 100),
)
def test_any_order_and_repetition_of_stamps_is_sorted_out(seconds, seed):
    stamps = [second * SECOND for second in seconds]
    noise = np.random.default_rng(seed).normal(size=(len(stamps), 3))
    positions = np.column_stack([seconds, np.zeros((len(stamps), 2))]) * 10 + 0.05 * noise
    track = PoseTrack(np.array(stamps), positions, np.tile(yaw(0), (len(stamps), 1)))
    first = {}
    for stamp, position in zip(stamps, positions, strict=True):
        first.setdefault(stamp, position)
    travelled, before = 0.0, None
    for stamp in sorted(first):
        if before is not None:
            travelled += math.dist(first[stamp], before)
        before = first[stamp]
        pose, found = track.at(stamp)
        np.testing.assert_allclose(pose.position, first[stamp])
        assert abs(found - travelled) < 1e-9


def test_headings_follow_the_way_and_stay_while_standing():
    way = [(0, 0), (5, 0), (5.1, 0.1), (5, 0), (5, 5), (0, 5)]
    positions = np.array([(x, y, 0.0) for x, y in way])
    found = course_orientations(positions)
    angles = [0, math.pi / 2, math.pi / 2, math.pi / 2, math.pi, math.pi]
    np.testing.assert_allclose(found, [yaw(a) for a in angles], atol=1e-9)
    np.testing.assert_array_equal(course_orientations(np.zeros((3, 3))), np.tile(yaw(0), (3, 1)))


@given(
    starts=st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True),
    length=st.integers(5, 12),
    off=st.floats(50, 1e6),
)
def test_excursions_of_the_frame_are_left_out(starts, length, off):
    seconds = np.arange(200) / 10
    positions = np.column_stack([5 * seconds, np.zeros((200, 2))])
    away = [30 * start + 20 + row for start in starts for row in range(length)]
    positions[away, 1] += off
    track = PoseTrack((seconds * SECOND).astype(np.int64), positions, np.tile(yaw(0), (200, 1)))
    assert track.rows.tolist() == [row for row in range(200) if row not in away]
    assert track.faults.counts == {"outliers": len(away)}
    assert abs(track.travelled[-1] - 5 * seconds[-1]) < 0.03


def test_a_frame_that_stays_elsewhere_is_kept_without_a_way_there():
    seconds = np.arange(100) / 10
    positions = np.column_stack([5 * seconds, np.zeros((100, 2))])
    positions[50:, 1] += 400
    track = PoseTrack((seconds * SECOND).astype(np.int64), positions, np.tile(yaw(0), (100, 1)))
    assert len(track.rows) == 100
    assert track.faults.counts == {"jumps": 1}
    assert abs(track.travelled[-1] - 5 * (seconds[-1] - 0.1)) < 0.03
    assert track.at(round(4.95 * SECOND)) is None


def test_stamps_far_from_all_others_are_left_out():
    stamps = np.arange(50) * SECOND
    stamps[[7, 20]] = 10**9 * SECOND, -(10**8) * SECOND
    positions = np.column_stack([np.arange(50.0), np.zeros((50, 2))])
    track = PoseTrack(stamps, positions, np.tile(yaw(0), (50, 1)))
    assert track.rows.tolist() == [row for row in range(50) if row not in (7, 20)]
    assert track.faults.counts == {"stamps": 2}
    assert track.travelled[-1] == 49


def test_rows_that_are_no_pose_are_left_out():
    positions = np.column_stack([np.arange(6.0), np.zeros((6, 2))])
    positions[2, 1] = np.nan
    turns = np.tile(yaw(0), (6, 1))
    turns[4] = 0
    track = PoseTrack(np.arange(6) * SECOND, positions, turns)
    assert track.rows.tolist() == [0, 1, 3, 5]
    assert track.at(2 * SECOND)[0].position == (2, 0, 0)
    assert len(PoseTrack(np.zeros(0, np.int64), np.zeros((0, 3)), None).rows) == 0
