"""The index of large maps: what it finds, against brute force, and what becomes of a bad one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from map_heads import read_head, write_head
from numpy.typing import NDArray
from test_map_search import brute_force, route, written

from saane_ros.errors import SaaneError
from saane_ros.files import sha256_of
from saane_ros.route_map import derived, place_index, search, writing
from saane_ros.route_map.derived import write_indexed
from saane_ros.route_map.index_trial import exact_nearest, map_queries, try_index, try_own
from saane_ros.route_map.place_index import (
    IndexChoice,
    build_index,
    read_index,
    wants_index,
    write_index,
)
from saane_ros.route_map.search import MapSearch
from saane_ros.route_map.store import RouteMap

COUNT, SIZE = 3000, 48


@pytest.fixture
def small_maps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (writing, derived):
        monkeypatch.setattr(module, "wants_index", lambda count, size: count >= 100)


def indexed(folder: Path, seed: int = 3, count: int = COUNT, size: int = SIZE) -> RouteMap:
    route_map = written(folder / "m", route(seed, count, size))
    assert (route_map.info.index, route_map.index_fault) == ("ivf", "")
    return route_map


def test_one_rule_tells_which_maps_have_an_index() -> None:
    assert not wants_index(500, 7680)
    assert wants_index(600, 7680)
    assert not wants_index(8000, 512)
    assert wants_index(8200, 512)


def test_an_index_learns_from_no_more_places_where_a_map_has_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place_index, "_LISTS_MOST", 20)
    monkeypatch.setattr(place_index, "_FITTED", 100)
    turned: list[int] = []
    learnt: list[int] = []
    directions = place_index.principal_directions
    train = faiss.IndexIVFScalarQuantizer.train

    def counted(rows: NDArray[np.float32], *arguments: int) -> object:
        turned.append(len(rows))
        return directions(rows, *arguments)

    def trained(index: faiss.IndexIVFScalarQuantizer, rows: NDArray[np.float32]) -> None:
        learnt.append(len(rows))
        train(index, rows)
        assert (index.nlist, index.cp.niter, index.cp.max_points_per_centroid) == (20, 6, 32)

    monkeypatch.setattr(place_index, "principal_directions", counted)
    monkeypatch.setattr(faiss.IndexIVFScalarQuantizer, "train", trained)
    rng = np.random.default_rng(0)
    for count in (1000, 4000, 16_000):
        build_index(rng.normal(size=(count, 24)).astype(np.float32), IndexChoice(values=16))
    assert turned == [100] * 3
    assert learnt == [20 * 32] * 3


@pytest.mark.usefixtures("small_maps_too")
@pytest.mark.parametrize("size", [48, 700])
def test_an_index_finds_what_brute_force_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(search, "SAMPLE", 100)
    route_map = indexed(tmp_path, size=size)
    descriptors = np.asarray(route_map.descriptors)
    assert route_map.index is not None
    assert route_map.index.values == {48: 48, 700: 128}[size]
    finder = MapSearch(route_map)
    rng = np.random.default_rng(4)
    spread = np.linspace(0, COUNT - 1, 100).round().astype(int)
    hits = 0
    for place in range(0, COUNT, 150):
        query = descriptors[place] + rng.normal(scale=2 / np.sqrt(size), size=size)
        expected = brute_force(descriptors, query)
        found = finder.nearest(query.astype(np.float32), 10)
        assert found.places[0] == expected.argmin()
        assert (np.diff(found.distances) >= 0).all()
        hits += len(set(found.places.tolist()) & set(np.argsort(expected)[:10].tolist()))
        np.testing.assert_allclose(found.distances, expected[found.places], rtol=1e-5)
        np.testing.assert_allclose(found.sample, expected[spread], rtol=1e-5)
    assert hits >= 0.95 * 10 * 20


@pytest.mark.usefixtures("small_maps_too")
def test_equally_near_places_come_in_route_order(tmp_path: Path) -> None:
    rows = np.repeat(route(5, 40, SIZE), 20, axis=0)
    finder = MapSearch(written(tmp_path / "m", rows))
    found = finder.nearest(rows[345], 20)
    assert found.places.tolist() == list(range(340, 360))
    assert found.distances.tolist() == [0.0] * 20


@pytest.mark.usefixtures("small_maps_too")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_index_in_no_good_order_is_looked_at_further(tmp_path: Path, dtype: str) -> None:
    """By few values the nearest come late, and are still those of all that the index found."""
    rows = route(6, COUNT, SIZE).astype(dtype)
    route_map = written(tmp_path / "m", rows, dtype)
    assert route_map.descriptors.dtype == dtype
    index = build_index(route_map.descriptors, IndexChoice(3, 2000))
    finder = MapSearch(route_map, index)
    late = 0
    for place in range(0, COUNT, 150):
        query = np.asarray(rows[place], np.float32)
        found = index.find(query, search.FOUND)
        expected = brute_force(np.asarray(rows[found], np.float32), query)
        best = found[np.argsort(expected)[:10]]
        late += int(np.isin(best, found[10 + search.FURTHER :]).sum())
        shared = set(finder.nearest(query, 10).places.tolist()) & set(best.tolist())
        assert len(shared) >= 8
    assert late > 0


@pytest.mark.usefixtures("small_maps_too")
def test_places_all_over_the_map_are_as_far_as_they_are(tmp_path: Path) -> None:
    """Also where the query is almost the map's own image, whose digits a product would lose."""
    route_map = indexed(tmp_path)
    finder = MapSearch(route_map)
    spread = np.unique(np.linspace(0, COUNT - 1, search.SAMPLE).round().astype(int))
    query = np.asarray(route_map.descriptors[spread[40]]) + np.float32(1e-4)
    told = finder.nearest(query, 3).sample
    np.testing.assert_allclose(told, brute_force(route_map.descriptors[spread], query), rtol=2e-5)
    assert told[40] < 1e-2


@pytest.mark.usefixtures("small_maps_too")
def test_a_map_that_lets_go_of_its_pages_tells_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    route_map = indexed(tmp_path)
    queries = map_queries(np.asarray(route_map.descriptors), 20)
    kept = [MapSearch(route_map).nearest(query, 20) for query in queries]
    monkeypatch.setattr(search, "LET_GO", 1)
    monkeypatch.setattr(search, "KEPT", 0)
    finder = MapSearch(route_map)
    for query, expected in zip(queries, kept, strict=True):
        found = finder.nearest(query, 20)
        np.testing.assert_array_equal(found.places, expected.places)
        np.testing.assert_array_equal(found.distances, expected.distances)
    assert route_map.places[3].name == "3"


@given(st.integers(2, 300), st.integers(1, 30), st.integers(1, 40), st.integers(0, 9))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_index_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, count: int, size: int, values: int, seed: int
) -> None:
    path = tmp_path_factory.mktemp("index") / "index.faiss"
    rows = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    built = build_index(rows, IndexChoice(values, 4))
    write_index(built, rows, path)
    read = read_index(path, rows)
    assert (read.values, read.lists, read.probed) == (built.values, built.lists, built.probed)
    assert read.values == min(values, size, count)
    for row in rows[:: max(1, count // 5)]:
        np.testing.assert_array_equal(np.sort(read.find(row, 7)), np.sort(built.find(row, 7)))
        assert len(set(read.find(row, count).tolist())) <= count


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_seal_that_was_changed_is_told(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("index") / "index.faiss"
    rows = route(1, 64, 8)
    write_index(build_index(rows), rows, path)
    content = bytearray(path.read_bytes())
    at = -data.draw(st.integers(1, place_index._SEAL.size))
    content[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.booleans())
    path.write_bytes(bytes(content[: at or None]) if cut else bytes(content))
    with pytest.raises(SaaneError, match=r"index\.faiss .* run `saane map index "):
        read_index(path, rows)


def test_what_is_wrong_with_an_index_is_told(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    rows = route(1, 64, 8)
    index = build_index(rows)
    write_index(index, rows, path)
    with pytest.raises(SaaneError, match="is of 64 places of 8 values"):
        read_index(path, rows[:63])
    with pytest.raises(SaaneError, match="is of other descriptors than the map's"):
        read_index(path, rows[::-1])
    seal = path.read_bytes()[-place_index._SEAL.size :]
    path.write_bytes(b"nonsense" + seal)
    with pytest.raises(SaaneError, match="is no index of faiss"):
        read_index(path, rows)
    path.write_bytes(path.read_bytes().replace(b"SAANEIDX\1", b"SAANEIDX\2"))
    with pytest.raises(SaaneError, match="has version 2 and this software reads 1"):
        read_index(path, rows)
    with pytest.raises(SaaneError, match="cannot be read"):
        read_index(tmp_path / "none", rows)


def same_matches(route_map: RouteMap, descriptors: NDArray[np.float32]) -> None:
    """All is found, exactly."""
    query = descriptors[17] + np.float32(0.01)
    expected = brute_force(descriptors, query)
    found = MapSearch(route_map).nearest(query, 5)
    np.testing.assert_array_equal(found.places, np.argsort(expected)[:5])


@pytest.mark.usefixtures("small_maps_too")
@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "foreign"])
def test_a_bad_index_costs_time_alone_and_is_made_anew(tmp_path: Path, damage: str) -> None:
    route_map = indexed(tmp_path, count=300)
    path = route_map.path / "index.faiss"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "foreign":
        (tmp_path / "other").mkdir()
        path.write_bytes((indexed(tmp_path / "other", 8, 300).path / "index.faiss").read_bytes())
        values = read_head(route_map.path)
        values["files"]["index.faiss"] = sha256_of(path)
        write_head(route_map.path, values)
    else:
        changed = bytes([content[300] ^ 1]) + content[301:]
        path.write_bytes(content[:300] + (changed if damage == "changed" else b""))
    opened = RouteMap.open(route_map.path)
    assert opened.index is None
    assert "saane map index" in opened.index_fault
    same_matches(opened, np.asarray(route_map.descriptors))
    if damage != "foreign":
        with pytest.raises(SaaneError, match=r"index\.faiss"):
            RouteMap.open(route_map.path, everything=True)
    anew = write_indexed(opened)
    assert anew.index is not None
    assert path.read_bytes() == content
    RouteMap.open(route_map.path, everything=True)


@pytest.mark.usefixtures("small_maps_too")
def test_a_map_with_an_older_index_opens_and_is_converted(tmp_path: Path) -> None:
    route_map = indexed(tmp_path, count=300)
    descriptors = np.array(route_map.descriptors)
    (route_map.path / "index.faiss").write_bytes(b"a graph")
    (route_map.path / "places.npy").unlink()
    values = read_head(route_map.path)
    del values["files"]["places.npy"]
    values["files"]["index.faiss"] = sha256_of(route_map.path / "index.faiss")
    write_head(route_map.path, {**values, "format": 4, "index": "hnsw"})
    opened = RouteMap.open(route_map.path)
    assert opened.index is None
    assert "has an index of an older version, which is not read" in opened.index_fault
    assert list(opened.places) == list(route_map.places)
    same_matches(opened, descriptors)
    converted = write_indexed(opened)
    assert (converted.info.index, read_head(converted.path)["format"]) == ("ivf", 5)
    assert replace(converted.info, files={}) == replace(route_map.info, files={})
    assert list(converted.places) == list(route_map.places)
    np.testing.assert_array_equal(converted.descriptors, descriptors)


def test_a_small_map_loses_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(writing, "wants_index", lambda count, size: True)
        route_map = indexed(tmp_path, count=300)
    assert write_indexed(route_map).info.index == "flat"
    assert not (route_map.path / "index.faiss").exists()
    RouteMap.open(route_map.path, everything=True)


@pytest.mark.usefixtures("small_maps_too")
def test_a_trial_tells_what_brute_force_tells(tmp_path: Path) -> None:
    route_map = indexed(tmp_path)
    descriptors = np.asarray(route_map.descriptors)
    queries = map_queries(descriptors)
    exact = exact_nearest(descriptors, queries, 64)
    for query, nearest in zip(queries[::10], exact[::10], strict=True):
        expected = brute_force(descriptors, query)
        np.testing.assert_allclose(expected[nearest], np.sort(expected)[:64], rtol=1e-5)
    flat, few, all_lists = try_index(route_map, (IndexChoice(16, 1), IndexChoice(48, 2000)))
    assert (flat.name, flat.recall_1, flat.megabytes) == ("exact", 1.0, descriptors.nbytes / 1e6)
    assert few.recall_nearest < all_lists.recall_nearest
    # 256 places looked at exactly out of all lists: only 8 bits a value could hide one.
    assert all_lists.recall_1 == 1.0
    assert all_lists.recall_nearest > 0.999
    own = try_own(route_map)
    assert own is not None
    assert own.recall_1 > 0.98
    assert try_own(written(tmp_path / "small", descriptors[:50])) is None
