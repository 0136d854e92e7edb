"""Bags written and read back, by this package and by an independent reader; broken bags."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from scenes import smooth_scene

from saane_ros.data.bags import BagReader, BagWriter
from saane_ros.data.bags.reader import message_types
from saane_ros.errors import SaaneError
from saane_ros.types import Pose

START = 1_700_000_000_000_000_000
STEP = 100_000_000
IMAGE, JPEG = "/camera/image", "/camera/image/compressed"
ODOMETRY, FIX, POSES = "/odom", "/fix", "/pose"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def write_drive(path: Path, frames: int = 12) -> list[np.ndarray]:
    """A drive east at 10 m/s: images every 0.1 s, odometry and poses halfway between them."""
    images = [smooth_scene(seed, 48, 64) for seed in range(frames)]
    with BagWriter(path) as bag:
        for number, image in enumerate(images):
            stamp = START + number * STEP
            x = float(number)
            bag.write_odometry(ODOMETRY, stamp - STEP // 2, Pose((x - 0.5, 2.0, 0.0)))
            bag.write_pose(POSES, stamp - STEP // 2, Pose((x - 0.5, 2.0, 0.0)))
            bag.write_image(IMAGE, image, stamp)
            bag.write_image(JPEG, image, stamp, jpeg_quality=95)
            bag.write_fix(FIX, stamp, 48.0, 11.0 + number * 1e-5, 500.0)
    return images


def to_sqlite(bag: Path, path: Path) -> None:
    with (
        Reader(bag) as reader,
        Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3) as out,
    ):
        made = {
            c.id: out.add_connection(c.topic, c.msgtype, typestore=message_types())
            for c in reader.connections
        }
        for connection, stamp, data in reader.messages():
            out.write(made[connection.id], stamp, data)


@pytest.fixture
def drive(tmp_path):
    return tmp_path / "drive", write_drive(tmp_path / "drive")


def test_images_and_topics_come_back(drive):
    path, images = drive
    with BagReader(path) as bag:
        assert {name: info.count for name, info in bag.topics().items()} == dict.fromkeys(
            (IMAGE, JPEG, ODOMETRY, FIX, POSES), 12
        )
        frames = list(bag.frames(IMAGE))
        compressed = list(bag.frames(JPEG))
    assert [frame.stamp_ns for frame in frames] == [START + n * STEP for n in range(12)]
    assert len({frame.name for frame in frames}) == 12
    assert frames[0].pose is None
    assert frames[0].travelled is None
    for frame, lossy, image in zip(frames, compressed, images, strict=True):
        np.testing.assert_array_equal(frame.image, image)
        assert np.abs(lossy.image.astype(int) - image).mean() < 4


def test_one_file_and_sqlite_hold_the_same(drive, tmp_path):
    path, _ = drive
    to_sqlite(path, tmp_path / "lite")
    expected = list(BagReader(path).frames(IMAGE, ODOMETRY))
    for other in (path / "drive.mcap", tmp_path / "lite", tmp_path / "lite" / "lite.db3"):
        with BagReader(other) as bag:
            frames = list(bag.frames(IMAGE, ODOMETRY))
        assert [(f.stamp_ns, f.pose, f.travelled) for f in frames] == [
            (f.stamp_ns, f.pose, f.travelled) for f in expected
        ]
        assert all((f.image == e.image).all() for f, e in zip(frames, expected, strict=True))


@pytest.mark.parametrize("topic", [ODOMETRY, POSES])
def test_poses_lie_between_the_messages(drive, topic):
    with BagReader(drive[0]) as bag:
        frames = list(bag.frames(IMAGE, topic))
        report = bag.report
    assert frames[-1].pose is None
    assert report.without_pose == 1
    for number, frame in enumerate(frames[:-1]):
        np.testing.assert_allclose(frame.pose.position, (number, 2, 0), atol=1e-9)
        assert frame.travelled == pytest.approx(number + 0.5)


def test_fixes_become_metres_with_a_heading(drive):
    with BagReader(drive[0]) as bag:
        frames = list(bag.frames(IMAGE, FIX))
        assert bag.origin == (48.0, 11.0, 500.0)
    radius = 6378137.0 / np.sqrt(1 - 0.00669437999 * np.sin(np.radians(48)) ** 2)
    step = np.radians(1e-5) * (radius + 500) * np.cos(np.radians(48))
    for number, frame in enumerate(frames):
        np.testing.assert_allclose(frame.pose.position, (number * step, 0, 0), atol=1e-3)
        np.testing.assert_allclose(np.abs(frame.pose.orientation), (0, 0, 0, 1), atol=1e-3)


def test_frames_are_taken_by_distance_and_by_time(drive):
    with BagReader(drive[0]) as bag:
        by_metres = [f.travelled for f in bag.frames(IMAGE, ODOMETRY, every_metres=3.0)]
        by_seconds = [f.stamp_ns for f in bag.frames(IMAGE, every_seconds=0.4)]
        assert by_metres == pytest.approx([0.5, 3.5, 6.5, 9.5])
        assert by_seconds == [START, START + 4 * STEP, START + 8 * STEP]
        with pytest.raises(SaaneError, match="need a pose"):
            list(bag.frames(IMAGE, every_metres=3.0))


def test_an_independent_reader_reads_the_same(drive):
    reason = "mcap-ros2-support is not installed"
    reader_module = pytest.importorskip("mcap_ros2.reader", reason=reason)
    path, images = drive
    seen = list(reader_module.read_ros2_messages(str(path / "drive.mcap")))
    pictures = [m.ros_msg for m in seen if m.channel.topic == IMAGE]
    assert [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in pictures] == [
        START + n * STEP for n in range(12)
    ]
    for message, image in zip(pictures, images, strict=True):
        assert (message.encoding, message.step, message.header.frame_id) == ("rgb8", 192, "camera")
        assert bytes(message.data) == image.tobytes()
    odometry = [m.ros_msg for m in seen if m.channel.topic == ODOMETRY]
    assert [m.pose.pose.position.x for m in odometry] == [n - 0.5 for n in range(12)]
    fixes = [m.ros_msg for m in seen if m.channel.topic == FIX]
    assert fixes[3].longitude == pytest.approx(11.00003)


def test_camera_info_is_written_with_the_image_size(tmp_path):
    matrix = [[300.0, 0, 160], [0, 310.0, 120], [0, 0, 1]]
    with BagWriter(tmp_path / "bag") as bag:
        bag.write_camera_info("/info", START, (320, 240), matrix)
    with BagReader(tmp_path / "bag") as bag:
        (raw,) = bag.messages(["/info"])
    message = message_types().deserialize_cdr(raw.data, raw.type)
    assert (message.width, message.height, message.distortion_model) == (320, 240, "plumb_bob")
    np.testing.assert_array_equal(message.k.reshape(3, 3), matrix)
    np.testing.assert_array_equal(message.p.reshape(3, 4)[:, :3], matrix)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_mcap_gives_its_beginning(tmp_path, share):
    write_drive(tmp_path / "drive", frames=400)
    file = tmp_path / "drive" / "drive.mcap"
    whole = list(BagReader(file).frames(IMAGE, ODOMETRY))
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with BagReader(tmp_path / "drive") as bag:
        frames = list(bag.frames(IMAGE, ODOMETRY))
        assert bag.topics()[IMAGE].count == len(frames)
        assert any("not closed properly" in note for note in bag.notes)
        assert any("left out" in note for note in bag.notes)
    assert 0.1 * len(whole) < len(frames) < len(whole)
    for frame, expected in zip(frames, whole, strict=False):
        assert frame.stamp_ns == expected.stamp_ns
        assert (frame.image == expected.image).all()


def test_a_cut_sqlite_bag_gives_its_beginning(tmp_path):
    write_drive(tmp_path / "drive", frames=60)
    to_sqlite(tmp_path / "drive", tmp_path / "lite")
    file = tmp_path / "lite" / "lite.db3"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with BagReader(tmp_path / "lite") as bag:
        frames = list(bag.frames(IMAGE))
        notes = bag.notes
    assert 10 < len(frames) < 60
    assert [frame.stamp_ns for frame in frames] == [START + n * STEP for n in range(len(frames))]
    assert any("cut or damaged" in note for note in notes)


def test_a_bag_without_metadata_is_read_from_its_files(drive):
    path, _ = drive
    (path / "metadata.yaml").unlink()
    with BagReader(path) as bag:
        assert len(list(bag.frames(IMAGE))) == 12
        assert "not closed properly" in bag.notes[0]


def test_a_damaged_chunk_costs_itself_alone(tmp_path):
    write_drive(tmp_path / "drive", frames=400)
    file = tmp_path / "drive" / "drive.mcap"
    data = bytearray(file.read_bytes())
    chunk = data.index(ZSTD_MAGIC, len(data) // 2)
    data[chunk : chunk + 4] = bytes(4)
    file.write_bytes(data)
    with BagReader(file) as bag:
        frames = list(bag.frames(IMAGE))
        assert 200 < len(frames) < 400
        assert frames[-1].stamp_ns == START + 399 * STEP
        assert "damaged" in bag.notes[0]


def test_unreadable_images_and_poses_are_counted_and_named(tmp_path):
    types = message_types()
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(6):
            stamp = START + number * STEP
            x = float("nan") if number == 2 else float(number)
            bag.write_odometry(ODOMETRY, stamp, Pose((x, 0.0, 0.0)))
            bag.write_image(IMAGE, smooth_scene(number, 24, 32), stamp)
            bag.write_image(JPEG, smooth_scene(number, 24, 32), stamp, jpeg_quality=90)
    broken = tmp_path / "broken"
    with (
        Reader(tmp_path / "bag") as reader,
        Writer(broken, version=8, storage_plugin=StoragePlugin.MCAP) as out,
    ):
        made = {
            c.id: out.add_connection(c.topic, c.msgtype, typestore=types)
            for c in reader.connections
        }
        for connection, stamp, data in reader.messages():
            number = (stamp - START) // STEP
            changed = bytes(data)
            if connection.topic == IMAGE and number == 1:
                changed = changed[:60]
            if connection.topic == JPEG and number == 4:
                message = types.deserialize_cdr(data, connection.msgtype)
                message.data = message.data[: len(message.data) // 2]
                changed = bytes(types.serialize_cdr(message, connection.msgtype))
            out.write(made[connection.id], stamp, changed)
    with BagReader(broken) as bag:
        raw = list(bag.frames(IMAGE, ODOMETRY))
        assert len(raw) == 5
        assert bag.report.undecodable[0].startswith(f"{IMAGE}#1: its bytes are no sensor_msgs")
        assert bag.report.ignored_poses == 1
        at_gap = next(f for f in raw if f.stamp_ns == START + 2 * STEP)
        assert at_gap.pose.position[0] == pytest.approx(2.0)
        assert [f.stamp_ns for f in bag.frames(JPEG)] == [START + n * STEP for n in (0, 1, 2, 3, 5)]
        assert "cut short" in bag.report.undecodable[0]
        assert bag.report.sentences()[0].startswith("Images left out: 1, the first is")


def test_fixes_without_a_fix_are_ignored(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        for number, latitude in enumerate((float("nan"), 48.0, 95.0, 48.0001)):
            bag.write_fix(FIX, START + number * STEP, latitude, 11.0, float("nan"))
        bag.write_image(IMAGE, smooth_scene(0, 24, 32), START + 2 * STEP)
    with BagReader(tmp_path / "bag") as bag:
        (frame,) = bag.frames(IMAGE, FIX)
        assert bag.origin == (48.0, 11.0, 0.0)
        assert bag.report.ignored_poses == 2
    assert frame.pose.position[1] == pytest.approx(11.12 / 2, abs=0.01)


def test_wrong_topics_are_told_with_those_that_are_there(drive):
    with BagReader(drive[0]) as bag:
        for topic, poses, told in (
            ("/nowhere", None, f"/nowhere is not in .*: its topics are .*{IMAGE}"),
            (ODOMETRY, None, "holds no images: choose one of its topics .* that is .*/Image or"),
            (IMAGE, JPEG, "holds no poses: choose one of its topics .* that is .*/NavSatFix or"),
        ):
            with pytest.raises(SaaneError, match=told):
                bag.frames(topic, poses)


def test_what_is_no_bag_is_told(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty.mcap").write_bytes(b"")
    for path, told in (
        (tmp_path / "gone", "There is no bag at"),
        (tmp_path / "notes.txt", "is no bag"),
        (tmp_path / "empty.mcap", "is empty"),
    ):
        with pytest.raises(SaaneError, match=told):
            BagReader(path)


def test_an_interrupted_writing_leaves_the_old_bag(drive):
    path, _ = drive

    def interrupted() -> None:
        with BagWriter(path) as bag:
            bag.write_image(IMAGE, smooth_scene(0), START)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [entry.name for entry in path.parent.iterdir()] == ["drive"]
    with BagReader(path) as bag:
        assert bag.topics()[IMAGE].count == 12
    with BagWriter(path) as bag:
        bag.write_image(IMAGE, smooth_scene(0), START)
    assert BagReader(path).topics()[IMAGE].count == 1


def test_a_folder_that_is_no_bag_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("keep")
    with pytest.raises(SaaneError, match="exists and is no bag"):
        BagWriter(tmp_path / "photos")
    assert (tmp_path / "photos" / "a.txt").read_text() == "keep"


def test_a_zero_stamp_is_replaced_by_the_time_of_recording(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        bag.write_image(IMAGE, smooth_scene(0, 24, 32), 0)
        bag.write_image(IMAGE, smooth_scene(1, 24, 32), START)
    to_sqlite(tmp_path / "bag", tmp_path / "lite")
    with sqlite3.connect(tmp_path / "lite" / "lite.db3") as database:
        database.execute("UPDATE messages SET timestamp = ? WHERE timestamp = 0", (START - STEP,))
    with BagReader(tmp_path / "lite" / "lite.db3") as bag:
        assert [frame.stamp_ns for frame in bag.frames(IMAGE)] == [START - STEP, START]


@settings(deadline=None, max_examples=20)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=8),
    stamps=st.data(),
)
def test_any_images_at_any_stamps_come_back(tmp_path_factory, sizes, stamps):
    start = stamps.draw(st.integers(1, 2**31 * 10**9 - 10**11))
    seconds = st.floats(0, 60).map(lambda value: round(value * 10**9))
    times = stamps.draw(
        st.lists(seconds, min_size=len(sizes), max_size=len(sizes), unique=True).map(
            lambda steps: [start + step for step in steps]
        )
    )
    path = tmp_path_factory.mktemp("any") / "bag"
    written = []
    with BagWriter(path) as bag:
        for number, ((height, width), stamp) in enumerate(zip(sizes, times, strict=True)):
            image = np.random.default_rng(number).integers(0, 256, (height, width, 3))
            written.append((stamp, image.astype(np.uint8)))
            bag.write_image(IMAGE, written[-1][1], stamp)
    with BagReader(path) as bag:
        read = list(bag.frames(IMAGE))
    in_order = sorted(written, key=lambda item: item[0])
    assert [frame.stamp_ns for frame in read] == [stamp for stamp, _ in in_order]
    for frame, (_, image) in zip(read, in_order, strict=True):
        np.testing.assert_array_equal(frame.image, image)
