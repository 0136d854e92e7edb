"""Maps pushed and pulled, by the embedded engine and by a server: the same bytes, no more sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fleet_maps import drive, metric_map, street
from grpc_stand_in import running_grpc
from own_features import own_embedder
from qdrant_stand_in import running
from scenes import ColourGridEmbedder

from saane_ros.errors import SaaneError
from saane_ros.fleet import store as store_module
from saane_ros.fleet.engine import Stored, Where
from saane_ros.fleet.manifest import MANIFEST_ROOM
from saane_ros.fleet.pull import pull
from saane_ros.fleet.push import push
from saane_ros.fleet.region import Region
from saane_ros.fleet.search import FleetIndex, find
from saane_ros.fleet.store import FleetStore, open_store
from saane_ros.fleet.verify import verify
from saane_ros.geodesy import from_enu
from saane_ros.localization.localizer import Localizer
from saane_ros.route_map.builder import RouteMapBuilder
from saane_ros.route_map.merge import merge_maps
from saane_ros.route_map.search import MapSearch
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import MatchState

pytest.importorskip("qdrant_edge", reason="qdrant-edge-py is not installed")


@pytest.fixture(params=["embedded", "http", "grpc"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FleetStore]:
    if request.param == "embedded":
        with open_store(str(tmp_path / "store"), make=True) as opened:
            yield opened
        return
    if request.param == "grpc":
        with running_grpc() as address, open_store(address) as opened:
            yield opened
        return
    with running() as server, open_store(server.address) as opened:
        yield opened


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("kind", ["plain", "half", "mean", "metric", "no poses", "merged", "own"])
def test_a_map_comes_back_byte_for_byte(store: FleetStore, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "street.routemap"
    if kind == "metric":
        route_map = metric_map(path)
    elif kind == "own":
        builder = RouteMapBuilder(own_embedder("own-mutual"), path, rerank="own")
        builder.add(drive(0, range(5)))
        route_map = builder.finish()
    elif kind == "merged":
        parts = [street(tmp_path / f"{name}.routemap", seed) for name, seed in (("a", 0), ("b", 9))]
        route_map = merge_maps(parts, path)
    else:
        options = {"half": {"dtype": "float16"}, "mean": {"postprocessing": "mean"}}.get(kind, {})
        route_map = street(path, poses=kind != "no poses", **options)
    report = push(store, route_map, "" if kind == "merged" else "night")
    assert report.new
    assert report.places == report.of_places == len(route_map.places)
    (manifest,) = store.manifests()
    assert (manifest.version, manifest.places) == (report.version, len(route_map.places))
    grids = route_map.localizable().grids
    assert grids is not None
    assert manifest.grid_shape == grids.shape[1:]
    assert manifest.place_bytes == 4 * manifest.size + grids[0].nbytes
    pulled = pull(store, manifest, tmp_path / "maps", None)
    assert pulled.fetched == len(route_map.places)
    assert contents(pulled.path) == contents(path)
    vectors = 4 * route_map.info.descriptor_size * len(route_map.places)
    assert verify(store, manifest) == report.bytes - manifest.table.size + vectors
    again = pull(store, manifest, tmp_path / "maps", None)
    assert (again.new, again.bytes) == (False, 0)


def test_only_what_changed_is_sent_and_fetched(store: FleetStore, tmp_path: Path) -> None:
    path = tmp_path / "street.routemap"
    first = push(store, street(path))
    assert push(store, RouteMap.open(path)) == replace(first, new=False, places=0, bytes=0)
    before = pull(store, store.manifest("street"), tmp_path / "maps", None)
    route_map = street(path, changed=range(20, 30))
    second = push(store, route_map)
    assert (second.places, second.of_places) == (10, 30)
    assert second.bytes < first.bytes
    newest = store.manifest("street")
    assert newest.version == second.version != first.version
    after = pull(store, newest, tmp_path / "maps", None)
    assert (before.fetched, after.fetched) == (30, 10)
    assert contents(after.path) == contents(path)
    for manifest in store.manifests("street"):
        assert store.engine.count(manifest.room, Where(version=manifest.version)) == 30
    assert store.engine.count(newest.room, Where()) == 40


def test_equal_maps_are_one_version_and_different_ones_two(
    store: FleetStore, tmp_path: Path
) -> None:
    """Two vehicles, each with its copy; the second made its own later."""
    one = street(tmp_path / "one" / "street.routemap")
    two = street(tmp_path / "two" / "street.routemap")
    other = street(tmp_path / "three" / "street.routemap", seed=50)
    reports = [push(store, route_map) for route_map in (one, two, other)]
    assert [report.new for report in reports] == [True, False, True]
    assert {one.version for one in store.manifests()} == {reports[0].version, reports[2].version}


def test_a_part_is_a_map_of_its_places(store: FleetStore, tmp_path: Path) -> None:
    origin = (48.0, 11.0, 500.0)
    route_map = metric_map(tmp_path / "street.routemap", origin=origin)
    push(store, route_map)
    manifest = store.manifest("street")
    centre = from_enu(np.array([route_map.places.positions[5]]), origin)[:, :2]
    region = Region(centre, 4.2)
    assert region.touches(manifest)
    assert not Region(centre + 1, 4.2).touches(manifest)
    report = pull(store, manifest, tmp_path / "maps", region)
    again = pull(store, manifest, tmp_path / "maps", region)
    assert (again.path, again.new, again.fetched, again.bytes) == (report.path, False, 0, 0)
    part = RouteMap.open(report.path, everything=True)
    apart = route_map.places.positions[:, :2] - route_map.places.positions[5, :2]
    rows = np.flatnonzero(np.hypot(*apart.T) <= 4.2)
    assert 1 < len(rows) < len(route_map.places)
    assert report.fetched == report.places == len(rows) == len(part.places)
    np.testing.assert_array_equal(part.descriptors, np.asarray(route_map.descriptors)[rows])
    assert part.points is not None
    assert route_map.points is not None
    for i, row in enumerate(rows):
        assert part.places[i].name == route_map.places[int(row)].name
        for ours, theirs in zip(part.points.seen_at(i), route_map.points.seen_at(row), strict=True):
            assert repr(ours) == repr(theirs)
        ours, theirs = part.places[i].thumbnail, route_map.places[int(row)].thumbnail
        assert ours is not None
        assert theirs is not None
        assert ours.read_bytes() == theirs.read_bytes()
    with pytest.raises(SaaneError, match=r"has no place within 1 m of there: give a larger"):
        pull(store, manifest, tmp_path / "maps", Region(centre + 1, 1.0))


def test_a_pulled_part_is_localized_in(store: FleetStore, tmp_path: Path) -> None:
    """With nothing but the folder: the network may be down."""
    push(store, street(tmp_path / "street.routemap", origin=(48.0, 11.0, 500.0)))
    centre = from_enu(np.array([[20.0, 0.0, 0.0]]), (48.0, 11.0, 500.0))[:, :2]
    report = pull(store, store.manifest("street"), tmp_path / "maps", Region(centre, 15.0))
    embedder = ColourGridEmbedder()
    localizer = Localizer(embedder, RouteMap.open(report.path), Settings())
    matches = [localizer.localize(frame).match for frame in drive(0, range(5, 15))]
    assert matches[-1].state is MatchState.LOCALIZED
    assert matches[-1].place is not None
    assert matches[-1].place.name == "14.png"


@pytest.mark.parametrize("places", [30, 300])
def test_the_engine_finds_what_the_folder_finds(
    store: FleetStore, tmp_path: Path, places: int
) -> None:
    """Another map and another version lie in the same room."""
    push(store, street(tmp_path / "other.routemap", seed=500, places=20))
    push(store, street(tmp_path / "street.routemap", places=places, changed=range(0, 10)))
    route_map = street(tmp_path / "street.routemap", places=places)
    push(store, route_map)
    index = FleetIndex(store, store.manifest("street"))
    exact, fleet = MapSearch(route_map), MapSearch(route_map, index)
    random = np.random.default_rng(0)
    for row in (0, 7, places - 1):
        query = np.asarray(route_map.descriptors[row])
        query = query + random.normal(scale=0.1, size=query.shape).astype(np.float32)
        ours, theirs = fleet.nearest(query, 10), exact.nearest(query, 10)
        np.testing.assert_array_equal(ours.places, theirs.places)
        np.testing.assert_array_equal(ours.distances, theirs.distances)


def test_filters_mean_what_they_say(store: FleetStore, tmp_path: Path) -> None:
    origin = (48.0, 11.0, 500.0)
    maps = {
        "noon": street(tmp_path / "noon.routemap", seed=0, origin=origin),
        "dusk": street(tmp_path / "dusk.routemap", seed=40, origin=origin, second=1000),
    }
    for name, route_map in maps.items():
        push(store, route_map, name)
    room = store.manifests()[0].room
    fingerprint = ColourGridEmbedder.fingerprint
    near = *from_enu(np.array([[20.0, 0.0, 0.0]]), origin)[0, :2].tolist(), 5.0
    for where, count in (
        (Where(), 60),
        (Where(map="noon"), 30),
        (Where(condition="dusk"), 30),
        (Where(condition="rain"), 0),
        (Where(model=fingerprint), 60),
        (Where(other_model=fingerprint), 0),
        (Where(version=store.manifest("dusk").version), 30),
        (Where(since_s=1_700_000_000, until_s=1_700_000_004), 5),
        (Where(since_s=1_700_001_000), 30),
        (Where(near=near), 10),
        (Where(near=near, condition="noon"), 5),
    ):
        assert store.engine.count(room, where) == count, where
    query = np.asarray(maps["dusk"].descriptors[12])
    there = store.manifests()
    (kind,) = find(store, there, fingerprint, query, 3, Where())
    best, *_ = kind.places
    assert (best.map, best.name, best.condition, best.distance) == ("dusk", "12.png", "dusk", 0)
    assert best.position is not None
    np.testing.assert_allclose(
        best.position, from_enu(np.array([[24.0, 0.0, 0.0]]), origin)[0, :2], atol=1e-9
    )
    (kind,) = find(store, there, fingerprint, query, 1, Where(map="noon"))
    (elsewhere,) = kind.places
    gaps = np.linalg.norm(np.asarray(maps["noon"].descriptors) - query, axis=1)
    assert elsewhere.name == f"{int(gaps.argmin())}.png"
    assert elsewhere.distance == pytest.approx(float(gaps.min()), rel=1e-6)
    assert find(store, there, "another model", query, 1, Where()) == []


def test_maps_with_a_post_processing_are_asked_by_their_own(
    store: FleetStore, tmp_path: Path
) -> None:
    """Each kind apart, with the distances that the map's own folder gives."""
    kinds = {"plain": "none", "mean": "mean", "other": "mean", "pca": "pca512"}
    maps = {}
    for number, (name, kind) in enumerate(kinds.items()):
        path = tmp_path / f"{name}.routemap"
        maps[name] = street(path, seed=40 * number, postprocessing=kind)
        push(store, maps[name])
    push(store, street(tmp_path / "copy" / "twin.routemap", seed=40, postprocessing="mean"))
    (frame,) = drive(40, [7])
    query = ColourGridEmbedder().embed([frame.image])[0].descriptor
    fingerprint = ColourGridEmbedder.fingerprint
    found = find(store, store.manifests(), fingerprint, query, 4, Where())
    assert found[0].postprocessing == "none"
    names = sorted({one.map for one in kind.places} for kind in found)
    assert sorted(map(sorted, names)) == [["mean", "twin"], ["other"], ["pca"], ["plain"]]
    for kind in found:
        for one in kind.places:
            route_map = maps["mean" if one.map == "twin" else one.map]
            assert kind.postprocessing == kinds["mean" if one.map == "twin" else one.map]
            after = route_map.postprocessing
            asked = query if after is None else after.apply(query[None])[0]
            row = next(i for i, place in enumerate(route_map.places) if place.name == one.name)
            gap = np.linalg.norm(np.asarray(route_map.descriptors[row], np.float32) - asked)
            assert one.distance == pytest.approx(float(gap), abs=1e-4)
        distances = [one.distance for one in kind.places]
        assert distances == sorted(distances)
        if {one.map for one in kind.places} == {"mean", "twin"}:
            assert [one.name for one in kind.places[:2]] == ["7.png"] * 2
            assert distances[0] == pytest.approx(0, abs=1e-3)


def test_the_engine_leaves_out_maps_that_lie_elsewhere(store: FleetStore, tmp_path: Path) -> None:
    """And none that the box of a region touches, of whatever release and without a position."""
    random = np.random.default_rng(1)
    push(store, street(tmp_path / "plain.routemap", places=3))
    (first,) = store.manifests()
    points = []
    for number in range(200):
        south, west = random.uniform([-60, -170], [60, 170])
        north, east = np.array([south, west]) + random.uniform(0, 0.2, 2)
        one = replace(
            first,
            map=f"m{number}",
            origin=(south, west, 0.0),
            box=(float(south), float(west), float(north), float(east)),
        )
        payload = one.payload()
        if number % 5 == 0:  # as an earlier release left it
            payload = {name: payload[name] for name in ("format", "map", "version")} | {
                name: payload[name] for name in ("manifest", "digest")
            }
        points.append(Stored(one.id, payload))
    store.engine.insert(MANIFEST_ROOM, points)
    everything = store.manifests()
    assert len(everything) == 201
    read = 0
    for centre in random.uniform([-60, -170], [60, 170], (40, 2)):
        route = centre + random.uniform(-3, 3, (5, 2))
        region = Region(route, float(random.uniform(1, 200_000)))
        there = store.manifests(touching=region.box)
        wanted = [one for one in everything if region.touches(one)]
        assert [one for one in there if region.touches(one)] == wanted
        read += len(there)
        assert {one.map for one in there} >= {f"m{number}" for number in range(0, 200, 5)}
        assert "plain" not in {one.map for one in there}
    assert read < 40 * 70


def test_the_store_is_made_anew_from_folders(tmp_path: Path) -> None:
    path = tmp_path / "street.routemap"
    with open_store(str(tmp_path / "one"), make=True) as store:
        push(store, street(path))
        before = store.manifest("street")
    with open_store(str(tmp_path / "two"), make=True) as store:
        push(store, RouteMap.open(path))
        after = store.manifest("street")
        assert replace(after, pushed=before.pushed) == before
        verify(store, after)


def test_a_large_place_list_travels_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saane_ros.fleet import content
    from saane_ros.fleet import push as pushing

    for module in (content, pushing):
        monkeypatch.setattr(module, "PIECE_BYTES", 100)
    monkeypatch.setattr(pushing, "BATCH_POINTS", 4)
    path = tmp_path / "street.routemap"
    with open_store(str(tmp_path / "store"), make=True) as store:
        push(store, street(path))
        manifest = store.manifest("street")
        assert len(manifest.table.ids) == 10
        pulled = pull(store, manifest, tmp_path / "maps", None)
        assert contents(pulled.path) == contents(path)
    assert store_module.BATCH_POINTS == 256
    assert json.loads((tmp_path / "store" / "fleet.json").read_text())["format"] == 1
