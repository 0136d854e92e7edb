"""TUM, KITTI and CSV pose files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.data.poses.files import PoseTable, parse_stamp, read_poses
from saane_ros.errors import SaaneError
from saane_ros.geodesy import from_enu

KITTI = Path(__file__).resolve().parents[2].parent / "shared/data/kitti_drive/poses.txt"


def read(folder: Path, text: str) -> PoseTable:
    path = folder / "poses.txt"
    path.write_text(text, encoding="utf-8")
    return read_poses(path)


def test_tum(tmp_path: Path) -> None:
    table = read(
        tmp_path, "# t x y z qx qy qz qw\n1305031102.175304 1 2 3 0 0 0.6 0.8\n2 0 0 0 0 0 0 2\n"
    )
    assert table.stamps_ns == [1_305_031_102_175_304_000, 2_000_000_000]
    assert table.poses[0].position == (1.0, 2.0, 3.0)
    assert table.poses[0].orientation == pytest.approx((0, 0, 0.6, 0.8))
    assert table.poses[1].orientation == (0.0, 0.0, 0.0, 1.0)
    assert table.names is None


def matrix_of(q: tuple[float, ...]) -> np.ndarray:
    x, y, z, w = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@given(st.tuples(*[st.floats(-1, 1)] * 4), st.tuples(*[st.floats(-1e4, 1e4)] * 3))
def test_kitti_turns_cameras_into_bodies(
    tmp_path_factory: pytest.TempPathFactory,
    turn: tuple[float, ...],
    place: tuple[float, ...],
) -> None:
    norm = math.hypot(*turn)
    if norm < 0.1:
        return
    camera = matrix_of(tuple(value / norm for value in turn))
    rows = np.column_stack((camera, place))
    folder = tmp_path_factory.mktemp("kitti")
    text = "\n".join(" ".join(repr(float(v)) for v in rows.ravel()) for _ in range(2))
    pose = read(folder, text).poses[1]
    # x forward is z of the camera, y left is -x, z up is -y: of positions and of directions.
    assert pose.position == pytest.approx((place[2], -place[0], -place[1]))
    body = matrix_of(pose.orientation)
    for axis, camera_axis in ((0, (0, 0, 1)), (1, (-1, 0, 0)), (2, (0, -1, 0))):
        direction = camera @ np.array(camera_axis)
        np.testing.assert_allclose(
            body[:, axis], (direction[2], -direction[0], -direction[1]), atol=1e-9
        )


@pytest.mark.skipif(not KITTI.is_file(), reason="shared data are not beside the repository")
def test_a_real_kitti_drive_goes_forward() -> None:
    table = read_poses(KITTI)
    assert len(table.poses) == 51
    assert table.poses[0].position == pytest.approx((0, 0, 0), abs=1e-9)
    assert table.poses[-1].position == pytest.approx((59.83857, 0.981436, 1.190278), abs=1e-5)
    # The body's x points where the vehicle goes.
    step = np.subtract(table.poses[-1].position, table.poses[-2].position)
    forward = matrix_of(table.poses[-1].orientation)[:, 0]
    assert forward @ step / np.linalg.norm(step) > 0.999


def test_csv_with_names_positions_and_yaw(tmp_path: Path) -> None:
    table = read(tmp_path, 'name,x,y,yaw\n"a, b.jpg",1,2,1.5707963267948966\nc.jpg,3,4,0\n')
    assert table.names == ["a, b.jpg", "c.jpg"]
    assert table.stamps_ns is None
    assert table.poses[0].position == (1.0, 2.0, 0.0)
    assert table.poses[0].orientation == pytest.approx((0, 0, math.sqrt(0.5), math.sqrt(0.5)))


def test_csv_with_stamps_and_quaternions_in_any_order(tmp_path: Path) -> None:
    table = read(tmp_path, "qw,qx,qy,qz,z,y,x,stamp_ns\n0,1,0,0,3,2,1,123456789012345678\n")
    assert table.stamps_ns == [123_456_789_012_345_678]
    assert table.poses[0].position == (1.0, 2.0, 3.0)
    assert table.poses[0].orientation == (1.0, 0.0, 0.0, 0.0)


def test_csv_with_geographic_positions(tmp_path: Path) -> None:
    origin = (52.2, 0.1, 30.0)
    metres = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0], [10.0, 20.0, 1.0]])
    degrees = from_enu(metres, origin)
    lines = [f"{i}.5,{a!r},{b!r},{c!r}" for i, (a, b, c) in enumerate(degrees.tolist())]
    table = read(tmp_path, "\n".join(["stamp,lat,lon,alt", *lines]))
    assert table.origin == pytest.approx(origin)
    np.testing.assert_allclose([pose.position for pose in table.poses], metres, atol=1e-6)
    yaws = [2 * math.atan2(pose.orientation[2], pose.orientation[3]) for pose in table.poses]
    assert yaws == pytest.approx([0.0, math.pi / 2, math.pi / 2], abs=1e-6)
    given_origin = read_poses(tmp_path / "poses.txt", (52.2, 0.1, 0.0))
    assert given_origin.poses[0].position == pytest.approx((0, 0, 30), abs=1e-6)


def test_values_that_are_not_finite_are_passed_on(tmp_path: Path) -> None:
    table = read(tmp_path, "name,lat,lon\na,nan,0\nb,1,2\nc,1,2.001\n")
    assert math.isnan(table.poses[0].position[0])
    assert table.origin == (1.0, 2.0, 0.0)
    assert table.poses[1].position == pytest.approx((0, 0, 0), abs=1e-6)
    assert table.poses[1].orientation == pytest.approx((0, 0, 0, 1), abs=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# nothing\n\n", "is empty"),
        ("1 2 3\n", "has 3 numbers in its first line"),
        ("1 0 0 0 0 0 0 1\n1 2 x 0 0 0 0 1\n", "'x' as y in line 2"),
        ("1 0 0 0 0 0 0 1\n1 2 3\n", "3 columns where the header has 8 in line 2"),
        ("1 0 0 0 0 0 0 0\n", "a zero quaternion in line 1"),
        ("nan 0 0 0 0 0 0 1\n", "'nan' as stamp in line 1"),
        ("name,x,y\n", "has no rows"),
        ("x,y\n1,2\n", "neither name nor stamp"),
        ("name,a,b\nq,1,2\n", "needs x and y, or lat and lon"),
        ("name,x,y\nq,1\n", "2 columns where the header has 3 in line 2"),
        ("name,x,y\nq,1,east\n", "'east' as y in line 2"),
        ("stamp,x,y\nnoon,1,2\n", "'noon' as stamp in line 2"),
        ("name,lat,lon\nq,nan,nan\n", "no finite position"),
    ],
)
def test_wrong_files_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SaaneError, match=message):
        read(tmp_path, text)


def test_files_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SaaneError, match="no text in UTF-8"):
        read_poses(tmp_path / "p")
    with pytest.raises(SaaneError, match="cannot be read"):
        read_poses(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1305031102.175304", 1_305_031_102_175_304_000),
        ("1418133736", 1_418_133_736_000_000_000),
        ("1418133736858", 1_418_133_736_858_000_000),
        ("1418133736858120", 1_418_133_736_858_120_000),
        ("1418133736858120123", 1_418_133_736_858_120_123),
        ("-0.5", -500_000_000),
        ("1e3", 1_000_000_000_000),
        ("inf", None),
        ("1e30", None),
        ("noon", None),
    ],
)
def test_stamps_by_their_digits(text: str, expected: int | None) -> None:
    assert parse_stamp(text) == expected


@given(st.integers(0, 2**61))
def test_stamps_in_seconds_keep_every_nanosecond(stamp: int) -> None:
    assert parse_stamp(f"{stamp // 10**9}.{stamp % 10**9:09d}") == stamp


TURN = (0.1, 0.2, 0.3, math.sqrt(1 - 0.14))  # x y z w


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("#timestamp [ns],p_x [m],p_y [m],p_z [m],q_w [],q_x [],q_y [],q_z []", "sxyzWXYZ"),
        ("# timestamp tx ty tz qx qy qz qw", "s x y z X Y Z W"),
        ("# made by a tool\n# stamp_ns qw qx qy qz x y z", "s W X Y Z x y z"),
        ("#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], "
         "q_RS_z [], v_RS_R_x [m s^-1]", "sxyzWXYZ0"),
        ("Time;Position.X;Position.Y;Position.Z;Orientation.X;Orientation.Y;Orientation.Z;"
         "Orientation.W", "s;x;y;z;X;Y;Z;W"),
        ("", "sxyzWXYZ000000000"),  # EuRoC's 17 columns without their header
    ],
)  # fmt: skip
def test_a_header_tells_the_order_of_the_columns(tmp_path: Path, header: str, row: str) -> None:
    values = dict(zip("sxyzXYZW0", ("1700000000123456789", "1", "2", "3"), strict=False))
    values |= {name: f"{value:.17g}" for name, value in zip("XYZW", TURN, strict=True)} | {"0": "0"}
    mark = next((mark for mark in " ;" if mark in row), ",")
    line = mark.join(values[name] for name in row.replace(mark, ""))
    table = read(tmp_path, f"{header}\n{line}\n")
    assert table.stamps_ns == [1_700_000_000_123_456_789]
    assert table.poses[0].position == (1.0, 2.0, 3.0)
    assert table.poses[0].orientation == pytest.approx(TURN)


@given(st.tuples(*[st.floats(-1, 1)] * 4), st.tuples(*[st.floats(-1e3, 1e3)] * 3))
def test_hloc_and_colmap_are_the_world_in_the_camera(
    tmp_path_factory: pytest.TempPathFactory, turn: tuple[float, ...], place: tuple[float, ...]
) -> None:
    norm = math.hypot(*turn)
    if norm < 0.1 or abs(math.hypot(*place, turn[3]) - 1) < 0.1:
        return
    x, y, z, w = (value / norm for value in turn)
    camera = matrix_of((x, y, z, w))  # of the world, its columns the camera's axes
    shift = -camera.T @ place
    numbers = " ".join(repr(float(v)) for v in (w, -x, -y, -z, *shift))  # the inverse turn
    folder = tmp_path_factory.mktemp("sfm")
    colmap = (
        "# Image list with two lines of data per image:\n"
        "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME\n"
        "#   POINTS2D[] as (X, Y, POINT3D_ID)\n# Number of images: 2, mean observations: 1\n"
        f"7 {numbers} 1 a b.jpg\n1.5 2.5 -1 3.5 4.5 12 5.5 6.5 3 7.5 8.5 4\n"
        "8 1 0 0 0 9 9 9 1 c.jpg\n\n"
    )
    for text, name in ((f"a.jpg {numbers}\nc.jpg 1 0 0 0 9 9 9\n", "a.jpg"), (colmap, "a b.jpg")):
        table = read(folder, text)
        assert table.names == [name, "c.jpg"]
        assert table.poses[0].position == pytest.approx(place, abs=1e-6)
        body = matrix_of(table.poses[0].orientation)
        for axis, seen in ((0, camera[:, 2]), (1, -camera[:, 0]), (2, -camera[:, 1])):
            np.testing.assert_allclose(body[:, axis], seen, atol=1e-6)


def test_seven_numbers_behind_a_name_are_told_apart_by_the_quaternion(tmp_path: Path) -> None:
    last = read(tmp_path, "a.jpg 5 6 7 0 0 0.6 0.8\nb.jpg 1 0 0 0 0 0 1\n")
    assert last.poses[0].position == (5.0, 6.0, 7.0)
    assert last.poses[0].orientation == pytest.approx((0, 0, 0.6, 0.8))
    with pytest.raises(SaaneError, match="name qw qx qy qz tx ty tz"):
        read(tmp_path, "b.jpg 1 0 0 0 0 0 1\n")


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("filename,latitude,longitude", ("a.jpg", "48", "11")),
        ("#name,x,y,yaw", ("a.jpg", "0", "0", "0")),
        ("image_name\teasting\tnorthing", ("a.jpg", "0", "0")),
    ],
)
def test_other_names_of_the_columns(tmp_path: Path, header: str, columns: tuple[str, ...]) -> None:
    mark = "\t" if "\t" in header else ","
    table = read(tmp_path, f"{header}\n{mark.join(columns)}\n")
    assert table.names == ["a.jpg"]
    assert table.poses[0].position == pytest.approx((0, 0, 0), abs=1e-9)
    assert (table.origin is not None) == ("latitude" in header)


def test_two_columns_for_one_value_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SaaneError, match="more than one column for x"):
        read(tmp_path, "name,x,tx,y\na,1,2,3\n")


@pytest.mark.parametrize(
    ("header", "cells", "yaw"),
    [
        ("name,x,y,yaw_deg", "a,1,2,90", math.pi / 2),
        ("name,x,y,yaw [deg]", "a,1,2,-30", -math.pi / 6),
        ("name,x,y,yaw(\u00b0)", "a,1,2,270", -math.pi / 2),
        ("name,x,y,yaw_rad", "a,1,2,12.5", 12.5 - 4 * math.pi),
        ("name,x_mm,y [cm],yaw", "a,1000,200,0.5", 0.5),
        ("name,lat,lon,heading", "a,48,9,0", math.pi / 2),
        ("name,lat,lon,heading_deg", "a,48,9,90", 0.0),
        ("name,lat,lon,course [rad]", "a,48,9,1", math.pi / 2 - 1),
    ],
)
def test_units_of_a_header_are_kept(tmp_path: Path, header: str, cells: str, yaw: float) -> None:
    (pose,) = read(tmp_path, f"{header}\n{cells}\n").poses
    assert math.remainder(yaw_of(pose.orientation) - yaw, 2 * math.pi) == pytest.approx(0, abs=1e-9)
    expected = (0.0, 0.0, 0.0) if "lat" in header else (1.0, 2.0, 0.0)
    assert pose.position == pytest.approx(expected, abs=1e-9)


def yaw_of(quaternion: tuple[float, ...]) -> float:
    return 2 * math.atan2(quaternion[2], quaternion[3])


@pytest.mark.parametrize(
    ("header", "cells", "told"),
    [
        ("name,x,y,heading_deg", "a,1,2,90", "give yaw or yaw_deg"),
        ("name,x,y,yaw", "a,1,2,90", "yaw of 90, which is no radians"),
        ("name,lat [rad],lon [rad]", "a,0.8,0.1", "unit that lat is not read in"),
    ],
)
def test_what_may_be_another_unit_is_refused(
    tmp_path: Path, header: str, cells: str, told: str
) -> None:
    with pytest.raises(SaaneError, match=told):
        read(tmp_path, f"{header}\n{cells}\n")


@pytest.mark.parametrize(
    ("header", "stamp"),
    [("time_ms", "1500.25"), ("timestamp [us]", "1500250"), ("stamp_ns", "1500250000")],
)
def test_stamps_of_other_units(tmp_path: Path, header: str, stamp: str) -> None:
    assert read(tmp_path, f"{header},x,y\n{stamp},1,2\n").stamps_ns == [1_500_250_000]
