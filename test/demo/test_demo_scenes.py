"""Folders as scenes, what is correct in them, and which query a published image was."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.demo import run
from saane_ros.demo.finished import Finished, key_of, key_of_files
from saane_ros.demo.folders import folder_scene
from saane_ros.demo.queries import query_by_stamp, read_queries
from saane_ros.demo.run import recorded_map
from saane_ros.errors import SaaneError
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.calibration import default_weights
from saane_ros.types import Place

CORRIDOR = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "corridor"


def write_images(folder: Path, seeds: list[int]) -> None:
    folder.mkdir(parents=True)
    for n, seed in enumerate(seeds):
        image = cv2.cvtColor(smooth_scene(seed, 30, 40), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{n:03d}.png"), image)


def places_of(names: list[str]) -> list[Place]:
    return [Place(n, name, n) for n, name in enumerate(names)]


def test_equal_names_are_correct_with_five_neighbours_even_where_the_map_left_some_out(
    tmp_path: Path,
) -> None:
    write_images(tmp_path / "ref", list(range(12)))
    write_images(tmp_path / "query", list(range(12)))
    scene = folder_scene(tmp_path, tmp_path / "work", 5.0)
    kept = [f"{n:03d}.png" for n in range(12) if n != 3]
    correct = scene.truth(places_of(kept), [])
    rows = [{kept[row] for row in rows} for rows in correct]
    for n in range(12):
        near = {f"{m:03d}.png" for m in range(12) if abs(m - n) <= 5 and m != 3}
        assert rows[n] == near
    assert scene.query.count == 12
    assert scene.query.camera(2)["frequency"] == 5.0


def test_without_anything_to_compare_by_no_answer_is_judged(tmp_path: Path) -> None:
    write_images(tmp_path / "ref", [1, 2, 3])
    write_images(tmp_path / "query", [1, 2])
    for name in ("000.png", "001.png"):
        (tmp_path / "query" / name).rename(tmp_path / "query" / f"other{name}")
    scene = folder_scene(tmp_path, tmp_path / "work", 5.0)
    assert [len(rows) for rows in scene.truth(places_of(["000.png"]), [])] == [0, 0]


def test_a_drive_is_divided_and_its_poses_go_with_it(tmp_path: Path) -> None:
    write_images(tmp_path / "drive" / "images", list(range(9)))
    lines = [f"{n} {4 * n} 0 0 0 0 0 1" for n in range(9)]
    (tmp_path / "drive" / "poses.txt").write_text("\n".join(lines))
    scene = folder_scene(tmp_path / "drive", tmp_path / "work", 5.0)
    route, query = list(scene.route.frames()), list(scene.query.frames())
    assert [frame.name for frame in route] == [f"{n:03d}.png" for n in range(0, 9, 2)]
    assert [frame.name for frame in query] == [f"{n:03d}.png" for n in range(1, 9, 2)]
    assert [frame.pose.position[0] for frame in query if frame.pose] == [4, 12, 20, 28]
    np.testing.assert_array_equal(query[1].image, smooth_scene(3, 30, 40))
    places = [Place(n, f.name, f.stamp_ns, f.pose) for n, f in enumerate(route)]
    correct = scene.truth(places, query)
    assert [rows.tolist() for rows in correct] == [
        [0, 1, 2, 3, 4]
    ] * 4  # 5 frames around the nearest
    again = folder_scene(tmp_path / "drive", tmp_path / "work", 5.0)
    assert again.route.key == scene.route.key != scene.query.key


@pytest.mark.parametrize("inside", ["", "poses.txt"])
def test_a_folder_that_is_neither_is_named(tmp_path: Path, inside: str) -> None:
    if inside:
        (tmp_path / inside).write_text("0 0 0 0 0 0 0 1")
    with pytest.raises(SaaneError, match=r"neither ref/ and query/ nor images with poses"):
        folder_scene(tmp_path, tmp_path / "work", 5.0)
    with pytest.raises(SaaneError, match="There is no folder"):
        folder_scene(tmp_path / "nowhere", tmp_path / "work", 5.0)


@pytest.mark.skipif(not CORRIDOR.is_dir(), reason="the corridor is not at ../shared/data")
def test_corridor_truth_is_its_table(tmp_path: Path, colour_grid: ColourGridEmbedder) -> None:
    scene = folder_scene(CORRIDOR, tmp_path / "work", 5.0)
    route_map = build_map(scene.route.frames(), colour_grid, tmp_path / "corridor.routemap")
    correct = scene.truth(route_map.places, [])
    with (CORRIDOR / "ground_truth.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(route_map.places) == 111
    for row in rows:
        expected = [int(place) for place in row["correct_reference_indices"].split()]
        assert correct[int(row["query_index"])].tolist() == expected


def test_published_images_are_found_among_the_queries_by_their_pixels(tmp_path: Path) -> None:
    write_images(tmp_path / "ref", [1])
    write_images(tmp_path / "query", [5, 6, 6, 7])  # two of them look the same
    scene = folder_scene(tmp_path, tmp_path / "work", 5.0)
    queries = read_queries(scene.query)
    assert all(frame.image.size == 0 for frame in queries.frames)
    digests = queries.digests
    heard = [(100, digests[0]), (110, b"another image"), (120, digests[1]), (130, digests[2])]
    assert query_by_stamp(heard, queries) == {100: 0, 120: 1, 130: 2}
    assert query_by_stamp([(7, digests[3]), (8, digests[3])], queries) == {7: 3}


def test_finished_work_is_known_by_its_ingredients(tmp_path: Path) -> None:
    finished, product = Finished(tmp_path / "notes"), tmp_path / "product"
    finished.add(product, "a")
    assert not finished.has(product, "a")  # noted, but gone
    product.mkdir()
    assert finished.has(product, "a")
    assert not finished.has(product, "b")
    assert key_of({"x": 1, "y": [2.5]}) == key_of({"y": [2.5], "x": 1}) != key_of({"x": 2})
    write_images(tmp_path / "images", [1, 2])
    files = sorted((tmp_path / "images").iterdir())
    before = key_of_files(files)
    files[0].write_bytes(b"longer than before" * 1000)
    assert key_of_files(files) != before


def test_a_map_of_another_calibration_is_built_again(
    tmp_path: Path, colour_grid: ColourGridEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("ref", "query"):
        write_images(tmp_path / folder, list(range(12)))
    route = folder_scene(tmp_path, tmp_path / "parts", 5.0).route
    finished, path = Finished(tmp_path / "finished"), tmp_path / "m.routemap"

    def written() -> int:
        recorded_map(route, colour_grid, path, finished)
        return (path / "map.yaml").stat().st_mtime_ns

    first = written()
    assert written() == first
    weights, _ = default_weights(grids=True)
    monkeypatch.setattr(run, "default_weights", lambda grids: (weights, "another fit"))
    assert written() > first


def test_a_missing_truth_file_line_leaves_its_query_unjudged(tmp_path: Path) -> None:
    write_images(tmp_path / "ref", [1, 2])
    write_images(tmp_path / "query", [1, 2])
    header = "query_index,correct_reference_indices\n"
    (tmp_path / "ground_truth.csv").write_text(header + "1,0 1\n")
    scene = folder_scene(tmp_path, tmp_path / "work", 5.0)
    correct = scene.truth(places_of(["000.png", "001.png"]), [])
    assert [rows.tolist() for rows in correct] == [[], [0, 1]]
    (tmp_path / "ground_truth.csv").write_text(header + "1,9\n")
    with pytest.raises(SaaneError, match="beyond"):
        folder_scene(tmp_path, tmp_path / "work", 5.0)
