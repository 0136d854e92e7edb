"""St Lucia, RobotCar and the town: drives with positions, written in their official layouts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from official_layouts import START_US, write_session, write_traversal
from scenes import smooth_scene

from saane_ros.data.datasets import open_datasets
from saane_ros.data.datasets.st_lucia import interpolated, read_gps
from saane_ros.data.datasets.town import Town
from saane_ros.data.robotcar.images import read_bayer, read_timestamps, sampled
from saane_ros.data.robotcar.lens import read_lens_table
from saane_ros.data.robotcar.poses import body_orientation, read_pose_record
from saane_ros.errors import SaaneError
from saane_ros.geodesy import to_utm


@pytest.fixture(scope="module")
def lucia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lucia")
    write_session(root / "day", 14, start=0)
    write_session(root / "later", 6, start=60)
    (root / "lucia.yaml").write_text(
        "reader: st_lucia\nreference: day\nqueries: [later]\nframes: 1\nradius: 10\n"
    )
    return root


def test_st_lucia_takes_a_frame_a_second_and_finds_the_place(lucia: Path) -> None:
    (dataset,) = open_datasets(str(lucia / "lucia.yaml"))
    assert dataset.name == "lucia/later"
    assert dataset.group == "lucia"
    assert len(dataset.references) == 14
    assert len(dataset.queries) == 6
    assert dataset.queries.names[:2] == ("frame-000000", "frame-000015")
    # The query starts 60 frames, 4 seconds, further north than the reference.
    assert [rows.tolist() for rows in dataset.correct[:3]] == [[3, 4, 5], [4, 5, 6], [5, 6, 7]]


def test_st_lucia_frames_are_decoded_by_number_in_any_order(lucia: Path) -> None:
    (dataset,) = open_datasets(str(lucia / "lucia.yaml"))
    for index in (5, 0, 3, 3):
        assert abs(float(dataset.queries.read(index).mean()) - 15 * index) < 3


def test_st_lucia_positions_are_utm_metres_south_of_the_equator(lucia: Path) -> None:
    (dataset,) = open_datasets(str(lucia / "lucia.yaml"))
    assert dataset.reference_positions is not None
    steps = np.diff(dataset.reference_positions[2:12], axis=0)
    np.testing.assert_allclose(steps[:, 1], 15 * 1.1075, rtol=0.02)
    assert 6_950_000 < dataset.reference_positions[0, 1] < 6_960_000


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 5)), min_size=2, max_size=8))
def test_gps_is_linear_between_changes_of_value(runs: list[tuple[int, int]]) -> None:
    values = np.cumsum([step for _, step in runs]).astype(float)
    fixes = np.repeat(values, [length for length, _ in runs])
    track = interpolated(np.column_stack([fixes, -fixes]))
    starts = np.cumsum([0, *(length for length, _ in runs[:-1])])
    for k in range(len(fixes)):
        run = int(np.searchsorted(starts, k, side="right")) - 1
        if run + 1 < len(runs):
            share = (k - starts[run]) / (starts[run + 1] - starts[run])
            expected = values[run] + share * (values[run + 1] - values[run])
        else:
            expected = values[run]
        np.testing.assert_allclose(track[k], (expected, -expected), atol=1e-9)


def test_latitude_is_negated_and_a_broken_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "fGPS.txt"
    path.write_text("27.5,153.0\n27.6,153.1\n")
    assert read_gps(path).tolist() == [[-27.5, 153.0], [-27.6, 153.1]]
    path.write_text("27.5,153.0\nnothing\n")
    with pytest.raises(SaaneError, match="line 2"):
        read_gps(path)


def test_robotcar_pairs_two_traversals(tmp_path: Path) -> None:
    write_traversal(tmp_path / "2014-12-09-13-21-02", 8, 0.0)
    write_traversal(tmp_path / "2014-12-10-18-10-50", 4, 16.0)
    (tmp_path / "pair.yaml").write_text(
        'reader: robotcar\nreferences: "2014-12-09-13-21-02"\nqueries: "2014-12-10-18-10-50"\n'
        "frames: 1\nradius: 5\n"
    )
    (dataset,) = open_datasets(str(tmp_path / "pair.yaml"))
    assert len(dataset.references) == 8
    assert len(dataset.queries) == 4
    assert dataset.references.names[1] == f"{START_US + 1_000_000}.png"
    # Two seconds ahead at the start: 16 m at 8 m/s.
    assert [rows.tolist() for rows in dataset.correct] == [
        [1, 2, 3],
        [2, 3, 4],
        [3, 4, 5],
        [4, 5, 6],
    ]
    assert dataset.query_positions is not None
    np.testing.assert_allclose(dataset.query_positions[1], (620000.0, 5735024.0), atol=1e-6)
    assert dataset.references.read(0).shape == (8, 8, 3)


def test_a_half_copied_image_is_left_out_and_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_traversal(tmp_path / name, 5, 0.0)
    cut = tmp_path / "b" / "stereo" / "centre" / f"{START_US + 2_000_000}.png"
    cut.write_bytes(cut.read_bytes()[:-20])
    (tmp_path / "p.yaml").write_text("reader: robotcar\nreferences: a\nqueries: b\n")
    (dataset,) = open_datasets(str(tmp_path / "p.yaml"))
    assert (len(dataset.references), len(dataset.queries)) == (5, 4)
    assert "INS positions, 1 cut files left out" in dataset.protocol


def test_robotcar_lists_only_images_on_disk(tmp_path: Path) -> None:
    write_traversal(tmp_path, 2, 0.0)
    stamps = read_timestamps(tmp_path)
    assert len(stamps) == 32
    assert stamps[0] == START_US * 1000


def test_one_image_a_second_and_gaps_are_left_out() -> None:
    at = [0.0, 0.1, 0.9, 1.1, 2.02, 3.4, 4.0]
    stamps = [round(t * 1e9) for t in at]
    assert [round(s / 1e9, 2) for s in sampled(stamps, 1.0)] == [0.0, 0.9, 2.02, 4.0]
    assert sampled([5], 1.0) == [5]


def test_a_gbrg_mosaic_gives_its_colours_back(tmp_path: Path) -> None:
    colour = (200, 100, 40)
    raw = np.empty((16, 16), np.uint8)
    raw[0::2, 0::2], raw[0::2, 1::2] = colour[1], colour[2]  # g b
    raw[1::2, 0::2], raw[1::2, 1::2] = colour[0], colour[1]  # r g
    cv2.imwrite(str(tmp_path / "1.png"), raw)
    image = read_bayer(tmp_path / "1.png")
    np.testing.assert_array_equal(image[4:12, 4:12].reshape(-1, 3), [colour] * 64)


def test_a_colour_image_is_no_raw_image(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), smooth_scene(1, 8, 8))
    with pytest.raises(SaaneError, match="raw 8-bit Bayer"):
        read_bayer(tmp_path / "1.png")


def rotation(axis: int, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


@given(st.tuples(*[st.floats(-1.4, 1.4)] * 2), st.floats(-3.1, 3.1))
def test_attitude_is_that_of_rotation_matrices(tilt: tuple[float, float], yaw: float) -> None:
    roll, pitch = tilt
    ned = rotation(2, yaw) @ rotation(1, pitch) @ rotation(0, roll)
    enu_from_ned = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1.0]])
    expected = enu_from_ned @ ned @ np.diag([1.0, -1.0, -1.0])
    x, y, z, w = body_orientation(roll, pitch, yaw)
    matrix = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    np.testing.assert_allclose(matrix, expected, atol=1e-9)


def test_rtk_and_gps_tables(tmp_path: Path) -> None:
    (tmp_path / "rtk.csv").write_text(
        "timestamp,latitude,longitude,altitude,northing,easting,down,utm_zone,velocity_north,"
        "velocity_east,velocity_down,roll,pitch,yaw\n"
        "1000000,51,-1,100,10.0,20.0,-3.0,30U,0,0,0,0,0,1.5707963267948966\n"
        "2000000,51,-1,100,12.0,24.0,-3.0,30U,0,0,0,0,0,1.5707963267948966\n"
    )
    found = read_pose_record(tmp_path / "rtk.csv").track.at(1_500_000_000)
    assert found is not None
    np.testing.assert_allclose(found[0].position, (22.0, 11.0, 3.0))
    np.testing.assert_allclose(found[0].orientation, (0, 0, 0, 1), atol=1e-9)  # yaw 90: east
    (tmp_path / "gps.csv").write_text(
        "timestamp,num_satellites,latitude,longitude,altitude,latitude_sigma,longitude_sigma,"
        "altitude_sigma,northing,easting,down,utm_zone\n"
        "1000000,9,51,-1,100,1,1,1,0.0,0.0,0.0,30U\n2000000,9,51,-1,100,1,1,1,5.0,0.0,0.0,30U\n"
    )
    found = read_pose_record(tmp_path / "gps.csv").track.at(1_000_000_000)
    assert found is not None
    np.testing.assert_allclose(found[0].orientation, (0, 0, np.sqrt(0.5), np.sqrt(0.5)))


def test_a_drive_over_the_border_of_two_zones_goes_on_in_one(tmp_path: Path) -> None:
    rows = ["timestamp,latitude,longitude,altitude,northing,easting,down,utm_zone,roll,pitch,yaw"]
    for second in range(10):
        longitude = 0.0 + (second - 5.5) * 1e-4  # 7 m a second
        east, north, zone, band = to_utm(51.0, longitude)
        rows.append(f"{second}000000,51,{longitude!r},9,{north!r},{east!r},0,{zone}{band},0,0,0")
    (tmp_path / "rtk.csv").write_text("\n".join(rows))
    record = read_pose_record(tmp_path / "rtk.csv")
    assert (record.zone, record.rezoned, record.grid) == (30, 4, "utm_30N")
    assert "Pose rows of another UTM zone, taken over into 30: 4." in record.sentences()
    steps = np.linalg.norm(np.diff(record.track.positions, axis=0), axis=1)
    np.testing.assert_allclose(steps, 7.02, atol=0.02)
    assert record.track.faults.counts == {}


def test_drives_of_two_zones_are_not_compared(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_traversal(tmp_path / name, 3, 0.0)
    ins = tmp_path / "b" / "gps" / "ins.csv"
    ins.write_text(ins.read_text().replace("30U", "31U"))
    (tmp_path / "p.yaml").write_text("reader: robotcar\nreferences: a\nqueries: b\n")
    with pytest.raises(SaaneError, match=r"queries are of utm_31N, .* references of utm_30N"):
        open_datasets(str(tmp_path / "p.yaml"))


def test_an_outlier_of_a_pose_file_is_left_out_and_told(tmp_path: Path) -> None:
    write_traversal(tmp_path / "a", 3, 0.0)
    ins = tmp_path / "a" / "gps" / "ins.csv"
    lines = ins.read_text().splitlines()
    lines[60] = lines[60].replace("620000.0", "670000.0")
    ins.write_text("\n".join(lines))
    record = read_pose_record(ins)
    assert len(record.track.stamps_ns) == len(record.geographic) == 199
    assert record.track.travelled[-1] == pytest.approx(8 * 3.98)
    assert "1 outliers" in " ".join(record.sentences())


def test_a_lens_table_undistorts(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:6, 0:8].astype("<f8")
    np.concatenate([np.minimum(columns + 1, 7).ravel(), rows.ravel()]).astype("<f8").tofile(
        tmp_path / "stereo_narrow_left_distortion_lut.bin"
    )
    model = read_lens_table(tmp_path, size=(6, 8))
    image = smooth_scene(3, 6, 8)
    np.testing.assert_array_equal(model.undistort(image)[:, :7], image[:, 1:])
    with pytest.raises(SaaneError, match="8x7 images need 896"):
        read_lens_table(tmp_path, size=(7, 8))


def test_absent_drives_say_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(SaaneError, match=r"download the ten sessions .*webcam_video\.avi"):
        open_datasets("st_lucia", tmp_path)
    with pytest.raises(SaaneError, match="registration"):
        open_datasets("robotcar-am-pm", tmp_path)


def test_the_town_is_rendered_once_and_judged_along_the_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "town.yaml").write_text(
        "reader: town\nqueries: night\nlength: 24\nevery: 8\nmetres: 6\n"
    )
    (dataset,) = open_datasets(str(tmp_path / "town.yaml"))
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.png")}
    assert len(written) == len(dataset.queries) + len(dataset.references) == 6
    assert [rows.tolist() for rows in dataset.correct] == [[0], [1], [2]]
    assert dataset.queries.read(0).mean() < dataset.references.read(0).mean() - 20
    open_datasets(str(tmp_path / "town.yaml"))
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.png")}
    assert again == written


def test_only_evaluation_towns_are_allowed() -> None:
    with pytest.raises(SaaneError, match="not kept for evaluation"):
        Town(queries="night", seed=1000)
