from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.evaluation.positives import correct_places, metres_between
from saane_ros.types import Pose


def at(x: float, y: float, course_deg: float = 0.0, z: float = 0.0) -> Pose:
    half = math.radians(course_deg) / 2
    return Pose((x, y, z), (0.0, 0.0, math.sin(half), math.cos(half)))


poses = st.builds(
    at, st.floats(-30, 30), st.floats(-5, 5), st.sampled_from([0.0, 30.0, 90.0, 180.0, 330.0])
)
maybe = st.one_of(st.none(), poses)


@given(st.lists(maybe, max_size=5), st.lists(maybe, max_size=20), st.integers(0, 3))
def test_against_loops(queries: list[Pose | None], places: list[Pose | None], frames: int) -> None:
    found = correct_places(queries, places, metres=10.0, frames=frames)
    known = [row for row, place in enumerate(places) if place is not None]
    for query, rows in zip(queries, found, strict=True):
        near: list[tuple[float, int]] = []
        for order, row in enumerate(known):
            place = places[row]
            if query is None or place is None:
                continue
            apart = math.dist(query.position[:2], place.position[:2])
            turned = [
                2 * math.degrees(math.atan2(p.orientation[2], p.orientation[3]))
                for p in (query, place)
            ]
            difference = abs(turned[0] - turned[1]) % 360
            if apart <= 10.0 and min(difference, 360 - difference) < 45:
                near.append((apart, order))
        expected = {known[order] for _, order in near}
        if near:
            nearest = min(near)[1]
            for order in range(nearest - frames, nearest + frames + 1):
                if 0 <= order < len(known):
                    expected.add(known[order])
        assert set(rows.tolist()) == expected
        assert rows.tolist() == sorted(rows.tolist())


def test_the_other_lane_of_the_same_street_is_another_place() -> None:
    places = [at(0, 0), at(0, 3, course_deg=180)]
    assert [rows.tolist() for rows in correct_places([at(1, 0)], places, frames=0)] == [[0]]


def test_neighbours_count_beyond_the_radius() -> None:
    places = [at(20.0 * n, 0) for n in range(9)]
    found = correct_places([at(81, 0)], places, metres=10.0, frames=2)
    assert found[0].tolist() == [2, 3, 4, 5, 6]


def test_distance_is_horizontal() -> None:
    assert metres_between(at(0, 0, z=5), at(3, 4, z=-7)) == 5.0
    assert correct_places([None], [at(0, 0)])[0].dtype == np.int64
