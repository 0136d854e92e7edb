"""Datasets with places as classes, and Pittsburgh: official tables written and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scenes import smooth_scene

from saane_ros.data.datasets import open_datasets, open_places
from saane_ros.data.datasets.pitts30k import read_struct
from saane_ros.errors import SaaneError


def touch_image(path: Path, seed: int = 0) -> None:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), smooth_scene(seed, 16, 16))


def write_mat(path: Path, names: list[str], queries: list[str]) -> None:
    scipy_io = pytest.importorskip("scipy.io", reason="scipy is not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = [
        ("whichSet", "test"),
        ("dbImageFns", np.array([[name] for name in names], object)),
        ("utmDb", np.array([[0.0, 100.0, 20.0], [0.0, 0.0, 0.0]])),
        ("qImageFns", np.array([[name] for name in queries], object)),
        ("utmQ", np.array([[3.0, 500.0], [4.0, 0.0]])),
        ("numImages", 3.0),
        ("numQueries", 2.0),
        ("posDistThr", 25.0),
        ("posDistSqThr", 625.0),
        ("nonTrivPosDistSqThr", 100.0),
    ]
    record = np.empty((1, 1), [(name, object) for name, _ in fields])
    for name, value in fields:
        record[name][0, 0] = value
    scipy_io.savemat(str(path), {"dbStruct": record})


def test_pitts30k_by_its_struct(tmp_path: Path) -> None:
    root = tmp_path / "pitts250k"
    names = [f"000/00000{i}_pitch1_yaw1.jpg" for i in range(3)]
    queries = ["000/000010_pitch1_yaw1.jpg", "000/000011_pitch2_yaw3.jpg"]
    write_mat(root / "datasets" / "pitts30k_test.mat", names, queries)
    for name in names:
        touch_image(root / name)
    touch_image(root / "queries_real" / queries[0])
    with pytest.raises(SaaneError, match=r"lacks 1 of 2 files.*NetVLAD authors"):
        open_datasets("pitts30k-test", tmp_path)
    touch_image(root / "queries_real" / queries[1])
    (dataset,) = open_datasets("pitts30k-test", tmp_path)
    assert dataset.references.names == tuple(names)
    assert dataset.queries.names == tuple(queries)
    assert [rows.tolist() for rows in dataset.correct] == [[0, 2], []]
    assert dataset.all_queries
    assert dataset.tolerance == "within 25 m"
    places = open_places("pitts30k-test", tmp_path)
    names = {
        path.name: places.names[i] for path, i in zip(places.paths, places.labels, strict=True)
    }
    assert names == {
        "000000_pitch1_yaw1.jpg": "00000000-00000000-0-pitch1",
        "000001_pitch1_yaw1.jpg": "00000010-00000000-0-pitch1",
        "000002_pitch1_yaw1.jpg": "00000002-00000000-0-pitch1",
        "000010_pitch1_yaw1.jpg": "00000000-00000000-0-pitch1",
        "000011_pitch2_yaw3.jpg": "00000050-00000000-1-pitch2",
    }


def test_a_mat_file_of_something_else_is_told(tmp_path: Path) -> None:
    pytest.importorskip("scipy.io", reason="scipy is not installed")
    (tmp_path / "x.mat").write_bytes(b"no matlab file" * 20)
    with pytest.raises(SaaneError, match="no MATLAB file with dbStruct"):
        read_struct(tmp_path / "x.mat")


def test_cameras_are_places_whatever_lies_below(tmp_path: Path) -> None:
    for camera, count in (("12", 3), ("7", 2), ("100", 1)):
        for image in range(count):
            touch_image(tmp_path / "sped" / camera / "2014.02" / f"2014020{image}_120000.jpg")
    places = open_places("sped", tmp_path)
    assert dict(zip(places.names, np.bincount(places.labels), strict=True)) == {
        "100": 1,
        "12": 3,
        "7": 2,
    }
    (dataset,) = open_datasets("sped", tmp_path)
    assert len(dataset.references) == 3
    assert dataset.queries.names == (
        "12/20140201_120000.jpg",
        "12/20140202_120000.jpg",
        "7/20140201_120000.jpg",
    )
    assert [rows.tolist() for rows in dataset.correct] == [[1], [1], [2]]


def test_classes_of_one_image_cannot_be_evaluated(tmp_path: Path) -> None:
    touch_image(tmp_path / "sped" / "1" / "a.jpg")
    touch_image(tmp_path / "sped" / "2" / "a.jpg")
    with pytest.raises(SaaneError, match="No place of sped has more than 1 images"):
        open_datasets("sped", tmp_path)


GSV = "place_id,year,month,northdeg,city_id,lat,lon,panoid"


def test_gsv_cities_by_its_tables(tmp_path: Path) -> None:
    root = tmp_path / "gsv_cities"
    (root / "Dataframes").mkdir(parents=True)
    rows = [f"3,{2010 + i},5,7,PRS,48.7973377,2.23146,p-{i}_x" for i in (2, 0, 3, 1)]
    (root / "Dataframes" / "PRS.csv").write_text("\n".join([GSV, *rows, "9,2012,1,0,PRS,1,2,z"]))
    with pytest.raises(SaaneError, match=r"lacks 4 of 4 files.*download GSV-Cities"):
        open_places("gsv_cities", tmp_path)
    for i in range(4):
        name = f"PRS_0000003_{2010 + i}_05_007_48.7973377_2.23146_p-{i}_x.jpg"
        touch_image(root / "Images" / "PRS" / name)
    places = open_places("gsv_cities", tmp_path)
    assert places.names == ("PRS/0000003",)
    assert len(places) == 4
    (dataset,) = open_datasets("gsv_cities", tmp_path)
    assert dataset.references.names[0].startswith("PRS/0000003/PRS_0000003_2010")
    assert [rows.tolist() for rows in dataset.correct] == [[0], [0], [0]]


def test_a_gsv_table_without_a_column_is_told(tmp_path: Path) -> None:
    tables = tmp_path / "gsv_cities" / "Dataframes"
    tables.mkdir(parents=True)
    (tables / "PRS.csv").write_text("place_id,year\n3,2010\n")
    with pytest.raises(SaaneError, match=r"PRS\.csv line 2"):
        open_places("gsv_cities", tmp_path)


def write_msls_part(folder: Path, rows: list[tuple[str, float, int, bool]]) -> None:
    folder.mkdir(parents=True)
    posts = ["key,easting,northing,unique_cluster,night,control_panel,view_direction"]
    raws = ["key,lon,lat,ca,captured_at,pano"]
    for number, (key, easting, cluster, pano) in enumerate(rows):
        posts.append(f"{key},{easting},6170000.5,{cluster},False,True,Forward")
        raws.append(f"{key},12.5,55.6,90.0,2018-01-01,{pano}")
        touch_image(folder / "images" / f"{key}.jpg", number)
    (folder / "postprocessed.csv").write_text("\n".join(posts) + "\n")
    (folder / "raw.csv").write_text("\n".join(raws) + "\n")


def test_msls_as_its_authors_load_it(tmp_path: Path) -> None:
    """Two cities in one database, whose coordinates meet by chance; one of the subtask's rows."""
    for city, offset in (("cph", 0), ("sf", 5)):
        base = tmp_path / "msls" / "train_val" / city
        queries = [("q0", offset, 5, False), ("q1", 9000, 6, False), ("q2", 3, 5, False)]
        write_msls_part(base / "query", queries)
        references = [("d0", 20, 5, False), ("d1", 24, 5, True), ("d2", 500, 8, False)]
        write_msls_part(base / "database", [*references, ("d3", 22, 5, False)])
        for part, chosen in (("query", "TTF"), ("database", "TTTF")):
            rows = "".join(f"{i},True,{c == 'T'}\n" for i, c in enumerate(chosen))
            (base / part / "subtask_index.csv").write_text(f",all,s2w\n{rows}")
    (dataset,) = open_datasets("msls-val-official", tmp_path)
    assert dataset.queries.names == ("q0.jpg", "q2.jpg", "q0.jpg", "q2.jpg")
    assert dataset.references.names == ("d0.jpg", "d2.jpg", "d3.jpg") * 2
    assert [rows.tolist() for rows in dataset.correct] == [[0, 2], [0, 2], [3, 5], [3, 5]]
    assert "official: subtask all" in dataset.protocol
    described = tmp_path / "s2w.yaml"
    described.write_text("reader: msls\nfolder: msls\nprotocol: official\nsubtask: s2w\n")
    (summer,) = open_datasets(str(described))
    assert summer.queries.names == ("q0.jpg", "q0.jpg")
    assert summer.references.names == ("d0.jpg", "d2.jpg") * 2
    assert [rows.tolist() for rows in summer.correct] == [[0], [2]]
    table = tmp_path / "msls" / "train_val" / "sf" / "query" / "subtask_index.csv"
    table.write_text(",all\n0,True\n")
    with pytest.raises(SaaneError, match="has 1 rows and"):
        open_datasets("msls-val-official", tmp_path)
    with pytest.raises(SaaneError, match="lacks s2w"):
        open_datasets(str(described))


def test_msls_cities_by_their_tables(tmp_path: Path) -> None:
    for city in ("cph", "sf"):
        base = tmp_path / "msls" / "train_val" / city
        write_msls_part(base / "query", [("q0", 0, 5, False), ("q1", 90, 6, False)])
        write_msls_part(
            base / "database", [("d0", 20, 5, False), ("d1", 24, 5, True), ("d2", 500, 8, False)]
        )
    copenhagen, san_francisco = open_datasets("msls-val", tmp_path)
    assert copenhagen.name == "msls-val/cph"
    assert san_francisco.group == "msls-val"
    assert copenhagen.references.names == ("d0.jpg", "d2.jpg")  # d1 is a panorama
    assert [rows.tolist() for rows in copenhagen.correct] == [[0], []]
    places = open_places("msls-val", tmp_path)
    assert places.names[:3] == ("cph/000005", "cph/000006", "cph/000008")
    assert np.bincount(places.labels).tolist() == [2, 1, 1, 2, 1, 1]
    assert sorted(set(places.groups)) == [0, 1]
