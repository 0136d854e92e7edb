"""Image files of every kind, and the same 16-bit drive from a folder, from a bag and live."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from picture_seeds import BGR, DEEP, PICTURES, TRAILERS, claiming, encoded, turned_by_exif
from scenes import smooth_scene

from saane_ros.data.bags.reader import BagReader, message_types
from saane_ros.data.images import files, folders, places
from saane_ros.data.images.files import IMAGE_SUFFIXES, is_image, read_image
from saane_ros.data.images.folders import ImageFolder
from saane_ros.data.images.labelled import LabelledImages
from saane_ros.errors import SaaneError
from saane_ros.messages.image import ImageDecoder
from saane_ros.messages.stretch import stretched_alone

STAMPS = [(1_700_000_000 + second) * 10**9 for second in range(8)]
"""One a second, as images without any time in their names are taken."""


def thermal_drive() -> list[np.ndarray]:
    """A scene that grows warmer by the second; something hot passes in the fourth."""
    scene = 29_800 + smooth_scene(2, 48, 64)[..., 1].astype(np.uint16) // 4
    drive = [scene + np.uint16(4 * number) for number in range(len(STAMPS))]
    drive[4][:, :8] = 31_000
    return drive


def write_bag(path: Path, drive: list[np.ndarray], first: bytes | None = None) -> Path:
    """mono16 messages on /thermal; `first` is the broken data of the first of them."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    types = message_types()
    image, header, time = (
        types.types[name]
        for name in (
            "sensor_msgs/msg/Image",
            "std_msgs/msg/Header",
            "builtin_interfaces/msg/Time",
        )
    )
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as bag:
        topic = bag.add_connection("/thermal", image.__msgtype__, typestore=types)
        for number, (stamp, values) in enumerate(zip(STAMPS, drive, strict=True)):
            data = values.tobytes() if number or first is None else first
            message = image(
                header=header(stamp=time(stamp // 10**9, 0), frame_id="camera"),
                height=values.shape[0],
                width=values.shape[1],
                encoding="mono16",
                is_bigendian=0,
                step=2 * values.shape[1],
                data=np.frombuffer(data, np.uint8),
            )
            bag.write(topic, stamp, types.serialize_cdr(message, image.__msgtype__))
    return path


@pytest.mark.parametrize("kind", sorted(PICTURES))
@pytest.mark.parametrize("behind", ["", *sorted(TRAILERS)])
def test_every_kind_is_read_whatever_lies_behind_it(tmp_path: Path, kind: str, behind: str) -> None:
    path = tmp_path / "IMG_0001.MP.jpg"
    path.write_bytes(PICTURES[kind] + TRAILERS.get(behind, b""))
    image = read_image(path).astype(int)
    wanted = BGR[..., ::-1].astype(int)
    if "deep" in kind:
        wanted = stretched_alone(DEEP, True)[..., None].astype(int)
    elif kind == "grey jpeg":
        wanted = BGR[..., 1:2].astype(int)
    elif kind == "turned jpeg":
        wanted = np.rot90(wanted, -1)
    assert np.abs(image - wanted).mean() < 6


def test_a_motion_photo_stands_in_a_folder_as_any_other(tmp_path: Path) -> None:
    plain = encoded(BGR, ".jpg")
    for name, behind in (("a", b""), *((name, data) for name, data in TRAILERS.items())):
        (tmp_path / f"{name}.jpg").write_bytes(plain + behind)
    frames = list(ImageFolder(tmp_path).frames())
    assert len(frames) == 1 + len(TRAILERS)
    for frame in frames:
        np.testing.assert_array_equal(frame.image, frames[0].image)


def test_exif_turns_files_as_their_viewers_do(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(turned_by_exif(encoded(BGR, ".jpg")))
    np.testing.assert_array_equal(read_image(path), cv2.imread(str(path))[..., ::-1])


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "bmp", "ppm"])
def test_an_absurd_size_costs_one_frame(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "0.png").write_bytes(claiming(kind, 60_000, 60_000))
    (tmp_path / "1.png").write_bytes(PICTURES["png"])
    first, second = ImageFolder(tmp_path).frames()
    assert first.image.size == 0
    assert "0.png claims 60000 x 60000 pixels, more than any camera takes" in caplog.text
    np.testing.assert_array_equal(second.image, BGR[..., ::-1])


def test_one_list_says_what_an_image_is(tmp_path: Path) -> None:
    town = tmp_path / "town" / "square"
    town.mkdir(parents=True)
    names = [f"a{suffix}" for suffix in IMAGE_SUFFIXES] + ["B.JPG"]
    for name in [*names, "._a.jpg", ".DS_Store", "notes.txt", "jpg"]:
        (town / name).write_bytes(PICTURES["png"])
    assert sorted(path.name for path in folders.image_files(town)) == sorted(names)
    assert sorted(path.name for path in places.read_places(tmp_path).paths) == sorted(names)
    assert all(is_image(Path(name)) for name in names)


def test_a_16_bit_label_map_or_an_absurd_one_is_told(tmp_path: Path) -> None:
    picture, labels = tmp_path / "a.jpg", tmp_path / "a.png"
    picture.write_bytes(PICTURES["jpeg"])
    pair = LabelledImages((picture,), (labels,), ("road",))
    for data, told in (
        (PICTURES["deep png"], "is no readable label map"),
        (PICTURES["png"], "is no readable label map"),
        (claiming("png", 60_000, 60_000), "claims 60000 x 60000"),
    ):
        labels.write_bytes(data)
        with pytest.raises(SaaneError, match=told):
            pair.read(0)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    for name in ("absent.jpg", "folder.jpg"):
        with pytest.raises(SaaneError, match=f"{name} cannot be read"):
            files.read_image(tmp_path / name)


def test_a_16_bit_drive_looks_the_same_from_a_folder_and_from_a_bag(tmp_path: Path) -> None:
    drive, decoder = thermal_drive(), ImageDecoder()
    photos = tmp_path / "photos"
    photos.mkdir()
    expected = []
    for stamp, values in zip(STAMPS, drive, strict=True):
        cv2.imwrite(str(photos / f"{stamp // 10**9}.png"), values)
        message = SimpleNamespace(
            height=48, width=64, step=128, encoding="16UC1", is_bigendian=0, data=values.tobytes()
        )
        expected.append(decoder.rgb(message, False, stamp))
    bag = BagReader(write_bag(tmp_path / "bag", drive))
    for frames in (ImageFolder(photos).frames(), bag.frames("/thermal"), bag.frames("/thermal")):
        for frame, image in zip(frames, expected, strict=True):
            np.testing.assert_array_equal(frame.image, image)
    # What passes by leaves the look of the rest; alone, it would turn dark.
    rest = (slice(None), slice(8, None))
    before, during = (expected[n][rest].mean() for n in (3, 4))
    assert abs(during - before) < 25
    assert stretched_alone(drive[4], True)[rest].mean() < 0.2 * before


@pytest.mark.parametrize(
    "first",
    [b"", bytes(100), bytes(2 * 48 * 64), b"\xff" * (2 * 48 * 64)],
    ids=["empty", "cut", "black", "white"],
)
def test_a_first_image_that_is_broken_spoils_nothing(tmp_path: Path, first: bytes) -> None:
    drive = thermal_drive()
    frames = list(BagReader(write_bag(tmp_path / "bag", drive, first)).frames("/thermal"))
    later = list(BagReader(write_bag(tmp_path / "good", drive)).frames("/thermal"))
    whole = len(first) == 2 * 48 * 64
    assert len(frames) == len(drive) - (not whole)
    after = frames[1 if whole else 0]
    np.testing.assert_array_equal(
        after.image, cv2.cvtColor(stretched_alone(drive[1], True), cv2.COLOR_GRAY2RGB)
    )
    assert np.abs(frames[-1].image.astype(int) - later[-1].image).max() < 30
