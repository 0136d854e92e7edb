"""`saane bag info`: what it prints of every kind of bag works; what it says of odd ones is so."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from bag_files import FRAMES, IMAGE, START, STEP, scene, write_drive
from bag_kinds import KINDS
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.cli import main
from saane_ros.data.bags import BagWriter
from saane_ros.embedding import loading
from saane_ros.messages.encode import rgb_to_jpeg_fields
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame, Pose


@pytest.fixture(autouse=True)
def _fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real but small model under any name: models are tested elsewhere."""
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())


def printed_commands(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in text.splitlines() if line.startswith("  saane map build")]


def info(path: Path | str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["bag", "info", str(path)]) == 0
    return capsys.readouterr().out


ALL_BUT_VERSIONS = [n for n in KINDS if "of version" not in n or n.endswith(("1", "9"))]
"""The versions in between differ in nothing that the commands see."""


@pytest.mark.parametrize("name", ALL_BUT_VERSIONS)
def test_what_is_printed_makes_a_map(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    path = KINDS[name].make(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (command,) = printed_commands(info(path, capsys))
    assert command[command.index("--pose-topic") + 1] == "/odom"
    assert main(command[1:]) == 0
    route_map = RouteMap.open(command[-1])
    if not KINDS[name].part:
        assert len(route_map.places) == FRAMES
        assert route_map.arc_length[-1] == FRAMES - 1
    assert len(route_map.places) > 0.2 * FRAMES


def test_in_the_folder_of_a_bag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_drive(tmp_path / "-my drive", 3)
    monkeypatch.chdir(tmp_path / "-my drive")
    (command,) = printed_commands(info(".", capsys))
    assert command[-1] == "my drive.routemap"
    assert main(command[1:]) == 0
    monkeypatch.chdir(tmp_path)
    (command,) = printed_commands(info("./-my drive", capsys))
    assert main(command[1:]) == 0
    assert {"my drive.routemap", "-my drive"} == {entry.name for entry in tmp_path.iterdir()}


def test_each_image_topic_gets_a_map_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(4):
            bag.write_image("/left/image", smooth_scene(number), START + number * STEP)
            bag.write_image("/right/image", smooth_scene(9 + number), START + number * STEP)
    monkeypatch.chdir(tmp_path)
    commands = printed_commands(info("bag", capsys))
    assert [command[-1] for command in commands] == [
        "bag-left-image.routemap",
        "bag-right-image.routemap",
    ]
    for command in commands:
        assert main(command[1:]) == 0
        assert len(RouteMap.open(command[-1]).places) == 4


@pytest.mark.parametrize("broken", [range(1), range(25), range(2, 30), range(0, 30, 2)])
def test_broken_images_are_no_verdict_on_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: range
) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(30):
            fields = rgb_to_jpeg_fields(smooth_scene(number), 90)
            data = np.frombuffer(fields["data"], np.uint8)
            fields["data"] = data[: len(data) // 3] if number in broken else data
            bag.write_image_fields("/jpeg", fields, START + number * STEP)
    told = info(tmp_path / "bag", capsys)
    assert "usable: 160x120" in told
    assert "of 20 images looked at cannot be used: " in told
    assert len(printed_commands(told)) == 1


def test_topics_of_black_or_broken_images_alone_make_no_map(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(30):
            bag.write_image("/black", np.zeros((9, 9, 3), np.uint8), START + number * STEP)
            fields = {"format": "jpeg", "data": np.zeros(9, np.uint8)}
            bag.write_image_fields("/zero", fields, START + number * STEP)
    told = info(tmp_path / "bag", capsys)
    assert "not usable: none of 20 images looked at can be used: the image is black" in told
    assert "No map can be made" in told


def write_clocks(path: Path, shifts: dict[str, int]) -> None:
    """Images at START, and topics of poses whose clocks differ by so many steps."""
    with BagWriter(path) as bag:
        for number in range(20):
            bag.write_image(IMAGE, scene(number), START + number * STEP)
            for topic, shift in shifts.items():
                pose = Pose((2.0 * number, 0.0, 0.0))
                bag.write_pose(topic, START + (number + shift) * STEP, pose)


def test_clocks_that_do_not_meet_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clocks(tmp_path / "bag", {"/poses": 36_000})
    monkeypatch.chdir(tmp_path)
    told = info("bag", capsys)
    sentence = (
        "No image of /camera/image has a pose of /poses at its time: the images are of 2023-11-14 "
        "22:13:20 to 2023-11-14 22:13:21, the poses of 2023-11-14 23:13:20 to 2023-11-14 23:13:21"
    )
    assert sentence in told
    (command,) = printed_commands(told)
    assert "--pose-topic" not in command
    assert main(command[1:]) == 0
    assert len(RouteMap.open("bag.routemap").places) == 20
    call = ["map", "build", "--bag", "bag", "--image-topic", IMAGE, "--out", "m"]
    assert main([*call, "--pose-topic", "/poses"]) == 1
    assert sentence in capsys.readouterr().err
    assert not Path("m").exists()


def test_the_poses_that_meet_the_images_are_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clocks(tmp_path / "bag", {"/a": 36_000, "/b": 15, "/c": 10})
    monkeypatch.chdir(tmp_path)
    told = info("bag", capsys)
    assert "10 of 20 images of /camera/image looked at have a pose of /c at their time" in told
    (command,) = printed_commands(told)
    assert command[command.index("--pose-topic") + 1] == "/c"
    assert main(command[1:]) == 0
    assert len(RouteMap.open("bag.routemap").places) == 10


def test_a_vehicle_that_stands_gets_all_its_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(5):
            bag.write_image(IMAGE, scene(number), START + number * STEP)
            bag.write_pose("/pose", START + number * STEP, Pose((3.0, 4.0, 0.0)))
    (command,) = printed_commands(info(tmp_path / "bag", capsys))
    assert "/pose" in command
    assert "--every-metres" not in command


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    with BagWriter(tmp_path / "drive") as bag:
        for number in range(3):
            stamp = START + number * STEP
            bag.write_image("/image", smooth_scene(number), stamp)
            bag.write_odometry("/odom", stamp, Pose((float(number), 0.0, 0.0)))
            bag.write_pose("/pose", stamp, Pose((float(number), 0.0, 0.0)))
            bag.write_fix("/fix", stamp, 51.0, -1.0, 100.0)
            bag.write_camera_info("/info", stamp, (160, 120), np.eye(3))
    return tmp_path / "drive"


IMAGES = "sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage."
POSES = "PoseWithCovarianceStamped."


@pytest.mark.parametrize("topic", ["/image", "/odom", "/pose", "/fix", "/info", "/absent", "//"])
def test_a_topic_of_another_type_is_one_sentence(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], topic: str
) -> None:
    frames = [Frame(smooth_scene(i), i, f"{i}", Pose((2.0 * i, 0.0, 0.0))) for i in range(3)]
    build_map(frames, ColourGridEmbedder(), tmp_path / "m")
    capsys.readouterr()  # the bar of the map's progress
    build = ["map", "build", "--bag", str(drive), "--out", str(tmp_path / "n")]
    localize = ["localize", "--map", str(tmp_path / "m"), "--bag", str(drive)]
    for call, option, fitting, wanted in (
        (build, "--image-topic", ("/image",), IMAGES),
        (localize, "--image-topic", ("/image",), IMAGES),
        ([*build, "--image-topic", "/image"], "--pose-topic", ("/odom", "/pose", "/fix"), POSES),
        ([*localize, "--image-topic", "/image"], "--odometry-topic", ("/odom",), "/Odometry."),
        (
            [*localize, "--image-topic", "/image"],
            "--truth-topic",
            ("/odom", "/pose", "/fix"),
            POSES,
        ),
    ):
        status = main([*call, option, topic])
        told = capsys.readouterr().err
        if option == "--truth-topic" and topic == "/fix":
            # Of the right type, but where the map's frame lies on Earth is not known.
            assert status == 1
            assert "the zero of /fix lies at 51.000000 -1.000000" in told
            continue
        if topic in fitting:
            assert status == 0
            continue
        assert status == 1
        assert told.startswith(f"saane: Topic {topic} ")
        assert told.count("\n") == 1
        for name in ("/image (sensor_msgs/msg/Image)", "/info (sensor_msgs/msg/CameraInfo)"):
            assert name in told
        assert (wanted in told) != (topic in ("/absent", "//"))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("drive/metadata.yaml", "name the folder that it lies in"),
        ("photo.png", "is no bag"),
        ("photos", "is a folder of images, no bag"),
        (".", "has bags in it: name one of drive"),
        ("absent", "There is no bag at"),
        ("drive/drive.mcap/x", "There is no bag at"),
    ],
)
def test_a_file_for_a_folder_and_the_reverse(
    drive: Path, capsys: pytest.CaptureFixture[str], path: str, told: str
) -> None:
    folder = drive.parent
    (folder / "photos").mkdir()
    for photo in (folder / "photo.png", folder / "photos" / "1.png"):
        photo.write_bytes(b"\x89PNG\r\n\x1a\n")
    for call in (
        ["bag", "info", str(folder / path)],
        ["map", "build", "--image-topic", "/i", "--out", "m", "--bag", str(folder / path)],
    ):
        assert main(call) == 1
        assert told in capsys.readouterr().err


def write_topics(path: Path, *topics: str) -> Path:
    """A bag with a message on each topic; its last word says what it is."""
    with BagWriter(path) as bag:
        for topic in topics:
            match topic.rsplit("/", 1)[1]:
                case "compressed":
                    bag.write_image(topic, smooth_scene(1), 10**9, jpeg_quality=90)
                case "image":
                    bag.write_image(topic, smooth_scene(1), 10**9)
                case "odometry":
                    bag.write_odometry(topic, 10**9, Pose((0, 0, 0)))
                case _:
                    bag.write_pose(topic, 10**9, Pose((0, 0, 0)))
    return path


@pytest.mark.parametrize(
    ("topics", "options", "expected"),
    [
        (
            ("/b/image", "/c/compressed", "/d/compressed", "/wheels/odometry", "/pose"),
            (),
            "image /c/compressed\nmotion /wheels/odometry\nodometry /wheels/odometry\npose /pose\n",
        ),
        (
            ("/b/image", "/a/image", "/ground_truth/odometry", "/a/odometry"),
            (),
            "image /a/image\nmotion /a/odometry\nodometry /ground_truth/odometry\n",
        ),
        (
            ("/b/image", "/c/compressed", "/ground_truth/odometry"),
            ("--image-topic", "/b/image"),
            "image /b/image\nodometry /ground_truth/odometry\n",
        ),
    ],
)
def test_topics_tells_what_to_take(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    topics: tuple[str, ...],
    options: tuple[str, ...],
    expected: str,
) -> None:
    bag = write_topics(tmp_path / "drive", *topics)
    assert main(["bag", "topics", *options, str(bag)]) == 0
    assert capsys.readouterr().out == expected


def test_topics_of_a_bag_without_images_or_without_this_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = str(write_topics(tmp_path / "drive", "/pose"))
    assert main(["bag", "topics", bag]) == 1
    assert "has no image topic: see `saane bag info" in capsys.readouterr().err
    assert main(["bag", "topics", bag, "--image-topic", "/pose"]) == 1
    assert "holds no images" in capsys.readouterr().err
