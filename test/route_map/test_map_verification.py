"""A map is read in full once; its own files are told from foreign ones, and their changes found."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from map_heads import read_head, write_head
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros import files
from saane_ros.errors import SaaneError
from saane_ros.route_map import verification
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.crop import crop_map
from saane_ros.route_map.derived import write_derived
from saane_ros.route_map.info import read_info
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame, Pose

COUNT = 5


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def street(tmp_path: Path) -> Path:
    frames = [
        Frame(smooth_scene(i), i * 10**9, f"{i}.jpg", Pose((2.0 * i, 0.0, 0.0)))
        for i in range(COUNT)
    ]
    return build_map(frames, ColourGridEmbedder(), tmp_path / "street.routemap").path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that were read in full, by name."""
    seen: list[str] = []

    def counted(path: Path, advance: Callable[[int], object] | None = None) -> str:
        seen.append(path.name)
        return files.sha256_of(path, advance)

    monkeypatch.setattr(verification, "sha256_of", counted)
    return seen


@pytest.fixture
def settled(street: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The map was written long enough ago to be known by its times."""
    monkeypatch.setattr(verification, "SETTLED_NS", 0)
    time.sleep(0.05)  # a tick of the clock that files get their times from


ALL = {
    "calibration.yaml",
    "cohort.npz",
    "descriptors.npy",
    "graph.npz",
    "grids.npy",
    "places.csv",
    "places.npy",
    *(f"{i:06d}.jpg" for i in range(COUNT)),
}


def same_size(path: Path) -> None:
    """Change one bit in the middle and set the time of the change back."""
    times, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_map_is_read_in_full_once(street: Path, reads: list[str], settled: None) -> None:
    for opened in range(3):
        RouteMap.open(street)
        assert set(reads) == ALL
        assert len(reads) == len(ALL), opened
    RouteMap.open(street, everything=True)
    assert len(reads) == 2 * len(ALL)


def test_a_map_written_just_now_is_read_again(street: Path, reads: list[str], cache: Path) -> None:
    """A file may change once more within one tick of its clock."""
    for _ in range(2):
        RouteMap.open(street)
    assert len(reads) == 2 * len(ALL)
    assert not cache.exists()


@pytest.mark.parametrize("name", ["descriptors.npy", "thumbnails/000003.jpg", "graph.npz"])
@pytest.mark.usefixtures("settled")
def test_a_bit_changed_under_the_same_times_is_found(street: Path, name: str) -> None:
    RouteMap.open(street)
    same_size(street / name)
    with pytest.raises(SaaneError, match=f"{name.split('/')[0]} was truncated or changed"):
        RouteMap.open(street)


@pytest.mark.usefixtures("settled")
def test_only_what_changed_is_read_again(street: Path, reads: list[str]) -> None:
    RouteMap.open(street)
    del reads[:]
    os.utime(street / "graph.npz")
    RouteMap.open(street)
    assert reads == ["graph.npz"]
    (street / "thumbnails" / "000002.jpg").touch()
    RouteMap.open(street)
    assert sorted(reads[1:]) == [f"{i:06d}.jpg" for i in range(COUNT)]


@pytest.mark.usefixtures("settled")
def test_a_copy_with_all_times_kept_is_read(street: Path, reads: list[str]) -> None:
    RouteMap.open(street)
    copy = street.with_name("copy.routemap")
    shutil.copytree(street, copy)  # keeps times, as `cp -a` does
    del reads[:]
    RouteMap.open(copy)
    assert set(reads) == ALL
    # And one that takes the place of what was read before.
    shutil.rmtree(street)
    shutil.copytree(copy, street)
    same_size(street / "places.csv")
    with pytest.raises(SaaneError, match=r"places\.csv was truncated or changed"):
        RouteMap.open(street)


@pytest.mark.usefixtures("settled")
def test_checksums_of_another_writing_are_not_believed(street: Path) -> None:
    RouteMap.open(street)
    values = read_head(street)
    values["files"]["graph.npz"] = "0" * 64
    write_head(street, values)
    with pytest.raises(SaaneError, match=r"graph\.npz was truncated or changed"):
        RouteMap.open(street)


@pytest.mark.usefixtures("settled")
def test_lost_bits_are_found_on_demand(street: Path, cache: Path) -> None:
    """A disk that loses a bit changes no time: as if the record had those of the changed file."""
    RouteMap.open(street)
    same_size(street / "descriptors.npy")
    record = cache / "verified_maps.json"
    maps = json.loads(record.read_text())
    found = verification._OwnFile.look_at(street, "descriptors.npy", read_info(street))
    maps[str(street)]["descriptors.npy"] = found.stamp
    record.write_text(json.dumps(maps))
    RouteMap.open(street)
    with pytest.raises(SaaneError, match=r"descriptors\.npy was truncated or changed"):
        RouteMap.open(street, everything=True)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 3}', '{"x": {"places.csv": 4}}', "\0"])
def test_a_damaged_record_costs_a_reading(
    street: Path, cache: Path, reads: list[str], content: str
) -> None:
    cache.mkdir()
    (cache / "verified_maps.json").write_text(content.replace("x", str(street)))
    for _ in range(2):
        RouteMap.open(street)
        assert len(reads) == len(ALL)


@pytest.mark.usefixtures("settled")
def test_without_a_cache_a_map_is_read_each_time(
    street: Path, reads: list[str], cache: Path
) -> None:
    cache.write_text("a file")
    for _ in range(2):
        RouteMap.open(street)
    assert len(reads) == 2 * len(ALL)


@pytest.mark.usefixtures("settled")
def test_maps_that_are_gone_are_forgotten(street: Path, cache: Path) -> None:
    other = shutil.copytree(street, street.with_name("other.routemap"))
    time.sleep(0.05)
    RouteMap.open(other)
    shutil.rmtree(other)
    RouteMap.open(street)
    assert list(json.loads((cache / "verified_maps.json").read_text())) == [str(street)]


FOREIGN = [
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "._000001.jpg",
    "000001.jpg~",
    ".map.yaml.swp",
    "#places.csv#",
    "000005.jpg",
    "notes.txt",
]


@pytest.mark.parametrize("where", [".", "thumbnails"])
def test_foreign_files_are_let_be(street: Path, where: str) -> None:
    for name in FOREIGN:
        (street / where / name).write_bytes(b"\x00\x01")
    (street / where / "@eaDir").mkdir()
    (street / where / "@eaDir" / "x").write_text("x")
    (street / where / "dangling").symlink_to("nowhere")
    for everything in (False, True):
        assert len(RouteMap.open(street, everything).places) == COUNT
    (street / "thumbnails" / "000003.jpg").unlink()
    with pytest.raises(SaaneError, match=r"lacks thumbnails/000003\.jpg"):
        RouteMap.open(street)


def test_a_map_of_the_format_before_has_no_checksum_of_its_head(street: Path) -> None:
    values = {**read_head(street), "format": 3}
    text = json.dumps(values)  # which is YAML too
    (street / "map.yaml").write_text(text)
    route_map = RouteMap.open(street)
    assert route_map.info.calibrated
    assert len(route_map.places) == COUNT


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("frame_id: map", "frame_id: odom"),
        ("created:", "# a note\ncreated:"),
        ("\n", "\r\n"),
        ("count: 5", "count: 6"),
        ("format: 5", "format: 3"),
        ("\nsha256:", "\nsha257:"),
    ],
)
def test_an_edited_head_is_told(street: Path, old: str, new: str) -> None:
    head = street / "map.yaml"
    before = head.read_bytes()
    after = before.replace(old.encode(), new.encode())
    assert after != before
    head.write_bytes(after)
    with pytest.raises(SaaneError, match=r"map\.yaml was edited or damaged, .* undo the edit"):
        RouteMap.open(street)
    head.write_bytes(before)
    RouteMap.open(street)


def test_a_map_without_thumbnails_can_be_cut(street: Path, tmp_path: Path) -> None:
    whole = RouteMap.open(street)
    bare = [replace(place, thumbnail=None) for place in whole.places]
    out = tmp_path / "bare.routemap"
    write_derived(out, whole, bare, whole.descriptors, range(COUNT), None, None)
    part = crop_map(RouteMap.open(out), tmp_path / "part.routemap", places=(1, 3))
    assert [place.thumbnail for place in part.places] == [None, None]
    assert not (part.path / "thumbnails").exists()
    # Maps were once written with an empty folder.
    (out / "thumbnails").mkdir()
    values = read_head(out)
    values["files"]["thumbnails"] = verification.NOTHING
    write_head(out, values)
    assert RouteMap.open(out).places[0].thumbnail is None
