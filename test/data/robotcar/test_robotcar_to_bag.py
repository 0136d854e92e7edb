"""Traversals in the official layout as bags, held against an independent reader and the truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from robotcar_world import EXTRINSICS, PINHOLE, World, bent, messages, write_sdk, write_world

from saane_ros.data.robotcar.images import list_images
from saane_ros.data.robotcar.lens import read_lens_table
from saane_ros.data.robotcar.to_bag import Conversion, convert
from saane_ros.geodesy import to_utm
from saane_ros.simulation import robotcar_layout as layout

IMAGES = "/stereo/centre/image_raw"
OXFORD = np.array([620_000.0, 5_735_000.0, 110.0])


def stamp_ns(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def rotation_of(q) -> np.ndarray:
    x, y, z, w = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def angle_deg(a, b) -> float:
    """Angle between two turns, by their matrices (an arc cosine loses the small angles)."""
    difference = rotation_of(a).T @ rotation_of(b)
    sine = np.linalg.norm(difference - difference.T) / np.sqrt(8)
    return float(np.degrees(np.arctan2(sine, (np.trace(difference) - 1) / 2)))


def test_every_message_is_what_the_files_say(world: World, tmp_path: Path) -> None:
    root = world.traversal.parent
    options = Conversion(jpeg_quality=None, models=root / "models", extrinsics=root / "extrinsics")
    report = convert(world.traversal, tmp_path / "bag", options)
    assert (report.frames, report.without_pose, report.unusable) == (len(world.stamps), 0, [])
    found = messages(tmp_path / "bag")
    count = len(world.stamps)
    assert {topic: len(rows) for topic, rows in found.items()} == {
        IMAGES: count,
        "/stereo/centre/camera_info": count,
        "/ground_truth/odometry": count,
        "/gps/fix": count,
        "/ground_truth/origin": 1,
        "/tf_static": 1,
    }
    for topic, rows in found.items():
        if topic == "/tf_static":
            continue
        stamps = world.stamps[: len(rows)]
        assert [row.log_time_ns for row in rows] == stamps, topic
        assert [stamp_ns(row.ros_msg) for row in rows] == stamps, topic

    for row, image in zip(found[IMAGES], world.images, strict=True):
        message = row.ros_msg
        assert (message.height, message.width, message.encoding) == (120, 160, "rgb8")
        assert message.header.frame_id == "stereo_centre"
        pixels = np.frombuffer(bytes(message.data), np.uint8).reshape(120, 160, 3)
        raw = layout.mosaic(image)
        # A pixel of a colour filter keeps the value that the sensor has.
        np.testing.assert_array_equal(pixels[2:-2:2, 2:-2:2, 1], raw[2:-2:2, 2:-2:2])
        np.testing.assert_array_equal(pixels[2:-2:2, 3:-2:2, 2], raw[2:-2:2, 3:-2:2])
        np.testing.assert_array_equal(pixels[3:-2:2, 2:-2:2, 0], raw[3:-2:2, 2:-2:2])
        assert np.abs(pixels.astype(int) - image).mean() < 3

    info = found["/stereo/centre/camera_info"][0].ros_msg
    fx, fy, cx, cy = PINHOLE
    assert list(info.k) == [fx, 0, cx, 0, fy, cy, 0, 0, 1]
    assert (info.width, info.height, info.distortion_model, list(info.d)) == (160, 120, "", [])

    origin = found["/ground_truth/origin"][0].ros_msg
    east, north, zone, _ = to_utm(origin.latitude, origin.longitude)
    np.testing.assert_allclose([east, north, origin.altitude], OXFORD, atol=1e-4)
    assert (zone, origin.header.frame_id) == (30, "utm_30N")


def test_poses_are_those_of_the_town(world: World, tmp_path: Path) -> None:
    convert(world.traversal, tmp_path / "bag", Conversion())
    found = messages(tmp_path / "bag")
    zero = np.array(layout.ZERO) - OXFORD
    worst_m, worst_deg = 0.0, 0.0
    for row, fix, truth in zip(
        found["/ground_truth/odometry"], found["/gps/fix"], world.poses, strict=True
    ):
        pose, position = row.ros_msg.pose.pose, row.ros_msg.pose.pose.position
        at = np.array([position.x, position.y, position.z])
        worst_m = max(worst_m, float(np.linalg.norm(at - zero - truth.position)))
        q = pose.orientation
        worst_deg = max(worst_deg, angle_deg((q.x, q.y, q.z, q.w), truth.orientation))
        east, north, *_ = to_utm(fix.ros_msg.latitude, fix.ros_msg.longitude)
        np.testing.assert_allclose([east, north, fix.ros_msg.altitude], at + OXFORD, atol=2e-3)
    print(f"worst error {1e3 * worst_m:.4f} mm, {worst_deg:.6f} degrees")
    assert worst_m < 1e-3
    assert worst_deg < 0.01
    rows = found["/ground_truth/odometry"]
    assert (rows[0].ros_msg.header.frame_id, rows[0].ros_msg.child_frame_id) == ("map", "base_link")
    middle = len(rows) // 2
    step = (world.stamps[middle + 1] - world.stamps[middle - 1]) / 1e9
    moved = np.subtract(world.poses[middle + 1].position, world.poses[middle - 1].position)
    linear = rows[middle].ros_msg.twist.twist.linear
    assert linear.x == pytest.approx(np.linalg.norm(moved) / step, rel=0.02)
    assert abs(linear.y) < 0.5


def test_static_transform_of_the_camera(world: World, tmp_path: Path) -> None:
    root = world.traversal.parent
    options = Conversion(every_seconds=1, models=root / "models", extrinsics=root / "extrinsics")
    convert(world.traversal, tmp_path / "bag", options)
    (row,) = messages(tmp_path / "bag")["/tf_static"]
    (transform,) = row.ros_msg.transforms
    assert (transform.header.frame_id, transform.child_frame_id) == ("base_link", "stereo_centre")
    # By hand: a point of the vehicle is R_ins p + t_ins, and the stereo camera is the vehicle.
    x, y, z, roll, pitch, yaw = map(float, EXTRINSICS["ins"].split())
    turn = cv2.Rodrigues(np.array([0, 0, yaw]))[0] @ cv2.Rodrigues(np.array([0, pitch, 0.0]))[0]
    turn = turn @ cv2.Rodrigues(np.array([roll, 0.0, 0.0]))[0]
    flip = np.diag([1.0, -1.0, -1.0])
    camera_in_ins = -turn.T @ np.array([x, y, z])
    t = transform.transform.translation
    np.testing.assert_allclose([t.x, t.y, t.z], flip @ camera_in_ins, atol=1e-12)
    q = transform.transform.rotation
    forward = rotation_of((q.x, q.y, q.z, q.w)) @ [0, 0, 1]
    np.testing.assert_allclose(forward, flip @ turn.T @ [1, 0, 0], atol=1e-12)
    metadata = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())
    topics = metadata["rosbag2_bagfile_information"]["topics_with_message_count"]
    qos = {t["topic_metadata"]["name"]: t["topic_metadata"]["offered_qos_profiles"] for t in topics}
    assert yaml.safe_load(qos["/tf_static"])[0]["durability"] == 1  # transient local
    assert not yaml.safe_load(qos["/gps/fix"] or "[]")


def test_full_size_frames_in_zstd_chunks(tmp_path: Path) -> None:
    from mcap.reader import make_reader

    world = write_world(tmp_path / "drive", seconds=0.35, size=(960, 1280))
    convert(world.traversal, tmp_path / "bag", Conversion(jpeg_quality=95))
    with (tmp_path / "bag" / "bag.mcap").open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert {chunk.compression for chunk in summary.chunk_indexes} == {"zstd"}
    for row, image in zip(
        messages(tmp_path / "bag")[IMAGES + "/compressed"], world.images, strict=True
    ):
        assert "jpeg" in row.ros_msg.format
        shown = cv2.imdecode(np.frombuffer(bytes(row.ros_msg.data), np.uint8), cv2.IMREAD_COLOR)
        assert shown.shape == (960, 1280, 3)
        assert np.abs(shown[..., ::-1].astype(int) - image).mean() < 2


def test_undistortion_is_that_of_the_lens(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:120, 0:160].astype(float)

    def scene(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        waves = [128 + 100 * np.sin(u / 9 + p) * np.cos(v / 7 - p) for p in (0.0, 1.0, 2.0)]
        return np.stack(waves, axis=-1)

    # The lens shows at the bent place what the pinhole shows at (u, v): invert by iteration.
    u, v = columns.copy(), rows.copy()
    for _ in range(50):
        bu, bv = bent(u, v, 0.15)
        u, v = u + columns - bu, v + rows - bv
    raw = np.clip(np.round(scene(u, v)), 0, 255).astype(np.uint8)
    write_sdk(tmp_path, bend=0.15)
    seen = read_lens_table(tmp_path / "models", size=(120, 160)).undistort(raw)
    error = np.abs(seen.astype(float) - scene(columns, rows))[4:-4, 4:-4]
    unbent = np.abs(raw.astype(float) - scene(columns, rows))[4:-4, 4:-4]
    print(f"mean error {error.mean():.3f} grey levels, without undistortion {unbent.mean():.1f}")
    assert error.mean() < 0.5
    assert unbent.mean() > 5


def test_undistorted_bags_say_so(world: World, tmp_path: Path) -> None:
    models = world.traversal.parent / "models"
    options = Conversion(every_seconds=1, undistort=True, jpeg_quality=None, models=models)
    convert(world.traversal, tmp_path / "bag", options)
    convert(world.traversal, tmp_path / "plain", Conversion(every_seconds=1, jpeg_quality=None))
    found = messages(tmp_path / "bag")
    info = found["/stereo/centre/camera_info"][0].ros_msg
    assert (info.distortion_model, list(info.d)) == ("plumb_bob", [0.0] * 5)
    shown = found["/stereo/centre/image_rect"][0].ros_msg
    plain = messages(tmp_path / "plain")[IMAGES][0].ros_msg
    table = read_lens_table(models, size=(120, 160))
    expected = table.undistort(np.frombuffer(bytes(plain.data), np.uint8).reshape(120, 160, 3))
    np.testing.assert_array_equal(np.frombuffer(bytes(shown.data), np.uint8), expected.ravel())


def test_a_second_step_and_a_distance_step(world: World, tmp_path: Path) -> None:
    convert(world.traversal, tmp_path / "s", Conversion(every_seconds=1))
    taken = [row.log_time_ns for row in messages(tmp_path / "s")[IMAGES + "/compressed"]]
    naive = [
        min(world.stamps, key=lambda s: abs(s - world.stamps[0] - k * 10**9)) for k in range(3)
    ]
    assert taken == naive
    convert(world.traversal, tmp_path / "m", Conversion(every_metres=3))
    taken = [row.log_time_ns for row in messages(tmp_path / "m")[IMAGES + "/compressed"]]
    positions = np.array([pose.position for pose in world.poses])
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(positions, axis=0), axis=1))])
    expected, last = [], -np.inf
    for stamp, metres in zip(world.stamps, along, strict=True):
        if metres - last >= 3 - 1e-3:
            expected.append(stamp)
            last = metres
    assert len(expected) > 3
    assert taken == expected


@settings(max_examples=30)
@given(
    listed=st.lists(st.integers(1, 10**7), max_size=12),
    on_disk=st.sets(st.integers(1, 10**7), max_size=12),
)
def test_listing_counts_every_kind(
    tmp_path_factory: pytest.TempPathFactory, listed: list[int], on_disk: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("listing")
    both = set(listed[::2]) | on_disk
    (folder / "stereo/centre").mkdir(parents=True)
    for microseconds in both:
        (folder / f"stereo/centre/{microseconds}.png").touch()
    (folder / "stereo.timestamps").write_text("".join(f"{t} 1\n" for t in listed) + "x y\n\n")
    found = list_images(folder)
    assert found.stamps_ns == sorted(1000 * t for t in set(listed) & both)
    assert found.missing == len(set(listed) - both)
    assert found.unlisted == len(both - set(listed))
    assert found.unreadable == 1
    assert found.backwards == sum(listed[i] < listed[i - 1] for i in range(1, len(listed)))
    (folder / "stereo.timestamps").unlink()
    assert list_images(folder).stamps_ns == sorted(1000 * t for t in both)
