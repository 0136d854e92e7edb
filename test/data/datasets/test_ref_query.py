"""Ground truth of ref/ and query/ folders, in its order of preference."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from saane_ros.data.datasets.ref_query import read_ground_truth
from saane_ros.data.images.at_names import AtName, format_at_name
from saane_ros.errors import SaaneError
from saane_ros.geodesy import from_enu, to_utm

CORRIDOR = Path(__file__).resolve().parents[2].parent / "shared/data/corridor"
PIXEL = np.full((2, 2, 3), 90, np.uint8)


def images(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / name), PIXEL)


@pytest.mark.skipif(not CORRIDOR.is_dir(), reason="shared data are not beside the repository")
def test_the_corridor_table() -> None:
    truth = read_ground_truth(CORRIDOR)
    assert len(truth) == 111
    assert truth[:2] == [{0, 1, 2}, {0, 1, 2, 3}]
    assert all(query in correct for query, correct in enumerate(truth))


def test_a_table_comes_first_and_may_leave_queries_out(tmp_path: Path) -> None:
    images(tmp_path / "ref", ["a.png", "b.png", "c.png"])
    images(tmp_path / "query", ["a.png", "b.png"])
    table = tmp_path / "ground_truth.csv"
    table.write_text("query_index,correct_reference_indices\n1,2 0\n")
    assert read_ground_truth(tmp_path) == [set(), {0, 2}]
    # An image without a pose is left out of its folder, and the others keep their partners.
    (tmp_path / "ref" / "poses.csv").write_text("name,x,y\nb,0,0\nc,1,0\n")
    assert read_ground_truth(tmp_path) == [set(), {1}]
    table.write_text("query_index,correct_reference_indices\n0,3\n")
    with pytest.raises(SaaneError, match="names an image beyond the 2 queries and 3 references"):
        read_ground_truth(tmp_path)
    table.write_text("query_index,correct_reference_indices\n0,x\n")
    with pytest.raises(SaaneError, match="line 2 is no query index"):
        read_ground_truth(tmp_path)
    table.write_text("q,r\n")
    with pytest.raises(SaaneError, match="does not begin with the header"):
        read_ground_truth(tmp_path)


def test_geographic_poses_share_one_origin(tmp_path: Path) -> None:
    origin = (52.2, 0.1, 0.0)
    for part, metres in (("ref", [0, 8, 16, 100]), ("query", [9, 50])):
        images(tmp_path / part, [f"{i}.png" for i in range(len(metres))])
        points = from_enu(np.array([[m, 0.0, 0.0] for m in metres]), origin).tolist()
        rows = [f"{i},{lat!r},{lon!r}" for i, (lat, lon, _) in enumerate(points)]
        (tmp_path / part / "poses.csv").write_text("\n".join(["name,lat,lon", *rows]))
    assert read_ground_truth(tmp_path) == [{0, 1, 2}, set()]
    assert read_ground_truth(tmp_path, radius=5.0) == [{1}, set()]


def test_at_names(tmp_path: Path) -> None:
    for part, eastings in (("ref", [500000.0, 500020.0]), ("query", [500015.0])):
        images(tmp_path / part, [format_at_name(AtName(e, 100.0)) for e in eastings])
    assert read_ground_truth(tmp_path) == [{1}]


def test_equal_names_then_equal_numbers_then_an_error(tmp_path: Path) -> None:
    images(tmp_path / "ref", ["a.png", "b.png", "c.png"])
    images(tmp_path / "query", ["c.jpg", "a.jpg"])
    assert read_ground_truth(tmp_path) == [{0}, {2}]
    images(tmp_path / "query", ["x.jpg"])
    assert read_ground_truth(tmp_path) == [{0}, {2}, set()]
    images(tmp_path / "other" / "ref", ["a.png", "b.png"])
    images(tmp_path / "other" / "query", ["x.png", "y.png"])
    assert read_ground_truth(tmp_path / "other") == [{0}, {1}]
    images(tmp_path / "other" / "query", ["z.png"])
    with pytest.raises(SaaneError, match="nothing that says which belong together"):
        read_ground_truth(tmp_path / "other")


def test_poses_in_frames_that_do_not_meet_are_refused(tmp_path: Path) -> None:
    for part in ("ref", "query"):
        images(tmp_path / part, ["0.png", "1.png"])
    (tmp_path / "ref" / "poses.csv").write_text("name,x,y\n0,1,2\n1,3,4\n")
    (tmp_path / "query" / "poses.csv").write_text("name,x,y\n0,620000,5735000\n1,620001,5735000\n")
    with pytest.raises(SaaneError, match=r"about 620000.5 5735000.0, the references about 2.0 3.0"):
        read_ground_truth(tmp_path)
    (tmp_path / "query" / "poses.csv").write_text("name,lat,lon\n0,51,1\n1,51,1.0001\n")
    with pytest.raises(SaaneError, match=r"query lie on the Earth and those of .* in a frame of"):
        read_ground_truth(tmp_path)


def test_at_names_of_two_zones_meet(tmp_path: Path) -> None:
    for part, longitude in (("ref", 11.99999), ("query", 12.00001)):
        name = AtName(*to_utm(46.0, longitude))
        images(tmp_path / part, [format_at_name(name)])
    assert read_ground_truth(tmp_path) == [{0}]


def test_a_hole_in_either_folder_does_not_shift_the_pairs(tmp_path: Path) -> None:
    names = [f"{number:05d}.png" for number in range(10)]
    images(tmp_path / "ref", [name for name in names if name != "00003.png"])
    images(tmp_path / "query", [name for name in names if name != "00007.png"])
    expected = [{n if n < 3 else n - 1} if n != 3 else set() for n in range(10) if n != 7]
    assert read_ground_truth(tmp_path) == expected
