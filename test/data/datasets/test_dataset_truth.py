"""The rules for correct references, against slow and obvious versions of themselves."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.data.datasets.truth import along_route, courses_deg, within_frames, within_radius


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=20),
    st.integers(0, 6),
)
def test_within_frames_is_every_row_that_near(rows: list[int | None], frames: int) -> None:
    for row, correct in zip(rows, within_frames(rows, frames, 31), strict=True):
        expected = [] if row is None else [j for j in range(31) if abs(j - row) <= frames]
        assert correct.tolist() == expected


@given(st.integers(0, 2**32 - 1))
def test_within_radius_is_every_reference_that_near(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, references = rng.uniform(0, 60, (7, 2)), rng.uniform(0, 60, (12, 2))
    for query, correct in zip(queries, within_radius(queries, references, 25.0), strict=True):
        naive = [j for j, r in enumerate(references) if np.hypot(*(r - query)) <= 25.0]
        assert correct.tolist() == naive


def out_and_back() -> tuple[np.ndarray, np.ndarray]:
    """East along a road, back west on the other lane, and east once more; 10 m a frame."""
    east = [(10.0 * i, 0.0) for i in range(20)]
    west = [(190.0 - 10.0 * i, 4.0) for i in range(20)]
    positions = np.array([*east, *west, *east])
    return positions, np.repeat((0.0, 180.0, 0.0), 20)


def test_every_pass_in_the_same_direction_is_right() -> None:
    positions, courses = out_and_back()
    correct = along_route(np.array([[101.0, 1.0]]), np.array([10.0]), positions, courses)[0]
    assert correct.tolist() == [*range(5, 16), *range(45, 56)]


def test_without_revisits_only_the_nearest_pass_is_right() -> None:
    positions, courses = out_and_back()
    positions[40:] += (0.0, 3.0)
    here, course = np.array([[100.0, 3.1]]), np.array([0.0])
    correct = along_route(here, course, positions, courses, revisit_ok=False)[0]
    assert correct.tolist() == list(range(45, 56))


def test_the_other_direction_and_a_far_road_are_no_match() -> None:
    positions, courses = out_and_back()
    here = np.array([[100.0, 0.0], [100.0, 30.0], [np.nan, np.nan]])
    turned = along_route(here, np.array([90.0, 0.0, 0.0]), positions, courses)
    assert [len(rows) for rows in turned] == [0, 0, 0]
    back = along_route(here[:1], np.array([-175.0]), positions, courses)[0]
    assert back.tolist() == list(range(24, 35))


def test_courses_follow_the_motion() -> None:
    positions = np.array([(0.0, 0.0), (0.0, 5.0), (0.0, 10.0), (-5.0, 10.0)])
    np.testing.assert_allclose(courses_deg(positions), [90.0, 90.0, 180.0, 180.0], atol=1e-9)
