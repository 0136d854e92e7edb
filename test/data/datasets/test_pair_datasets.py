"""Datasets of two aligned folders, written in their layouts and read back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from official_layouts import write_nordland
from scenes import smooth_scene

from saane_ros.data.datasets import open_datasets, open_places
from saane_ros.data.datasets.nordland import clean_names
from saane_ros.data.images.at_names import AtName, format_at_name
from saane_ros.errors import SaaneError

NORDLAND = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "nordland_64x32"


def write_image(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), smooth_scene(seed, 24, 32)[..., ::-1])
    return path


def write_yaml(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_pairs_by_name_with_subset_and_tolerance(tmp_path: Path) -> None:
    for number in range(10):
        write_image(tmp_path / "summer" / f"{number}.png", number)
        if number != 4:
            write_image(tmp_path / "winter" / f"{number}.jpg", number + 50)
    text = "reader: pairs\nreferences: summer\nqueries: winter\nframes: 1\nfirst: 9\nevery: 2\n"
    (dataset,) = open_datasets(write_yaml(tmp_path / "seasons.yaml", text))
    assert dataset.name == "seasons"
    assert dataset.references.names == ("0.png", "2.png", "4.png", "6.png", "8.png")
    assert dataset.queries.names == ("0.jpg", "2.jpg", "5.jpg", "7.jpg", "9.jpg")
    assert [rows.tolist() for rows in dataset.correct] == [[0, 1], [0, 1, 2], [], [], []]
    assert dataset.matched == 2
    assert dataset.tolerance == "up to 1 frames away"
    assert dataset.queries.read(1).shape == (24, 32, 3)


def test_images_are_rgb_in_the_order_of_the_names(tmp_path: Path) -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    for side in ("ref", "query"):
        (tmp_path / side).mkdir()
        for name in ("a9.png", "a10.png"):
            cv2.imwrite(str(tmp_path / side / name), red[..., ::-1])
    (dataset,) = open_datasets(str(tmp_path))
    assert dataset.queries.names == ("a9.png", "a10.png")
    np.testing.assert_array_equal(dataset.queries.read(0), red)


def test_a_folder_with_ground_truth(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / "ref" / f"r{number}.png", number)
        write_image(tmp_path / "query" / f"q{number}.png", number)
    (tmp_path / "ground_truth.csv").write_text(
        "query_index,correct_reference_indices\n0,0 1\n2,2\n"
    )
    (dataset,) = open_datasets(str(tmp_path))
    assert [rows.tolist() for rows in dataset.correct] == [[0, 1], [], [2]]
    assert dataset.tolerance == "as ground_truth.csv lists"
    assert dataset.query_positions is None


def test_ground_truth_that_points_outside_is_told(tmp_path: Path) -> None:
    write_image(tmp_path / "ref" / "a.png")
    write_image(tmp_path / "query" / "a.png")
    (tmp_path / "ground_truth.csv").write_text("query_index,correct_reference_indices\n0,7\n")
    with pytest.raises(SaaneError, match="line 2 names an image beyond"):
        open_datasets(str(tmp_path))


def test_queries_without_any_match_are_told(tmp_path: Path) -> None:
    write_image(tmp_path / "ref" / "a.png")
    write_image(tmp_path / "query" / "a.png")
    (tmp_path / "ground_truth.csv").write_text("query_index,correct_reference_indices\n0,\n")
    with pytest.raises(SaaneError, match=r"No query of .* has a match"):
        open_datasets(str(tmp_path))


def at_image(folder: Path, easting: float, northing: float, heading: float | None = None) -> None:
    name = AtName(easting, northing, zone=56, letter="J", heading=heading)
    write_image(folder / format_at_name(name))


def test_a_tree_of_at_names(tmp_path: Path) -> None:
    base = tmp_path / "images" / "test"
    for metres in (0, 20, 40, 200):
        at_image(base / "database", 500_000 + metres, 7_000_000)
    for metres in (1, 300):
        at_image(base / "queries", 500_000 + metres, 7_000_000)
    (dataset,) = open_datasets(str(tmp_path))
    assert [rows.tolist() for rows in dataset.correct] == [[0, 1], []]
    assert dataset.all_queries
    assert dataset.query_positions is not None
    assert dataset.query_positions.tolist() == [[500_001, 7_000_000], [500_300, 7_000_000]]


def test_an_at_tree_as_places(tmp_path: Path) -> None:
    folder = tmp_path / "database"
    for easting, heading in ((1.0, 0), (2.0, 10), (3.0, 180), (25.0, 0)):
        at_image(folder, easting, 5.0, heading)
    text = "reader: at_tree\nsplit: ''\ncell: 10\n"
    places = open_places(write_yaml(tmp_path / "tree.yaml", text))
    sizes = sorted(places.labels.count(label) for label in set(places.labels))
    assert sizes == [1, 1, 2]


def test_both_named_subsets_of_nordland(tmp_path: Path) -> None:
    write_nordland(tmp_path, [202, 203, 3599, 3600, 3601, 35582])
    (hour,) = open_datasets("nordland-1h-clean", tmp_path)
    assert hour.references.names[-1] == "images-03600.png"
    assert len(hour.queries) == 4
    assert hour.correct[0].tolist() == [0, 1, 2, 3]
    assert "winter searched in summer" in hour.protocol
    (first,) = open_datasets("nordland-1403", tmp_path)
    assert len(first.queries) == 4


def test_nordland_1403_keeps_the_first_1403_clean_frames(tmp_path: Path) -> None:
    path = tmp_path / "cleanImageNames.txt"
    path.write_text("".join(f"images-{n:05d}.png\n" for n in range(202, 5000)))
    assert len(clean_names(path, 3600)) == 3600 - 202 + 1
    assert clean_names(path)[0] == "images-00202.png"


def test_missing_frames_are_counted_and_the_source_is_told(tmp_path: Path) -> None:
    write_nordland(tmp_path, [300, 301, 302])
    (tmp_path / "nordland" / "winter" / "images-00301.png").unlink()
    with pytest.raises(SaaneError, match=r"lacks 1 of 3 files, .*winter.*cleanImageNames\.txt"):
        open_datasets("nordland-1h-clean", tmp_path)


def test_a_line_that_is_no_frame_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cleanImageNames.txt"
    path.write_text("images-00001.png\ntunnel\n")
    with pytest.raises(SaaneError, match="'tunnel'"):
        clean_names(path, 3600)


@pytest.mark.skipif(not NORDLAND.is_dir(), reason="nordland_64x32 is not at ../shared/data")
def test_the_benchmark_subset_of_nordland_64x32() -> None:
    (dataset,) = open_datasets("nordland_64x32", NORDLAND.parent)
    assert len(dataset.queries) == len(dataset.references) == 1000
    assert dataset.queries.names == dataset.references.names
    assert dataset.correct[10].tolist() == [8, 9, 10, 11, 12]
    assert dataset.queries.names[:2] == ("images-00010.png", "images-00030.png")
