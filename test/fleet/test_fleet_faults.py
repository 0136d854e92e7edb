"""A store that is slow, away, full, broken off, or holds what is not ours: a sentence, no loss."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fleet_maps import street
from grpc_stand_in import Failing, running_grpc
from qdrant_client import models
from qdrant_stand_in import StandIn, running

from saane_ros.errors import SaaneError
from saane_ros.fleet import pull as pulling
from saane_ros.fleet import push as pushing
from saane_ros.fleet import remote
from saane_ros.fleet.engine import Stored, Where
from saane_ros.fleet.manifest import MANIFEST_ROOM, PIECE_ROOM, place_room
from saane_ros.fleet.pull import pull
from saane_ros.fleet.push import push
from saane_ros.fleet.store import FleetStore, open_store
from saane_ros.fleet.verify import verify
from saane_ros.route_map.store import RouteMap

pytest.importorskip("qdrant_edge", reason="qdrant-edge-py is not installed")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setattr(remote, "WAITS_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr(remote, "TIMEOUT_S", 1)
    for module in (pushing, pulling):
        monkeypatch.setattr(module, "BATCH_POINTS", 5)
    with running() as one:
        yield one


@pytest.fixture
def store(server: StandIn) -> Iterator[FleetStore]:
    with open_store(server.address) as one:
        yield one


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("fault", ["away", "half", "full", "busy"])
def test_a_fault_that_passes_is_waited_for(
    server: StandIn, store: FleetStore, tmp_path: Path, fault: str
) -> None:
    """Two of three calls fail."""
    server.fault = lambda method, path, number: fault if number % 3 else ""
    route_map = street(tmp_path / "street.routemap")
    assert push(store, route_map).places == 30
    report = pull(store, store.manifest("street"), tmp_path / "maps", None)
    assert contents(report.path) == contents(route_map.path)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("away", r"gave no whole answer in 4 tries \(.+\): check that it runs and the network; "),
        ("half", r"gave no whole answer in 4 tries \(.+\): check that it runs and the network; "),
        ("slow", r"gave no whole answer in 4 tries \(timed out\): check that it runs"),
        ("full", r"is full \(.*No space left.*\): give it room; what was sent is kept"),
        (
            "no storage",
            r"is full \(.*Insufficient Storage.*\): give it room; what was sent is kept",
        ),
        ("busy", r"gave no whole answer in 4 tries \(.*Unavailable.*\): check that it runs"),
        ("closed", r"lets nobody in without its key: set QDRANT_API_KEY to one that may do this"),
    ],
)
def test_a_push_that_was_cut_off_goes_on(
    server: StandIn, store: FleetStore, tmp_path: Path, fault: str, told: str
) -> None:
    """Nobody sees a half map, and what was sent is not sent again."""
    route_map = street(tmp_path / "street.routemap")
    room = place_room(route_map.info.fingerprint, route_map.info.descriptor_size)
    sent = ("PUT", f"/collections/{room}/points")
    server.fault = lambda *_: fault if server.calls.count(sent) > 3 else ""
    with pytest.raises(SaaneError, match=f"^The fleet store http://127.0.0.1:[0-9]+ {told}"):
        push(store, route_map)
    server.fault = lambda *_: ""
    assert store.manifests() == []
    # A server that was slow, or answered in halves, has done it all the same.
    done = 20 if fault in ("half", "slow") else 15
    assert store.engine.count(room, Where()) == done
    assert push(store, route_map).places == 30 - done
    verify(store, store.manifest("street"))


@pytest.mark.parametrize("fault", ["away", "half", "slow", "full", "fewer", "changed"])
def test_a_pull_that_was_cut_off_goes_on(
    server: StandIn, store: FleetStore, tmp_path: Path, fault: str
) -> None:
    route_map = street(tmp_path / "street.routemap")
    push(store, route_map)
    manifest = store.manifest("street")
    asked = ("POST", f"/collections/{manifest.room}/points")
    before = server.calls.count(asked)
    server.fault = lambda *_: fault if server.calls.count(asked) > before + 3 else ""
    with pytest.raises(SaaneError, match=r"^The fleet store http://127\S+ .+: .+\.$") as told:
        pull(store, manifest, tmp_path / "maps", None)
    if fault in ("fewer", "changed"):
        assert "push the folder of the map again with --everything" in str(told.value)
    versions = tmp_path / "maps" / "versions" / "street"
    assert [path.name for path in versions.iterdir()] == [f".{manifest.version}.pulling"]
    server.fault = lambda *_: ""
    report = pull(store, manifest, tmp_path / "maps", None)
    assert report.fetched == 15
    assert contents(report.path) == contents(route_map.path)
    assert [path.suffix for path in sorted(versions.iterdir())] == [".places", ".routemap"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("RESOURCE_EXHAUSTED", r"is full \(RESOURCE_EXHAUSTED: so it is\): give it room; what was"),
        ("UNAVAILABLE", r"gave no whole answer in 4 tries \(UNAVAILABLE: so it is\): check that"),
        ("DEADLINE_EXCEEDED", r"gave no whole answer in 4 tries \(DEADLINE_EXCEEDED: so it is\)"),
        ("PERMISSION_DENIED", r"lets nobody in without its key: set QDRANT_API_KEY"),
    ],
)
def test_a_server_that_fails_by_grpc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    """In the midst of a push, of a pull, and once in between."""
    monkeypatch.setattr(remote, "WAITS_S", (0.01, 0.01, 0.01))
    for module in (pushing, pulling):
        monkeypatch.setattr(module, "BATCH_POINTS", 5)
    route_map = street(tmp_path / "street.routemap")
    failing = Failing()
    with running_grpc(failing) as address, open_store(address) as store:
        for method, act in (
            ("Upsert", lambda: push(store, route_map)),
            ("Get", lambda: pull(store, store.manifest("street"), tmp_path / "maps", None)),
        ):
            failing.code, failing.method, failing.after = code, method, 4
            with pytest.raises(
                SaaneError, match=f"^The fleet store grpc://127.0.0.1:[0-9]+ {told}"
            ):
                act()
            failing.code = ""
            assert not list((tmp_path / "maps").rglob("*.routemap"))
            if method == "Upsert":
                assert store.manifests() == []
                assert 0 < push(store, route_map).places < 30
                verify(store, store.manifest("street"))
        report = pull(store, store.manifest("street"), tmp_path / "maps", None)
        assert contents(report.path) == contents(route_map.path)


def test_what_was_damaged_is_found_and_mended(
    server: StandIn, store: FleetStore, tmp_path: Path
) -> None:
    route_map = street(tmp_path / "street.routemap")
    push(store, route_map)
    manifest = store.manifest("street")
    engine = server.engine
    damages: list[tuple[str, Any]] = [
        (manifest.room, lambda one: one.vector.__setitem__(0, one.vector[0] + 1)),
        (manifest.room, lambda one: one.payload.update(place=one.payload["place"] + " ")),
        (manifest.room, lambda one: one.payload.update(versions=[], token="x")),
        (PIECE_ROOM, lambda one: one.payload.update(data="QUFB")),
        (PIECE_ROOM, lambda one: one.payload.update(data="no base64")),
        (PIECE_ROOM, lambda one: one.payload.clear()),
        (MANIFEST_ROOM, lambda one: one.payload.update(digest="0")),
        (MANIFEST_ROOM, lambda one: one.payload.update(manifest="{}")),
    ]
    for room, damage in damages:
        points, _ = engine.scroll(room, with_vectors=True, limit=1)
        damage(points[0])
        point = models.PointStruct(
            id=points[0].id, vector=points[0].vector or {}, payload=points[0].payload
        )
        engine.upsert(room, [point])
        with pytest.raises(SaaneError, match=r"push (the|its) folder .*again with --everything"):
            verify(store, store.manifest("street"))
        push(store, route_map, everything=True)
        verify(store, store.manifest("street"))


def test_a_damaged_map_hides_no_other(server: StandIn, store: FleetStore, tmp_path: Path) -> None:
    push(store, street(tmp_path / "street.routemap"))
    push(store, street(tmp_path / "other.routemap", seed=50))
    bad = store.manifest("street")
    server.engine.set_payload(MANIFEST_ROOM, {"format": 2}, [bad.id])
    faults: list[str] = []
    assert [one.map for one in store.manifests("", faults)] == ["other"]
    assert "has a map street of format 2 and this version reads 1: update this" in faults[0]
    assert store.manifest("other").places == 30
    with pytest.raises(SaaneError, match="of format 2"):
        store.manifest("street")


def test_places_of_another_model_are_refused(
    server: StandIn, store: FleetStore, tmp_path: Path
) -> None:
    route_map = street(tmp_path / "street.routemap")
    room = place_room(route_map.info.fingerprint, route_map.info.descriptor_size)
    store.make_room(room, 72)
    foreign = Stored(
        "00000000-0000-0000-0000-000000000001", {"model": "theirs"}, np.ones(72, np.float32)
    )
    store.engine.insert(room, [foreign])
    with pytest.raises(SaaneError, match="holds 1 places of another model than colour-grid-4x6"):
        push(store, route_map)
    assert store.manifests() == []


def test_rooms_of_others_and_old_servers_are_refused(
    server: StandIn, store: FleetStore, tmp_path: Path
) -> None:
    route_map = street(tmp_path / "street.routemap")
    room = place_room(route_map.info.fingerprint, 72)
    server.engine.create_collection(
        room, models.VectorParams(size=72, distance=models.Distance.COSINE)
    )
    with pytest.raises(SaaneError, match="has vectors of -1 values, not 72 by Euclidean distance"):
        push(store, route_map)
    server.version = "1.12.6"
    with (
        pytest.raises(
            SaaneError, match=r"runs version 1\.12\.6, by which two .* run 1\.17 or newer"
        ),
        open_store(server.address),
    ):
        pass


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("", "No fleet store is named: give --store or set SAANE_FLEET"),
        ("http://", "is no address of a server"),
        ("http://me:secret@host", "is no address of a server"),
        ("http://host:99999", "is no address of a server"),
        ("ftp://host", "is no address of a server"),
        ("http://127.0.0.1:9", "gave no whole answer in 4 tries"),
        ("grpc://127.0.0.1:9", "gave no whole answer in 4 tries"),
    ],
)
def test_addresses_that_are_none(monkeypatch: pytest.MonkeyPatch, address: str, told: str) -> None:
    monkeypatch.setattr(remote, "WAITS_S", (0.01, 0.01, 0.01))
    with pytest.raises(SaaneError, match=told), open_store(address):
        pass


@pytest.mark.parametrize("moment", ["insert", "set_fields"])
def test_two_vehicles_push_one_map_at_a_time(
    server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Between a look of the first and its change the second changes the same places."""
    mine = street(tmp_path / "mine" / "street.routemap")
    theirs = street(tmp_path / "theirs" / "street.routemap", changed=range(25, 30))
    with open_store(server.address) as first, open_store(server.address) as second:
        # What is there already is changed, what is not is inserted.
        if moment == "set_fields":
            push(first, street(tmp_path / "before" / "street.routemap", changed=range(29, 30)))
        changing, times = getattr(first.engine, moment), []

        def late(room: str, *rest: Any) -> None:
            times.append(room)
            if len(times) == 1:
                push(second, theirs)
            changing(room, *rest)

        monkeypatch.setattr(first.engine, moment, late)
        push(first, mine)
        manifests = first.manifests("street")
        assert len(manifests) == (3 if moment == "set_fields" else 2)
        for manifest in manifests:
            verify(first, manifest)
            assert first.engine.count(manifest.room, Where(version=manifest.version)) == 30
        late_again = [room for room in times if room != MANIFEST_ROOM]
        assert moment == "insert" or len(late_again) == 7, (
            "the change that came too late, once more"
        )


def test_many_vehicles_push_at_once(
    server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "TIMEOUT_S", 60)
    maps = [
        street(tmp_path / str(i) / "street.routemap", changed=range(5 * i, 5 * i + 3))
        for i in range(4)
    ]
    faults: list[BaseException] = []

    def vehicle(route_map: RouteMap) -> None:
        try:
            with open_store(server.address) as one:
                push(one, route_map)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=vehicle, args=(one,)) for one in [*maps, maps[0]]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    with open_store(server.address) as one:
        manifests = one.manifests("street")
        assert len(manifests) == 4
        for manifest in manifests:
            verify(one, manifest)


def test_a_folder_of_other_things_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(SaaneError, match="is a folder of other things: name another"):
        open_store(str(tmp_path), make=True).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with open_store(str(tmp_path / "store"), make=True) as store:
        push(store, street(tmp_path / "street.routemap"))
        manifest = store.manifest("street")
        with pytest.raises(SaaneError, match="has vectors of 72 values, not 5"):
            store.make_room(manifest.room, 5)
    rooms = tmp_path / "store" / "fleet.json"
    rooms.write_text(rooms.read_text().replace('"format": 1', '"format": 7'))
    with pytest.raises(SaaneError, match="has format 7 and this version reads 1"):
        open_store(str(tmp_path / "store"), make=True).__enter__()
    rooms.write_text("{")
    with pytest.raises(SaaneError, match="does not tell what the fleet store holds"):
        open_store(str(tmp_path / "store"), make=True).__enter__()


def test_names_from_the_store_stay_below_the_folder(
    server: StandIn, store: FleetStore, tmp_path: Path
) -> None:
    push(store, street(tmp_path / "street.routemap"))
    manifest = store.manifest("street")
    for changed in (
        replace(manifest, map="../outside"),
        replace(manifest, map=".hidden"),
        replace(manifest, files={**manifest.files, "../outside": manifest.table}),
        replace(manifest, files={**manifest.files, "notes.txt": manifest.table}),
    ):
        with pytest.raises(SaaneError):
            pull(store, changed, tmp_path / "maps", None)
    assert not list(tmp_path.rglob("outside*"))
