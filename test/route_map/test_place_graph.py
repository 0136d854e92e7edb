"""The place graph against naive recomputation, on every kind of map."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import line_graph

from saane_ros.route_map.alignment import courses_of
from saane_ros.route_map.place_graph import (
    GAP_M,
    GAP_STEPS,
    LANE_M,
    SAME_COURSE,
    SAME_VIEW,
    SHORTEST,
    PlaceGraph,
    build_graph,
    graph_of,
    read_graph_file,
    write_graph_file,
)
from saane_ros.route_map.roads import BRANCHES
from saane_ros.types import Place, Pose

LIMITS = st.floats(0, 40)
NO_ROWS = np.empty((0, 8), np.float32)
"""Where places have poses, descriptors do not matter."""


def naive_ways(graph: PlaceGraph, backwards: bool) -> dict[int, list[tuple[int, float]]]:
    """Edges from each spot, the shortest first, no more than `BRANCHES`."""
    ways: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for (a, b), length in zip(graph.edges.tolist(), graph.lengths.tolist(), strict=True):
        start, end = (b, a) if backwards else (a, b)
        ways[start].append((end, length))
    return {spot: sorted(ends, key=lambda e: e[1])[:BRANCHES] for spot, ends in ways.items()}


def dijkstra(ways: dict[int, list[tuple[int, float]]], spot: int, limit: float) -> dict[int, float]:
    found: dict[int, float] = {}
    queue = [(0.0, spot)]
    while queue:
        gone, at = heapq.heappop(queue)
        if at in found:
            continue
        found[at] = gone
        for after, length in ways.get(at, []):
            if gone + length <= limit + 1e-9:
                heapq.heappush(queue, (gone + length, after))
    return found


def check_reachable(graph: PlaceGraph, spots: list[int], ahead: float, behind: float) -> None:
    rows, reached, steps = graph.reachable(np.array(spots, np.int64), ahead, behind)
    found: dict[tuple[int, int, bool], float] = {}
    for row, at, gone in zip(rows.tolist(), reached.tolist(), steps.tolist(), strict=True):
        assert np.isfinite(gone)
        assert (row, at, gone < 0) not in found
        found[(row, at, gone < 0)] = abs(gone)
    wanted: dict[tuple[int, int, bool], float] = {}
    for row, spot in enumerate(spots):
        for back, limit in ((False, ahead), (True, behind)):
            for at, gone in dijkstra(naive_ways(graph, back), spot, limit).items():
                if at != spot or not back:
                    wanted[(row, at, back)] = gone
    assert found.keys() == wanted.keys()
    for key, gone in wanted.items():
        assert found[key] == pytest.approx(gone, abs=1e-6)


@st.composite
def graphs(draw: st.DrawFn) -> PlaceGraph:
    """Any edges between a few spots: forks, joins, rings, ways that lead nowhere."""
    count = draw(st.integers(1, 14))
    pairs = [(a, b) for a in range(count) for b in range(count) if a != b]
    along = [(a, a + 1) for a in range(count - 1)]
    some = draw(st.lists(st.sampled_from(pairs), max_size=14, unique=True)) if pairs else []
    edges = sorted({*some, *(along if draw(st.booleans()) else [])})
    lengths = [draw(st.floats(0.5, 6)) for _ in edges]
    return PlaceGraph(
        np.arange(count), np.array(edges, np.int64).reshape(-1, 2), np.array(lengths), 1.0
    )


@given(graphs(), LIMITS, LIMITS, st.data())
def test_reachable_is_the_shortest_way(
    graph: PlaceGraph, ahead: float, behind: float, data: st.DataObject
) -> None:
    spots = data.draw(st.lists(st.integers(0, graph.count - 1), min_size=1, unique=True))
    check_reachable(graph, spots, ahead, behind)
    around = graph.around(spots[0], ahead)
    near = [dijkstra(naive_ways(graph, back), spots[0], ahead) for back in (False, True)]
    assert around.tolist() == sorted({*near[0], *near[1]})


def test_nothing_is_reached_from_nowhere() -> None:
    rows, reached, steps = line_graph(5).reachable(np.empty(0, np.int64), 3.0, 3.0)
    assert len(rows) == len(reached) == len(steps) == 0


def test_drives_that_skip_each_others_spots_have_no_more_ways_than_spots() -> None:
    """With ways of one and of two steps everywhere there are 10^6 ways over 30 steps."""
    count = 400
    edges = [(i, i + 1) for i in range(count - 1)] + [(i, i + 2) for i in range(count - 2)]
    lengths = [float(b - a) for a, b in edges]
    graph = PlaceGraph(np.arange(count), np.array(edges), np.array(lengths), 1.0)
    rows, reached, steps = graph.reachable(np.arange(100, 300), 32.0, 8.0)
    assert len(rows) == 200 * 41
    np.testing.assert_allclose(steps, reached - (100 + rows))


def road(*ends: tuple[float, float], spacing: float = 2.0) -> np.ndarray:
    """Points every `spacing` metres along straight pieces."""
    points = [np.array([ends[0]])]
    for a, b in itertools.pairwise(np.array(ends, np.float64)):
        count = round(math.dist(a, b) / spacing)
        points.append(a + (b - a) * np.arange(1, count + 1)[:, None] / count)
    return np.concatenate(points)


def joined(*drives: np.ndarray) -> tuple[PlaceGraph, list[np.ndarray]]:
    """The graph of several drives, and the spots of each."""
    begins = np.cumsum([0, *map(len, drives)])
    rows = [np.arange(a, b) for a, b in itertools.pairwise(begins)]
    graph = build_graph(np.concatenate(drives), rows)
    check_graph(graph, np.concatenate(drives), rows)
    return graph, [graph.spot[row] for row in rows]


def check_graph(graph: PlaceGraph, positions: np.ndarray, drives: list[np.ndarray]) -> None:
    """Spots and edges by the rule, place by place and without cells."""
    first: list[int] = []
    courses: list[np.ndarray] = []
    spot = np.full(len(positions), -1)
    half = 0.5 * graph.step
    for drive in drives:
        course = courses_of(positions[drive]) if len(drive) > 1 else np.array([[1.0, 0.0]])
        for place, heading in zip(drive, course, strict=True):
            best, nearest = None, math.inf
            for number, (seen, along) in enumerate(zip(first, courses, strict=True)):
                apart = positions[place] - positions[seen]
                ahead = abs(apart @ along)
                aside = abs(apart[0] * along[1] - apart[1] * along[0])
                same = heading @ along >= SAME_COURSE
                if ahead <= half and aside <= LANE_M and same and ahead < nearest:
                    best, nearest = number, ahead
            if best is None:
                best = len(first)
                first.append(int(place))
                courses.append(heading)
            spot[place] = best
    np.testing.assert_array_equal(graph.spot, spot)
    edges = {}
    for drive in drives:
        for a, b in itertools.pairwise(drive.tolist()):
            if spot[a] == spot[b]:
                continue
            if math.dist(positions[a], positions[b]) <= max(GAP_STEPS * graph.step, GAP_M):
                far = math.dist(positions[first[spot[a]]], positions[first[spot[b]]])
                edges[(spot[a], spot[b])] = max(far / graph.step, SHORTEST)
    found = zip(map(tuple, graph.edges.tolist()), graph.lengths.tolist(), strict=True)
    assert dict(found) == pytest.approx(edges)


def test_a_line_is_places_one_step_apart() -> None:
    graph = line_graph(30)
    check_reachable(graph, [0, 3, 29], 4.0, 2.5)
    assert graph.around(10, 3).tolist() == list(range(7, 14))
    assert graph.places_of(np.array([4, 6])).tolist() == [4, 6]
    straight, _ = joined(road((0, 0), (58, 0)))
    assert straight.step == pytest.approx(2.0)
    np.testing.assert_array_equal(straight.spot, graph.spot)
    np.testing.assert_allclose(straight.lengths, graph.lengths)


def test_two_drives_along_one_road_share_its_spots() -> None:
    day, night = road((0, 0), (100, 0)), road((20, 3), (140, 3), spacing=3.0)
    graph, (by_day, by_night) = joined(day, night)
    # 100 m at 2 m and at 3 m: no spot but those of the day, up to where it ended.
    assert set(by_night[: int(80 / 3)]) <= set(by_day)
    assert graph.count < len(day) + 25
    middle = by_day[25]
    shared = graph.places_of(np.array([by_night[10]]))
    assert {int(place) // len(day) for place in shared} == {0, 1}
    _, reached, steps = graph.reachable(np.array([middle]), 20.0, 5.0)
    for spot, gone in zip(reached, steps, strict=True):
        position = np.concatenate((day, night))[graph.places_of(np.array([spot]))[0]]
        assert position[0] - day[25, 0] == pytest.approx(2.0 * gone, abs=2.5)


def test_the_other_direction_is_another_road() -> None:
    graph, (there, back) = joined(road((0, 0), (60, 0)), road((60, 4), (0, 4)))
    assert not set(there) & set(back)
    assert set(graph.around(int(there[15]), 100)) == set(there)


def test_a_robot_that_turns_on_the_spot_leaves_edges_that_can_be_driven(tmp_path: Path) -> None:
    ahead = road((0, 0), (40, 0))
    graph, (spots,) = joined(np.concatenate((ahead, ahead[::-1])))
    assert (graph.lengths >= SHORTEST).all()
    assert set(spots[: len(ahead) - 1]).isdisjoint(spots[len(ahead) + 1 :])
    assert spots[-1] in graph.around(int(spots[0]), 200)
    write_graph_file(tmp_path / "graph.npz", graph)
    read_graph_file(tmp_path / "graph.npz", len(graph.spot))


def test_a_stop_is_one_spot() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, (600, 2))
    before, after = road((0, 0), (50, 0)), road((52, 0), (100, 0))
    graph, (spots,) = joined(np.concatenate((before, before[-1] + noise, after)))
    assert set(spots[len(before) : len(before) + 600]) == {spots[len(before) - 1]}
    assert graph.step == pytest.approx(2.0)
    assert len(graph.places_of(spots[len(before) : len(before) + 1])) == 601
    assert graph.count == 51


def test_a_slow_stretch_is_as_long_as_the_road() -> None:
    """Where places lie every 10 cm, a step is still 2 m."""
    slow = road((40, 0), (45, 0), spacing=0.1)
    graph, (spots,) = joined(np.concatenate((road((0, 0), (38, 0)), slow, road((47, 0), (201, 0)))))
    assert graph.step == pytest.approx(2.0)
    _, reached, steps = graph.reachable(spots[:1], 100.0, 0.0)
    assert steps[reached == spots[-40]][0] == pytest.approx((201 - 78) / 2, abs=0.5)


def test_a_stop_with_the_noise_of_gps_is_no_step() -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, (600, 2))
    before = road((0, 0), (50, 0))
    graph, _ = joined(np.concatenate((before, before[-1] + noise, road((52, 0), (100, 0)))))
    assert graph.step == pytest.approx(2.0)
    assert graph.count < 60


def test_roads_fork_and_meet() -> None:
    left = road((0, 0), (40, 0), (80, 40))
    right = road((0, 0), (40, 0), (80, -40))
    graph, (a, b) = joined(left, right)
    assert set(a[:20]) == set(b[:20])
    assert not set(a[25:]) & set(b[25:])
    reached = set(graph.around(int(a[18]), 12))
    assert {*a[25:28]} <= reached
    assert {*b[25:28]} <= reached
    assert not {*b[25:]} & set(graph.around(int(a[30]), 15))


def test_laps_of_a_closed_loop_are_one_ring() -> None:
    lap = road((0, 0), (60, 0), (60, 60), (0, 60), (0, 0))
    graph, (once, again) = joined(lap[:-1], lap[:-1])
    np.testing.assert_array_equal(once, again)
    graph, (spots,) = joined(np.concatenate((lap[:-1], lap[:-1])))
    assert graph.count <= 121
    _, reached, steps = graph.reachable(spots[:1], 1000.0, 0.0)
    assert len(reached) == len(set(reached)) == graph.count
    assert steps.max() < 121


def test_an_interrupted_drive_has_no_way_over_the_gap() -> None:
    near, far = road((0, 0), (40, 0)), road((5000, 0), (5040, 0))
    graph, (spots,) = joined(np.concatenate((near, far)))
    assert set(graph.around(int(spots[0]), 1e5)) == set(spots[: len(near)])
    graph, (spots,) = joined(
        np.concatenate([near + np.array(move) for move in ((0, 0), (0, 3000), (60, 0))])
    )
    assert set(graph.around(int(spots[0]), 1e5)) == set(spots[: len(near)])


@pytest.mark.parametrize(
    ("positions", "count"),
    [
        ([(3.0, 4.0)], 1),
        ([(3.0, 4.0), (3.0, 4.0)], 1),
        ([(0.0, 0.0), (2.0, 0.0)], 2),
        ([(0.0, 0.0), (1e5, 0.0)], 2),
        ([(0.0, 0.0), (0.01, 0.0), (0.02, 0.0)], 1),
    ],
)
def test_few_places(positions: list[tuple[float, float]], count: int) -> None:
    graph = build_graph(np.array(positions), [np.arange(len(positions))])
    assert graph.count == count
    assert graph.step > 0
    check_reachable(graph, list(range(count)), 1e5, 1e5)


POINTS = st.lists(
    st.tuples(st.floats(-60, 60), st.floats(-60, 60)) | st.just((1.0, 2.0)), min_size=1, max_size=40
)


@given(st.lists(POINTS, min_size=1, max_size=3))
def test_any_points_give_a_whole_graph(
    tmp_path_factory: pytest.TempPathFactory, drives: list[list[tuple[float, float]]]
) -> None:
    graph, _ = joined(*(np.array(points) for points in drives))
    path = tmp_path_factory.mktemp("graph") / "graph.npz"
    write_graph_file(path, graph)
    again = read_graph_file(path, len(graph.spot))
    np.testing.assert_array_equal(again.spot, graph.spot)
    np.testing.assert_array_equal(again.edges, graph.edges)
    np.testing.assert_allclose(again.lengths, graph.lengths, rtol=1e-6)
    assert (again.step, again.count) == (graph.step, graph.count)


def test_places_of_merged_maps_follow_their_own_drives() -> None:
    """Rows lie in the order of the route and drives in the order of their stamps."""
    places = [
        Place(
            2 * i + night,
            f"{('day', 'night')[night]}/{i}",
            (10**6) * night + i,
            Pose((2.0 * i, 1.5 * night, 0.0)),
            along=2.0 * i,
        )
        for i in range(20)
        for night in (0, 1)
    ]
    graph = graph_of(places, NO_ROWS)
    assert graph.count == 20
    assert graph.step == pytest.approx(2.0)
    assert sorted(map(tuple, graph.edges.tolist())) == [(i, i + 1) for i in range(19)]


def test_places_without_poses_are_spots_by_what_they_show() -> None:
    """A stop of 300 images among drives is one spot, each other place its own."""
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(0, 1, (400, 8)), axis=0).astype(np.float32)
    still = walk[199] + rng.normal(0, 0.05, (300, 8)).astype(np.float32)
    rows = np.concatenate((walk[:200], still, walk[200:]))
    graph = graph_of([Place(i, "", i) for i in range(len(rows))], rows)
    assert graph.step == 0.0
    shown, spot = rows[0], 0
    least = SAME_VIEW * float(np.median(np.linalg.norm(np.diff(rows, axis=0), axis=1)))
    for row, view in enumerate(rows):
        if np.linalg.norm(view - shown) >= least:
            shown, spot = view, spot + 1
        assert graph.spot[row] == spot
    assert graph.edges.tolist() == [[i, i + 1] for i in range(graph.count - 1)]
    assert len(set(graph.spot[199:500])) == 1


def test_stamps_tell_the_order_of_a_drive_unless_they_repeat() -> None:
    order = [3, 0, 2, 1]
    places = [Place(i, "", s, Pose((2.0 * s, 0.0, 0.0))) for i, s in enumerate(order)]
    graph = graph_of(places, NO_ROWS)
    assert {tuple(e) for e in graph.edges.tolist()} == {
        (graph.spot[1], graph.spot[3]),
        (graph.spot[3], graph.spot[2]),
        (graph.spot[2], graph.spot[0]),
    }
    same = [Place(i, "", 0, Pose((2.0 * i, 0.0, 0.0))) for i in range(4)]
    assert graph_of(same, NO_ROWS).edges.tolist() == [[0, 1], [1, 2], [2, 3]]
