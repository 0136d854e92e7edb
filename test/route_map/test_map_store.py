"""Route maps on disk: what is written comes back, and damage is told."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from map_heads import read_head, write_head
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.errors import SaaneError
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.info import MapInfo, info_text, read_info
from saane_ros.route_map.places_csv import read_places, write_places
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.writing import write_map
from saane_ros.types import Frame, Place, Pose

COUNT = 12


@pytest.fixture
def frames() -> list[Frame]:
    return [
        Frame(smooth_scene(i), i * 10**9, f"{i:03d}.jpg", Pose((3.0 * i, 4.0 * i, 0.5)))
        for i in range(COUNT)
    ]


@pytest.fixture
def map_folder(tmp_path: Path, frames: list[Frame], colour_grid: ColourGridEmbedder) -> Path:
    origin = (52.2, 0.1, 20.0)
    return build_map(frames, colour_grid, tmp_path / "street.routemap", origin=origin).path


def test_a_map_comes_back_as_it_was_built(
    map_folder: Path, frames: list[Frame], colour_grid: ColourGridEmbedder
) -> None:
    route_map = RouteMap.open(map_folder)
    info = route_map.info
    assert (info.name, info.count, info.descriptor_size) == ("street", COUNT, 72)
    assert (info.fingerprint, info.model) == (colour_grid.fingerprint, colour_grid.name)
    assert (info.frame_id, info.origin, info.index) == ("map", (52.2, 0.1, 20.0), "flat")
    assert [p.name for p in route_map.places] == [f.name for f in frames]
    assert [p.stamp_ns for p in route_map.places] == [f.stamp_ns for f in frames]
    assert list(route_map.poses()) == [f.pose for f in frames]
    for frame, row in zip(frames, route_map.descriptors, strict=True):
        expected = colour_grid.embed([frame.image])[0].descriptor
        np.testing.assert_array_equal(row, expected)
    assert isinstance(route_map.descriptors, np.memmap)
    np.testing.assert_allclose(route_map.arc_length, 5.0 * np.arange(COUNT), atol=1e-9)
    for place in route_map.places:
        assert place.thumbnail is not None
        assert place.thumbnail.read_bytes()[:2] == b"\xff\xd8"
    assert sorted(p.name for p in map_folder.parent.iterdir()) == ["street.routemap"]


def test_places_without_poses_are_as_far_apart_as_their_numbers(
    tmp_path: Path, frames: list[Frame], colour_grid: ColourGridEmbedder
) -> None:
    frames[3] = replace(frames[3], pose=None)
    route_map = build_map(frames, colour_grid, tmp_path / "m")
    assert not route_map.metric
    np.testing.assert_array_equal(route_map.arc_length, np.arange(COUNT))
    assert route_map.places[3].pose is None


def test_float16_halves_the_file_and_keeps_three_digits(
    tmp_path: Path, frames: list[Frame], map_folder: Path, colour_grid: ColourGridEmbedder
) -> None:
    half = build_map(frames, colour_grid, tmp_path / "half.routemap", dtype="float16")
    full = RouteMap.open(map_folder)
    assert half.descriptors.dtype == np.float16
    assert np.abs(half.descriptors.astype(np.float32) - full.descriptors).max() < 10 * 2**-11


@pytest.mark.parametrize(
    "name",
    [
        "places.csv",
        "places.npy",
        "descriptors.npy",
        "thumbnails/000004.jpg",
        "graph.npz",
        "cohort.npz",
        "calibration.yaml",
    ],
)
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_damage_to_a_file_is_named(map_folder: Path, name: str, damage: str) -> None:
    path = map_folder / name
    data = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "changed":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    else:
        path.unlink()
    with pytest.raises(SaaneError, match=name.split("/")[0]):
        RouteMap.open(map_folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 6}, "has format 6 and this version reads formats up to 5"),
        ({"format": 4.0}, "has format 4.0 and this version"),
        ({"count": 11}, "thumbnails was truncated or changed"),
        ({"count": 13}, r"lacks thumbnails/000012\.jpg"),
        ({"descriptor_size": 71}, "12 places of 71 values"),
        ({"dtype": "float16"}, "says float16, but its descriptors are float32"),
        ({"dtype": "object"}, "dtype is none of float16, float32"),
        ({"count": "12"}, "count is missing or no int"),
        ({"index": "hnsw"}, "no checksum of index.faiss"),
        ({"files": {}}, "no checksum of places.csv"),
        ({"files": {"places.csv": 3}}, "files are not names and checksums"),
        ({"origin": [1.0, float("nan"), 0.0]}, "origin is not latitude"),
    ],
)
def test_a_changed_head_is_told(map_folder: Path, change: dict[str, object], message: str) -> None:
    write_head(map_folder, {**read_head(map_folder), **change})
    with pytest.raises(SaaneError, match=message):
        RouteMap.open(map_folder)


@pytest.mark.parametrize("keep", [0, 10, 120, 330])
def test_a_truncated_head_is_told(map_folder: Path, keep: int) -> None:
    head = map_folder / "map.yaml"
    head.write_bytes(head.read_bytes()[:keep])
    with pytest.raises(SaaneError):
        RouteMap.open(map_folder)


def test_a_file_outside_the_map_is_refused(map_folder: Path) -> None:
    values = read_head(map_folder)
    values["files"]["../elsewhere"] = "0" * 64
    write_head(map_folder, values)
    (map_folder.parent / "elsewhere").write_text("x")
    with pytest.raises(SaaneError, match=r"names a file \.\./elsewhere in map\.yaml that no map"):
        RouteMap.open(map_folder)


def test_no_map_and_no_head_are_told(tmp_path: Path) -> None:
    with pytest.raises(SaaneError, match="There is no route map"):
        RouteMap.open(tmp_path / "none.routemap")
    with pytest.raises(SaaneError, match="is no route map"):
        RouteMap.open(tmp_path)


def _resign(folder: Path, name: str) -> None:
    """Give a changed file a matching checksum, as a program with a fault would."""
    values = read_head(folder)
    values["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    write_head(folder, values)


def test_values_that_are_not_finite_are_told(map_folder: Path) -> None:
    path = map_folder / "descriptors.npy"
    descriptors = np.load(path)
    descriptors[7, 3] = np.nan
    np.save(path, descriptors)
    _resign(map_folder, path.name)
    with pytest.raises(SaaneError, match="not finite at place 7"):
        RouteMap.open(map_folder)


def test_poses_that_are_not_finite_are_told(map_folder: Path) -> None:
    path = map_folder / "places.csv"
    path.write_text(path.read_text().replace("9.0,12.0,0.5", "9.0,nan,0.5"))
    _resign(map_folder, path.name)
    with pytest.raises(SaaneError, match="line 5 has a pose that is not finite"):
        RouteMap.open(map_folder)


def test_columns_of_other_places_are_told(map_folder: Path) -> None:
    path = map_folder / "places.npy"
    rows = np.load(path)
    rows["position"][3, 1] += 1.0
    np.save(path, rows)
    _resign(map_folder, path.name)
    with pytest.raises(SaaneError, match=r"places\.npy is not of the same places as places\.csv"):
        RouteMap.open(map_folder)
    np.save(path, np.zeros((COUNT, 9)))
    _resign(map_folder, path.name)
    with pytest.raises(SaaneError, match="has no columns of places"):
        RouteMap.open(map_folder)


def test_pickled_descriptors_are_refused(map_folder: Path) -> None:
    path = map_folder / "descriptors.npy"
    np.save(path, np.array([[{}] * 72] * COUNT, dtype=object), allow_pickle=True)
    _resign(map_folder, path.name)
    with pytest.raises(SaaneError, match="is no NumPy array"):
        RouteMap.open(map_folder)


def test_a_map_of_another_model_names_both_fingerprints(
    map_folder: Path, colour_grid: ColourGridEmbedder
) -> None:
    route_map = RouteMap.open(map_folder)
    route_map.check_embedder(colour_grid)
    colour_grid.fingerprint = "another-one"
    with pytest.raises(SaaneError, match=r"colour-grid-4x6, but .* another-one"):
        route_map.check_embedder(colour_grid)


def test_something_that_is_no_map_is_never_replaced(
    tmp_path: Path, frames: list[Frame], colour_grid: ColourGridEmbedder
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dear.txt").write_text("keep me")
    with pytest.raises(SaaneError, match="exists and is no route map"):
        build_map(frames, colour_grid, tmp_path / "photos")
    assert (tmp_path / "photos" / "dear.txt").read_text() == "keep me"


def test_a_failure_while_writing_leaves_the_old_map(map_folder: Path, tmp_path: Path) -> None:
    before = RouteMap.open(map_folder)
    info = replace(before.info, dtype="float16", files={})
    huge = np.full((COUNT, 72), 1e6, dtype=np.float32)
    thumbnails = [tmp_path / "absent.jpg"] * COUNT
    cohort = before.localizable().cohort
    with pytest.raises(SaaneError, match="does not fit float16"):
        write_map(map_folder, info, before.places, huge, range(COUNT), thumbnails, cohort)
    after = RouteMap.open(map_folder)
    np.testing.assert_array_equal(after.descriptors, before.descriptors)
    assert [p.name for p in tmp_path.iterdir()] == ["street.routemap"]


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
POSES = st.builds(
    Pose, st.tuples(NUMBERS, NUMBERS, NUMBERS), st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
)


@given(st.lists(st.tuples(NAMES, st.integers(-(2**63), 2**63 - 1), POSES | st.none()), max_size=8))
def test_the_table_of_places_keeps_every_bit(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, int, Pose | None]],
) -> None:
    folder = tmp_path_factory.mktemp("table")
    places = [Place(i, name, stamp, pose) for i, (name, stamp, pose) in enumerate(rows)]
    write_places(folder / "places.csv", places)
    read = [read_places(folder / "places.csv", everything) for everything in (True, False)]
    assert [list(one) for one in read] == [places, places]
    np.testing.assert_array_equal(read[1].stamps, [place.stamp_ns for place in places])
    (folder / "places.npy").unlink()  # as in maps of older formats
    assert list(read_places(folder / "places.csv")) == places
    shutil.rmtree(folder)


@given(
    name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    origin=st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS),
)
def test_the_head_round_trips(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    origin: tuple[float, float, float] | None,
) -> None:
    folder = tmp_path_factory.mktemp("head")
    info = MapInfo(name, "f", "m", "map", origin, "now", 3, 5, "float16", "hnsw", {"a": "b"})
    (folder / "map.yaml").write_text(info_text(info), encoding="utf-8")
    assert read_info(folder) == info
    shutil.rmtree(folder)
