"""Versions removed: what others need stays, whoever pushes and pulls meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fleet_maps import metric_map, street
from grpc_stand_in import running_grpc
from qdrant_stand_in import StandIn, running

from saane_ros.errors import SaaneError
from saane_ros.fleet import pull as pulling
from saane_ros.fleet import push as pushing
from saane_ros.fleet import remote
from saane_ros.fleet import remove as removing
from saane_ros.fleet.content import EMPTY, MapContent, id_of
from saane_ros.fleet.engine import Where
from saane_ros.fleet.manifest import MANIFEST_ROOM, PIECE_ROOM, WHOLE
from saane_ros.fleet.pull import pull
from saane_ros.fleet.push import push
from saane_ros.fleet.remove import remove
from saane_ros.fleet.store import FleetStore, open_store
from saane_ros.fleet.verify import verify
from saane_ros.fleet.working_set import WorkingSet
from saane_ros.route_map.store import RouteMap

pytest.importorskip("qdrant_edge", reason="qdrant-edge-py is not installed")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setattr(remote, "WAITS_S", (0.01, 0.01, 0.01))
    for module, name in (
        (pushing, "BATCH_POINTS"),
        (pulling, "BATCH_POINTS"),
        (removing, "_BATCH"),
    ):
        monkeypatch.setattr(module, name, 7)
    with running() as one:
        yield one


@pytest.fixture(params=["embedded", "http", "grpc"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FleetStore]:
    if request.param == "embedded":
        with open_store(str(tmp_path / "store"), make=True) as opened:
            yield opened
    elif request.param == "grpc":
        with running_grpc() as address, open_store(address) as opened:
            yield opened
    else:
        with running() as server, open_store(server.address) as opened:
            yield opened


def held(store: FleetStore) -> dict[str, set[str]]:
    """All that the store holds, by room."""
    return {room: {one.id for one in store.engine.scroll(room, Where())} for room in rooms(store)}


def rooms(store: FleetStore) -> list[str]:
    return sorted(room for room in store.engine.rooms() if store.engine.count(room, Where()))


def wanted(store: FleetStore, maps: list[RouteMap]) -> dict[str, set[str]]:
    """What it would hold if only these had been pushed, reckoned from the folders."""
    found: dict[str, set[str]] = {}
    for route_map in maps:
        content = MapContent(route_map)
        manifest = store.manifest(route_map.info.name, content.version)
        found.setdefault(MANIFEST_ROOM, set()).add(manifest.id)
        rows = range(len(content))
        found.setdefault(manifest.room, set()).update(content.point(row).id for row in rows)
        pieces = found.setdefault(PIECE_ROOM, set())
        pieces |= {id_of(content.piece(row)) for row in rows} - {EMPTY}
        pieces |= {
            id_of(piece) for name in content.file_names() for piece in content.file_pieces(name)
        }
        pieces.update(manifest.table.ids)
    return found


def versions(path: Path, count: int = 3, places: int = 30) -> list[RouteMap]:
    """Versions of a street, each with two places that look different."""
    return [
        street(path / f"{i}/street.routemap", places=places, changed=range(2 * i, 2 * i + 2))
        for i in range(count)
    ]


def test_what_others_need_stays(store: FleetStore, tmp_path: Path) -> None:
    """Another map has pieces of the first version, under other places."""
    maps = versions(tmp_path)
    other = street(tmp_path / "other.routemap", places=20, changed=range(2))
    for one in (*maps, other):
        push(store, one)
    first, second, third = store.manifests("street")
    before = held(store)
    report = remove(store, [first, second])
    assert report.versions == [first.title, second.title]
    after = held(store)
    assert after == wanted(store, [maps[2], other])
    gone = {room: len(before[room]) - len(after[room]) for room in before}
    assert (report.places, report.pieces) == (gone[first.room], gone[PIECE_ROOM])
    assert report.places == 6
    assert [one.title for one in store.manifests()] == [
        "other version " + MapContent(other).version,
        third.title,
    ]
    for one in store.manifests():
        verify(store, one)
    assert push(store, maps[0]).places == 4
    verify(store, store.manifest("street", first.version))
    remove(store, store.manifests())
    assert held(store) == {}


def test_points_and_all_files_go(store: FleetStore, tmp_path: Path) -> None:
    push(store, metric_map(tmp_path / "street.routemap"))
    remove(store, store.manifests())
    assert held(store) == {}


@pytest.mark.parametrize("fault", ["away", "full", "half"])
def test_a_removal_that_was_cut_off_goes_on(server: StandIn, tmp_path: Path, fault: str) -> None:
    """At every call that changes something; what is listed is whole each time."""
    maps = versions(tmp_path)
    with open_store(server.address) as store:
        for one in maps:
            push(store, one)
        first, second, third = store.manifests("street")
        tries = 0
        for call in range(1, 100):
            changes = 0

            def cut(method: str, path: str, number: int, last: int = call) -> str:
                nonlocal changes
                changes += path.endswith(("/delete", "/payload"))
                return fault if changes >= last else ""

            server.fault = cut
            try:
                remove(store, [first] if call == 1 else [first, second])
                break
            except SaaneError:
                tries += 1
            finally:
                server.fault = lambda *_: ""
            assert third in store.manifests("street")
            for one in store.manifests("street"):
                verify(store, one)
        assert tries > 5
        remove(store, [])
        assert held(store) == wanted(store, [maps[2]])


def test_a_pull_of_what_was_removed_says_so(
    server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is installed goes on."""
    maps = versions(tmp_path)
    with open_store(server.address) as store, open_store(server.address) as other:
        for one in maps:
            push(store, one)
        first, second, _ = store.manifests("street")
        pull(store, first, tmp_path / "maps", None)
        working = WorkingSet(tmp_path / "maps", "street")
        working.install(first.version)
        read, asked = store.places, []

        def late(room: str, ids: Any) -> Any:
            asked.append(ids)
            remove(other, [first, second])
            return read(room, ids)

        monkeypatch.setattr(store, "places", late)
        told = rf"^street version {second.version} was removed from the fleet store .* take another"
        with pytest.raises(SaaneError, match=told):
            pull(store, second, tmp_path / "maps", None)
        assert asked
        monkeypatch.undo()
        with pytest.raises(
            SaaneError, match=f"has no versions {second.version} of map street: give"
        ):
            store.manifest("street", second.version)
        assert working.installed == first.version
        RouteMap.open(working.link, everything=True).localizable()
        assert pull(store, store.manifest("street"), tmp_path / "maps", None).new


MOMENTS = (1, 2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 48, 64)
"""Calls before which something happens; the last is more than there are."""


def pushing_at(
    monkeypatch: pytest.MonkeyPatch, engine: Any, call: str, number: int, act: Callable[[], object]
) -> list[int]:
    """Let `act` happen before the given one of the calls of an engine."""
    real, count = getattr(engine, call), [0]

    def late(*given: Any) -> Any:
        count[0] += 1
        if count[0] == number:
            act()
        return real(*given)

    monkeypatch.setattr(engine, call, late)
    return count


@pytest.mark.parametrize("call", ["set_fields", "delete", "scroll"])
def test_a_push_in_the_midst_of_a_removal_loses_nothing(
    server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The map that is pushed has all that is removed, and the removal is at every of its calls."""
    first, second = versions(tmp_path, 2, 6)
    copy = street(tmp_path / "copy.routemap", places=6, changed=range(2))
    with open_store(server.address) as one, open_store(server.address) as other:
        for number in MOMENTS:
            for route_map in (first, second):
                push(one, route_map)
            gone = MapContent(first).version
            with monkeypatch.context() as patch:
                count = pushing_at(patch, one.engine, call, number, lambda: push(other, copy))
                remove(one, [one.manifest("street", gone)])
            for manifest in one.manifests():
                verify(one, manifest)
            if count[0] < number:
                break
            assert one.manifest("copy").places == 6
            remove(one, one.manifests("copy"))
            assert held(one) == wanted(one, [second])
        assert number > 2


@pytest.mark.parametrize("call", ["set_fields", "insert", "get"])
def test_a_removal_in_the_midst_of_a_push_loses_nothing(
    server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """At every call of a push of what the version that goes has."""
    first, second = versions(tmp_path, 2, 6)
    copy = street(tmp_path / "copy.routemap", places=6, changed=range(2))
    third = street(tmp_path / "three" / "street.routemap", places=6, changed=range(1))
    with open_store(server.address) as one, open_store(server.address) as other:
        for pushed in (copy, third):
            for number in MOMENTS:
                for route_map in (first, second):
                    push(one, route_map)
                gone = one.manifest("street", MapContent(first).version)
                with monkeypatch.context() as patch:
                    count = pushing_at(
                        patch, one.engine, call, number, lambda gone=gone: remove(other, [gone])
                    )
                    push(one, pushed)
                for manifest in one.manifests():
                    verify(one, manifest)
                there = one.manifest(pushed.info.name, MapContent(pushed).version)
                remove(one, [there, gone][: 2 if count[0] < number else 1])
                assert held(one) == wanted(one, [second])
                if count[0] < number:
                    break
            assert number > 1


def test_a_push_of_what_is_being_removed_waits(server: StandIn, tmp_path: Path) -> None:
    (one,) = versions(tmp_path, 1)
    with open_store(server.address) as store:
        push(store, one)
        manifest = store.manifest("street")
        server.fault = lambda _, path, __: "away" if path.endswith("delete") else ""
        with pytest.raises(SaaneError, match="gave no whole answer"):
            remove(store, [manifest])
        server.fault = lambda *_: ""
        assert store.manifests() == []
        for everything in (False, True):
            with pytest.raises(
                SaaneError, match=r"is being removed .*: wait for `saane fleet remove`"
            ):
                push(store, one, everything=everything)
        assert remove(store, []).versions == [manifest.title]
        assert push(store, one).places == 30
        verify(store, store.manifest("street"))


def test_a_mending_push_brings_back_nothing_removed(
    server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same version, removed while all of it is sent again."""
    (one,) = versions(tmp_path, 1)
    with open_store(server.address) as store, open_store(server.address) as other:
        push(store, one)
        manifest = store.manifest("street")
        pushing_at(monkeypatch, store.engine, "replace", 6, lambda: remove(other, [manifest]))
        with pytest.raises(SaaneError, match="is being removed"):
            push(store, one, everything=True)
        monkeypatch.undo()
        push(store, one)
        assert store.state("street", manifest.version) == WHOLE
        verify(store, store.manifest("street"))


def test_what_cannot_be_read_is_not_guessed(server: StandIn, tmp_path: Path) -> None:
    """Of a damaged version nobody knows what it needs; it can be removed itself."""
    maps = versions(tmp_path)
    with open_store(server.address) as store:
        for one in maps:
            push(store, one)
        first, second, third = store.manifests("street")
        server.engine.delete(PIECE_ROOM, list(second.table.ids))
        pieces = held(store)[PIECE_ROOM]
        with pytest.raises(SaaneError, match=r"lacks piece .* of a map that it lists: push the"):
            remove(store, [first])
        assert held(store)[PIECE_ROOM] == pieces
        verify(store, third)
        remove(store, [second])
        assert [one.version for one in store.manifests()] == [third.version]
        verify(store, third)
        assert held(store)[third.room] == wanted(store, [maps[2]])[third.room]


def test_ids_that_end_in_zeros() -> None:
    """NumPy cuts them off."""
    ids = [bytes([i]) * (16 - i) + b"\0" * i for i in range(1, 15)]
    told = set(removing._texts(np.array(ids, "S16")))
    assert {bytes.fromhex(one.replace("-", "")) for one in told} == set(ids)
