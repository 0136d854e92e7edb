"""Search against brute force in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.route_map.cohort import Cohort
from saane_ros.route_map.info import MapInfo
from saane_ros.route_map.search import SAMPLE, MapSearch, k_smallest
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.writing import write_map
from saane_ros.types import Place


def written(path: Path, descriptors: NDArray[np.float32], dtype: str = "float32") -> RouteMap:
    count, size = descriptors.shape
    info = MapInfo("m", "f", "e", "map", None, "now", count, size, dtype)
    places = [Place(i, str(i), i) for i in range(count)]
    thumbnail = path.parent / "t.jpg"
    thumbnail.write_bytes(b"jpeg")
    cohort = Cohort(route(9, 8, size))
    write_map(path, info, places, descriptors, range(count), [thumbnail] * count, cohort)
    return RouteMap.open(path)


def brute_force(
    descriptors: NDArray[np.float32], query: NDArray[np.float32]
) -> NDArray[np.float64]:
    difference = descriptors.astype(np.float64) - query.astype(np.float64)
    return np.sqrt((difference**2).sum(axis=1))


def route(seed: int, count: int, size: int) -> NDArray[np.float32]:
    """Descriptors that drift along a route, so that neighbours are alike; norm 10."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(size=(count, size)), axis=0) + 3 * rng.normal(size=(count, size))
    return (10 * walk / np.linalg.norm(walk, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_flat_distances_are_exact(tmp_path: Path, dtype: str) -> None:
    descriptors = route(0, 600, 768)
    route_map = written(tmp_path / "m", descriptors, dtype)
    stored = np.asarray(route_map.descriptors, dtype=np.float32)
    finder = MapSearch(route_map)
    for query in route(1, 5, 768):
        expected = brute_force(stored, query)
        found = finder.nearest(query, 7)
        np.testing.assert_array_equal(found.places, np.argsort(expected)[:7])
        np.testing.assert_allclose(found.distances, np.sort(expected)[:7], rtol=2e-6)
        spread = np.unique(np.linspace(0, 599, SAMPLE).round().astype(int))
        np.testing.assert_allclose(found.sample, expected[spread], rtol=2e-6)
        some = np.array([3, 599, 3])
        np.testing.assert_allclose(finder.distances_to(query, some), expected[some], rtol=2e-6)


def test_a_small_map_gives_all_its_places(tmp_path: Path) -> None:
    finder = MapSearch(written(tmp_path / "m", route(0, 3, 8)))
    query = route(1, 1, 8)[0]
    assert sorted(finder.nearest(query, 64).places.tolist()) == [0, 1, 2]
    assert len(finder.nearest(query, 64).sample) == 3


def test_tiny_distances_keep_their_digits(tmp_path: Path) -> None:
    descriptors = route(2, 50, 7680)
    finder = MapSearch(written(tmp_path / "m", descriptors))
    query = descriptors[20].copy()
    assert finder.nearest(query, 1).distances[0] == 0.0
    query[5] += np.float32(1e-5)
    expected = brute_force(descriptors, query)[20]
    assert 0 < expected < 2e-5
    assert finder.nearest(query, 1).distances[0] == pytest.approx(expected, rel=1e-5)


def test_unfitting_descriptors_are_told(tmp_path: Path) -> None:
    finder = MapSearch(written(tmp_path / "m", route(0, 10, 8)))
    with pytest.raises(SaaneError, match=r"shape \(9,\) and the map holds \(8,\)"):
        finder.nearest(np.zeros(9, np.float32), 3)
    with pytest.raises(SaaneError, match="not finite"):
        finder.nearest(np.full(8, np.nan, np.float32), 3)


DISTANCES = st.lists(
    st.floats(0, 100, width=32) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=30
)


@given(DISTANCES, st.integers(1, 40))
def test_the_smallest_equal_a_naive_search(values: list[float], k: int) -> None:
    distances = np.array(values, dtype=np.float32)
    ranked = sorted(range(len(values)), key=lambda i: (distances[i], i))
    assert k_smallest(distances, k).tolist() == ranked[:k]
