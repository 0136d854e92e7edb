"""Kills and a full disk at every write of a map: the old one or the new one is there, no more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import failing_builds
import pytest
from failing_builds import EMBEDDER, NAME, NEW, OLD, build, frames, quick_parts

from saane_ros.route_map.builder import RouteMapBuilder
from saane_ros.route_map.store import RouteMap

TESTS = Path(__file__).resolve().parents[1]


def names(first: int) -> list[str]:
    return [frame.name for frame in frames(first)]


@pytest.fixture(autouse=True)
def _quick_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_parts(monkeypatch.setattr)


def failed(way: str, folder: Path) -> tuple[list[Path], list[str]]:
    """The folders in which a writing failed, at last the one where it did not; what was said."""
    (folder / "start").mkdir()
    build(folder / "start", OLD)
    if way == "build-kill":  # an interrupted build of another source lies there
        other = RouteMapBuilder(EMBEDDER, folder / "start" / NAME, source="other", batch=1)
        other.add(frames(NEW)[:2])
        other.close()
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    ran = subprocess.run(
        [sys.executable, failing_builds.__file__, way, str(folder)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Exception ignored" not in ran.stderr
    places = sorted(int(place.name) for place in folder.iterdir() if place.name != "start")
    return [folder / str(number) for number in places], ran.stdout.splitlines()


@pytest.mark.parametrize(
    ("way", "new"), [("build-kill", names(NEW)), ("crop-kill", names(OLD)[1:])]
)
def test_a_map_killed_at_any_write_is_whole(tmp_path: Path, way: str, new: list[str]) -> None:
    """The crop on a file system that does not exchange names in one step."""
    places, _ = failed(way, tmp_path)
    found = []
    for number, place in enumerate(places):
        # A map moved aside at that moment comes back by being opened.
        found.append([one.name for one in RouteMap.open(place / NAME, everything=True).places])
        assert build(place, NEW, "other" if number % 2 else "") == names(NEW)
        assert os.listdir(place) == [NAME]
    # It was the old map up to some write, and the new one from then on.
    change = found.index(new)
    assert found == [names(OLD)] * change + [new] * (len(found) - change)
    assert 30 < change < len(found) - 5


def test_a_full_disk_is_told_and_leaves_the_old_map(tmp_path: Path) -> None:
    *places, last = failed("build-room", tmp_path)[0]
    assert RouteMap.open(last / NAME).places[0].name == str(NEW)
    for place in places:
        assert [one.name for one in RouteMap.open(place / NAME).places] == names(OLD)
        # What was embedded stays for the next build.
        assert set(os.listdir(place)) == {NAME, f".{NAME}.building"}
        assert build(place, NEW) == names(NEW)
        assert os.listdir(place) == [NAME]
    assert len(places) > 8


def test_a_map_that_lacks_room_leaves_nothing_else(tmp_path: Path) -> None:
    (*places, last), told = failed("crop-room", tmp_path)
    assert RouteMap.open(last / NAME).places[0].name == names(OLD)[1]
    for place, said in zip(places, told, strict=True):
        assert said == (
            f"There is no room in {place} to write {NAME} (File too large): free some space, raise "
            "the limit (quota, `ulimit -f`) or choose another folder, and give the same command "
            "again; what was there before is unchanged."
        )
        assert [one.name for one in RouteMap.open(place / NAME).places] == names(OLD)
        assert os.listdir(place) == [NAME]
    assert len(places) > 8
