"""A vehicle's maps on disk: installed, rolled back, around the last pose, with the network down."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from fleet_maps import street
from scenes import ColourGridEmbedder

from saane_ros.errors import SaaneError
from saane_ros.files import lock_folder
from saane_ros.fleet.manifest import Manifest, Pieces
from saane_ros.fleet.pull import pull
from saane_ros.fleet.push import push
from saane_ros.fleet.region import Region, around_kept, kept_position, region_of_route
from saane_ros.fleet.store import open_store
from saane_ros.fleet.working_set import WorkingSet
from saane_ros.geodesy import from_enu, geographic
from saane_ros.localization.map_choice import open_choice
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings

pytest.importorskip("qdrant_edge", reason="qdrant-edge-py is not installed")

ORIGIN = (48.0, 11.0, 500.0)


@pytest.fixture
def versions(tmp_path: Path) -> list[str]:
    """Three versions of a street, pulled to maps/ in this order."""
    found = []
    with open_store(str(tmp_path / "store"), make=True) as store:
        for seed in (0, 50, 100):
            push(store, street(tmp_path / "street.routemap", seed=seed))
            found.append(pull(store, store.manifest("street"), tmp_path / "maps", None).label)
    return found


def test_versions_are_installed_and_rolled_back(tmp_path: Path, versions: list[str]) -> None:
    maps, (first, second, third) = tmp_path / "maps", versions
    working = WorkingSet(maps, "street")
    assert (working.installed, working.labels) == ("", sorted(versions))
    working.install(first)
    working.install(second[:6])
    assert working.installed == second
    link = maps / "street.routemap"
    assert os.readlink(link) == f"versions/street/{second}.routemap"
    opened = RouteMap.open(link)
    there = RouteMap.open(working.path(second))
    np.testing.assert_array_equal(opened.descriptors, there.descriptors)
    working.roll_back()
    assert (working.installed, working.history) == (first, [first])
    with pytest.raises(SaaneError, match="was no other version before that is still here"):
        working.roll_back()
    working.install(second)
    working.install(third)
    assert working.history == [second, third]
    assert working.labels == sorted([second, third]), "the oldest is no longer needed"
    working.install(third)
    assert working.history == [second, third]
    working.roll_back()
    assert working.installed == second


def test_the_localizer_takes_the_folder_of_maps(tmp_path: Path, versions: list[str]) -> None:
    for label in versions[:2]:
        WorkingSet(tmp_path / "maps", "street").install(label)
    choice, faults = open_choice(str(tmp_path / "maps"), ColourGridEmbedder(), Settings())
    assert not faults
    assert [one.path.name for one in choice.maps] == ["street.routemap"]


def test_nothing_bad_is_installed(tmp_path: Path, versions: list[str]) -> None:
    working = WorkingSet(tmp_path / "maps", "street")
    working.install(versions[0])
    grids = working.path(versions[1]) / "grids.npy"
    grids.write_bytes(grids.read_bytes()[:-1])
    with pytest.raises(SaaneError, match=r"grids\.npy was truncated or changed"):
        working.install(versions[1])
    for unknown in ("ffff", "", versions[0][:0]):
        with pytest.raises(SaaneError, match=r"holds (no|3) versions .*: pull one first\."):
            working.install(unknown)
    assert working.installed == versions[0]
    working.link.unlink()
    street(working.link)
    with pytest.raises(SaaneError, match="is a map of its own and no installed version"):
        working.install(versions[0])
    assert len(RouteMap.open(working.link).places) == 30


def test_a_rotten_version_is_fetched_anew(tmp_path: Path, versions: list[str]) -> None:
    """And nothing of it is taken over into another."""
    working = WorkingSet(tmp_path / "maps", "street")
    path = working.path(versions[0]) / "descriptors.npy"
    content = bytearray(path.read_bytes())
    content[-2] ^= 64
    path.write_bytes(content)
    with open_store(str(tmp_path / "store"), make=True) as store:
        report = pull(store, store.manifest("street", versions[0]), tmp_path / "maps", None)
        assert (report.new, report.fetched) == (True, 30)
        RouteMap.open(report.path, everything=True)


def test_what_rotted_on_its_way_is_fetched_anew(tmp_path: Path, versions: list[str]) -> None:
    """The files of a version that parts are pulled of stay, and may rot there."""
    with open_store(str(tmp_path / "store"), make=True) as store:
        push(store, street(tmp_path / "road.routemap", origin=ORIGIN))
        road = store.manifest("road")
        centre = from_enu(np.array([[20.0, 0.0, 0.0]]), ORIGIN)[:, :2]
        assert pull(store, road, tmp_path / "maps", Region(centre, 9.0)).bytes > 20_000
        again = pull(store, road, tmp_path / "maps", Region(centre, 11.0))
        assert (again.places, again.fetched) == (11, 2)
        assert again.bytes < 10_000
        (cohort,) = (tmp_path / "maps").rglob(".*.pulling/files/cohort.npz")
        cohort.write_bytes(b"rotten")
        with pytest.raises(SaaneError, match="cohort"):
            pull(store, road, tmp_path / "maps", None)
        report = pull(store, road, tmp_path / "maps", None)
        RouteMap.open(report.path, everything=True)


def test_one_pull_of_a_version_at_a_time(tmp_path: Path, versions: list[str]) -> None:
    folder = tmp_path / "elsewhere" / "versions" / "street"
    lock = lock_folder(folder / f".{versions[2]}.pulling", "test")
    with (
        open_store(str(tmp_path / "store"), make=True) as store,
        pytest.raises(SaaneError, match=r"Another command pulls street version \w+: wait for it"),
    ):
        pull(store, store.manifest("street"), tmp_path / "elsewhere", None)
    os.close(lock)


def manifest(origin: tuple[float, float, float] | None, grid: str = "enu") -> Manifest:
    box = None if origin is None else (48.0, 11.0, 48.01, 11.02)
    return Manifest(
        *("street", "v", "", "", "", "m", "f"),
        *(4, 72, "float32", "none", grid, origin, box, {}, False, {}, Pieces(0, ())),
    )


@pytest.mark.parametrize("grid", ["enu", "utm_32N"])
def test_places_along_a_route_are_those_near_it(tmp_path: Path, grid: str) -> None:
    random = np.random.default_rng(0)
    places = np.column_stack([random.uniform(-500, 1500, (3000, 2)), np.zeros(3000)])
    route = np.column_stack([np.linspace(0, 1000, 400), 100 * np.sin(np.linspace(0, 6, 400))])
    there = geographic(np.column_stack([route, np.zeros(400)]), ORIGIN, grid)
    lines = [f"{lat!r},{lon!r}" for lat, lon in there[:, :2].tolist()]
    (tmp_path / "route.csv").write_text("\n".join(["lat,lon", *lines]))
    region = region_of_route(tmp_path / "route.csv", 40.0)
    found = set(region.rows(manifest(ORIGIN, grid), places).tolist())
    gaps = np.array([np.hypot(*(route - place[:2]).T).min() for place in places])
    assert set(np.flatnonzero(gaps <= 39.99)) <= found
    assert found <= set(np.flatnonzero(gaps <= 50.01))
    assert 50 < len(found) < 1000


def test_a_box_tells_which_maps_are_near() -> None:
    one = manifest(ORIGIN)
    for latitude, longitude, radius, near in (
        (48.005, 11.01, 1.0, True),
        (48.02, 11.01, 1200.0, True),
        (48.02, 11.01, 1000.0, False),
        (48.005, 11.03, 800.0, True),
        (48.005, 11.03, 700.0, False),
    ):
        assert Region(np.array([[latitude, longitude]]), radius).touches(one) is near
    assert not Region(np.array([[48.005, 11.01]]), 1.0).touches(manifest(None))


def test_a_kept_pose_tells_where_the_vehicle_is(tmp_path: Path) -> None:
    path = tmp_path / "pose.json"
    path.write_text(json.dumps({"map": "street", "position": [300.0, 20.0, 1.0]}))
    name, position = kept_position(path)
    region = around_kept(manifest(ORIGIN), position, 100.0)
    wanted = from_enu(np.array([[300.0, 20.0, 1.0]]), ORIGIN)[:, :2]
    np.testing.assert_allclose(region.positions, wanted, atol=1e-12)
    assert name == "street"
    np.testing.assert_array_equal(around_kept(manifest(None), position, 9.0).positions, [[300, 20]])
    for bad in ("", "{}", "[]", '{"map": "a", "position": [1, 2]}', '{"position": [1, 2, NaN]}'):
        path.write_text(bad)
        with pytest.raises(SaaneError, match="holds no pose of a localizer: give --near"):
            kept_position(path)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "lat,lon\n", "lat,lon\n1\n", "lat,lon\nx,y\n"])
def test_a_route_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "route.csv").write_text(text)
    with pytest.raises(SaaneError, match=r"has no columns lat and lon, or x and y, of numbers"):
        region_of_route(tmp_path / "route.csv", 10.0)
