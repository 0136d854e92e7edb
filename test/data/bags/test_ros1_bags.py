"""ROS 1 bags read as ROS 2 ones, whole and cut; what `saane bag info` says of any bag."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.rosbag1 import Writer
from rosbags.typesys import Stores, get_typestore
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.cli import main
from saane_ros.data.bags import BagReader, BagWriter
from saane_ros.embedding import loading
from saane_ros.errors import SaaneError
from saane_ros.messages.encode import rgb_to_jpeg_fields
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Pose

ROS1 = get_typestore(Stores.ROS1_NOETIC)
START = 1_500_000_000_123_456_789
STEP = 100_000_000
FRAMES = 30
COMPRESSIONS = [None, Writer.CompressionFormat.BZ2, Writer.CompressionFormat.LZ4]


def new(type_: str, **fields):
    return ROS1.types[type_](**fields)


def header(number: int):
    seconds, nanoseconds = divmod(START + number * STEP, 10**9)
    stamp = new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return new("std_msgs/msg/Header", seq=number, stamp=stamp, frame_id="camera")


def odometry(number: int):
    quaternion = new("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    zero = new("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    point = new("geometry_msgs/msg/Point", x=2.0 * number, y=1.0, z=0.0)
    pose = new("geometry_msgs/msg/Pose", position=point, orientation=quaternion)
    twist = new("geometry_msgs/msg/Twist", linear=zero, angular=zero)
    return new(
        "nav_msgs/msg/Odometry",
        header=header(number),
        child_frame_id="base_link",
        pose=new("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)),
        twist=new("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
    )


def write_ros1(path: Path, compression=None) -> list[np.ndarray]:
    """Raw and compressed images, odometry, and a topic of a type that is no standard one."""
    images = [smooth_scene(number, 96, 128) for number in range(FRAMES)]
    writer = Writer(path)
    if compression is not None:
        writer.set_compression(compression)
    types = {
        "/camera/image": "sensor_msgs/msg/Image",
        "/camera/image/compressed": "sensor_msgs/msg/CompressedImage",
        "/odom": "nav_msgs/msg/Odometry",
    }
    with writer:
        topics = {t: writer.add_connection(t, kind, typestore=ROS1) for t, kind in types.items()}
        own = writer.add_connection(
            "/own", "mine/msg/Own", msgdef="int8 a", md5sum="0" * 32, latching=1
        )
        for number, image in enumerate(images):
            jpeg = rgb_to_jpeg_fields(image, 95)
            jpeg["data"] = np.frombuffer(jpeg["data"], np.uint8)
            made = {
                "/odom": odometry(number),
                "/camera/image": new(
                    "sensor_msgs/msg/Image",
                    header=header(number),
                    height=96,
                    width=128,
                    encoding="rgb8",
                    is_bigendian=0,
                    step=384,
                    data=image.ravel(),
                ),
                "/camera/image/compressed": new(
                    "sensor_msgs/msg/CompressedImage", header=header(number), **jpeg
                ),
            }
            stamp = START + number * STEP + 1000
            for topic, message in made.items():
                data = ROS1.serialize_ros1(message, types[topic])
                writer.write(topics[topic], stamp, data)
            writer.write(own, stamp, b"\x01")
    return images


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_ros1_frames_are_those_written(tmp_path: Path, compression) -> None:
    images = write_ros1(tmp_path / "old.bag", compression)
    with BagReader(tmp_path / "old.bag") as bag:
        counts = {name: (info.type, info.count) for name, info in bag.topics().items()}
        latched = [name for name, info in bag.topics().items() if info.latched]
        frames = list(bag.frames("/camera/image", "/odom"))
        lossy = list(bag.frames("/camera/image/compressed"))
        assert bag.span_ns() == (START + 1000, START + (FRAMES - 1) * STEP + 1000)
        assert list(bag.messages(["/own"])) == []
        assert "mine/msg/Own is no standard type" in bag.notes[0]
    assert counts["/camera/image"] == ("sensor_msgs/msg/Image", FRAMES)
    assert counts["/own"] == ("mine/msg/Own", FRAMES)
    assert latched == ["/own"]
    for number, (frame, image) in enumerate(zip(frames, images, strict=True)):
        assert frame.stamp_ns == START + number * STEP
        assert frame.pose == Pose((2.0 * number, 1.0, 0.0))
        np.testing.assert_array_equal(frame.image, image)
        assert np.abs(lossy[number].image.astype(int) - image).mean() < 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ros1") / "old.bag"
    write_ros1(path)
    return path


@given(share=st.floats(0, 0.999))
def test_a_cut_ros1_bag_gives_what_came_before_the_cut(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    data = whole.read_bytes()
    cut = tmp_path_factory.mktemp("cut") / "cut.bag"
    cut.write_bytes(data[: int(share * len(data))])
    if cut.stat().st_size < len(b"#ROSBAG V2.0\n"):
        with pytest.raises(SaaneError, match=r"is empty|the first \d+ bytes"):
            BagReader(cut)
        return
    with BagReader(whole) as bag:
        expected = [(m.stamp_ns, bytes(m.data)) for m in bag.messages(["/camera/image"])]
    with BagReader(cut) as bag:
        if "/camera/image" not in bag.topics():
            found = []
        else:
            found = [(m.stamp_ns, bytes(m.data)) for m in bag.messages(["/camera/image"])]
        assert bag.notes
    assert found == expected[: len(found)]
    # The index at the end is not missed; a chunk is at most a megabyte.
    assert len(found) >= share * FRAMES - 2 - 1.2e6 / len(data) * FRAMES


def test_a_ros1_bag_becomes_a_map(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())
    assert main(["bag", "info", str(whole)]) == 0
    told = capsys.readouterr().out
    assert "usable: 128x96, rgb8" in told
    assert "58.0 m in 2.9 s" in told
    assert "other   /own  (mine/msg/Own, 30)" in told
    (command,) = [line for line in told.splitlines() if "--image-topic /camera/image " in line]
    words = command.split()
    assert words[:3] == ["saane", "map", "build"]
    words[-1] = str(tmp_path / words[-1])
    assert main(words[1:]) == 0
    assert RouteMap.open(words[-1]).arc_length[-1] == pytest.approx(58.0)


def test_unusable_topics_say_why(tmp_path: Path, capsys) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        bag.write_image("/good", smooth_scene(1), START)
        fields = {"format": "16UC1; compressedDepth", "data": np.zeros(9, np.uint8)}
        bag.write_image_fields("/depth", fields, START)
        bag.write_pose("/still", START, Pose((float("nan"), 0.0, 0.0)))
        bag.write_fix("/fix", START, 51.0, -1.0, 100.0)
    assert main(["bag", "info", str(tmp_path / "bag")]) == 0
    told = capsys.readouterr().out.splitlines()
    after = {line.split()[1]: told[row + 1] for row, line in enumerate(told) if "Hz)" in line}
    assert "not usable: " in after["/depth"]
    assert "a depth image" in after["/depth"]
    assert "not usable: " in after["/still"]
    assert "zero at 51.000000 -1.000000" in after["/fix"]
    (command,) = [line for line in told if "map build" in line]
    assert "--image-topic /good --pose-topic /fix" in command


def test_no_bag_at_all_is_told(tmp_path: Path, capsys) -> None:
    (tmp_path / "x.bag").write_bytes(b"#ROSBAG V1.2\n")
    assert main(["bag", "info", str(tmp_path / "x.bag")]) == 1
    assert "is a ROS 1 bag of an older version than 2.0" in capsys.readouterr().err
    assert main(["bag", "info", str(tmp_path / "absent.bag")]) == 1
    assert "There is no bag at" in capsys.readouterr().err
