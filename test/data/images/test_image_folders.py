"""Images in folders: order, poses, stamps, selection, damage."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import smooth_scene

from saane_ros.data.images.at_names import AtName, format_at_name
from saane_ros.data.images.files import read_image
from saane_ros.data.images.folders import ImageFolder, natural_key
from saane_ros.errors import SaaneError
from saane_ros.geodesy import to_utm

SHARED = Path(__file__).resolve().parents[2].parent / "shared/data"


def write(path: Path, seed: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(smooth_scene(seed, 24, 32), cv2.COLOR_RGB2BGR))
    return path


def test_natural_order_and_pixels(tmp_path: Path) -> None:
    for number, name in enumerate(("b2.png", "b10.png", "a1.PNG", "b1.png")):
        write(tmp_path / name, number)
    (tmp_path / "notes.txt").write_text("no image")
    write(tmp_path / ".hidden.png")
    frames = list(ImageFolder(tmp_path).frames())
    assert [frame.name for frame in frames] == ["a1.PNG", "b1.png", "b2.png", "b10.png"]
    assert [frame.stamp_ns for frame in frames] == [0, 10**9, 2 * 10**9, 3 * 10**9]
    np.testing.assert_array_equal(frames[2].image, smooth_scene(0, 24, 32))
    assert frames[0].pose is None
    assert frames[0].travelled is None


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_numbered_names_sort_by_number(numbers: list[int]) -> None:
    names = [f"frame{number}.jpg" for number in numbers]
    expected = [f"frame{number}.jpg" for number in sorted(numbers)]
    assert sorted(names, key=natural_key) == expected


def test_poses_by_name_and_images_without_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(4):
        write(tmp_path / f"{number}.png", number)
    (tmp_path / "poses.csv").write_text("name,x,y\n3,6,0\n0.png,0,0\n1.png,3,4\n1.png,9,9\n")
    with caplog.at_level(logging.WARNING):
        folder = ImageFolder(tmp_path)
    assert [entry.path.name for entry in folder.entries] == ["0.png", "1.png", "3.png"]
    assert folder.without_pose == ["2.png"]
    assert "1 images" in caplog.text
    assert [entry.travelled for entry in folder.entries] == [0.0, 5.0, 10.0]
    assert [frame.name for frame in folder.frames(every_metres=6)] == ["0.png", "3.png"]
    assert len(folder.selected(every_metres=5)) == 3


def test_poses_by_time_are_interpolated(tmp_path: Path) -> None:
    for stamp in ("1000000000.50", "1000000001.25", "1000000009.00"):
        write(tmp_path / f"{stamp}.png")
    poses = tmp_path / "track.txt"
    poses.write_text(
        "1000000000 0 0 0 0 0 0 1\n1000000001 2 0 0 0 0 0 1\n1000000002 2 4 0 0 0 1 0\n"
    )
    folder = ImageFolder(tmp_path, poses)
    assert folder.without_pose == ["1000000009.00.png"]
    first, second = folder.entries
    assert (first.stamp_ns, second.stamp_ns) == (
        1_000_000_000_500_000_000,
        1_000_000_001_250_000_000,
    )
    assert first.pose.position == pytest.approx((1, 0, 0))
    assert second.pose.position == pytest.approx((2, 1, 0))
    # A quarter of half a turn.
    assert second.pose.orientation == pytest.approx((0, 0, np.sin(np.pi / 8), np.cos(np.pi / 8)))


def test_poses_by_order(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number:06d}.png", number)
    poses = tmp_path / "poses.txt"
    poses.write_text("".join(f"{5 + t} {t} 0 0 0 0 0 1\n" for t in range(3)))
    folder = ImageFolder(tmp_path)
    assert [entry.stamp_ns for entry in folder.entries] == [5 * 10**9, 6 * 10**9, 7 * 10**9]
    assert [entry.pose.position[0] for entry in folder.entries] == [0, 1, 2]
    poses.write_text("5 0 0 0 0 0 0 1\n")
    with pytest.raises(SaaneError, match=r"has 3 images and .* 1 poses without names"):
        ImageFolder(tmp_path)


def test_names_that_fit_no_image_are_told(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "poses.csv").write_text("name,x,y\nb.png,0,0\n")
    with pytest.raises(SaaneError, match=r"No image of .* has a pose"):
        ImageFolder(tmp_path)


def test_at_names_carry_poses_in_order_of_time(tmp_path: Path) -> None:
    for step, (easting, heading) in enumerate(((300.0, 90.0), (200.0, 0.0), (100.0, None))):
        name = AtName(
            easting, 50.0, 31, "U", 52.2, 0.1, heading=heading, timestamp=f"20200101_00000{step}"
        )
        write(tmp_path / format_at_name(name), step)
    folder = ImageFolder(tmp_path)
    assert [entry.pose.position[0] for entry in folder.entries] == [0.0, -100.0, -200.0]
    assert [entry.stamp_ns - 1_577_836_800 * 10**9 for entry in folder.entries] == [
        0,
        10**9,
        2 * 10**9,
    ]
    assert folder.origin == (52.2, 0.1, 0.0)
    # East is yaw 0, north a quarter turn; without a heading the motion tells: west, half a turn.
    half = np.sqrt(0.5)
    assert folder.entries[0].pose.orientation == pytest.approx((0, 0, 0, 1))
    assert folder.entries[1].pose.orientation == pytest.approx((0, 0, half, half))
    assert np.abs(folder.entries[2].pose.orientation) == pytest.approx((0, 0, 1, 0), abs=1e-9)


def test_empty_and_absent_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(SaaneError, match="holds no images"):
        ImageFolder(tmp_path)
    with pytest.raises(SaaneError, match="There is no folder"):
        ImageFolder(tmp_path / "absent")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.8])
def test_cut_off_images_are_told_and_come_as_empty_frames(
    tmp_path: Path, suffix: str, keep: float
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    frame = next(iter(ImageFolder(tmp_path).frames()))
    with pytest.raises(SaaneError, match="is no whole image"):
        read_image(path)
    assert frame.image.shape == (0, 0, 3)


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.stack([grey] * 3, axis=2))
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([grey, grey + 1, grey + 2, grey]))
    np.testing.assert_array_equal(
        read_image(tmp_path / "alpha.png"), np.dstack([grey + 2, grey + 1, grey])
    )


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared data are not beside the repository")
def test_a_real_drive_with_kitti_poses() -> None:
    folder = ImageFolder(SHARED / "kitti_drive/image_l", SHARED / "kitti_drive/poses.txt")
    assert len(folder) == 51
    assert folder.entries[-1].travelled == pytest.approx(59.8597, abs=1e-3)
    assert len(folder.selected(every_metres=5.0)) == 11
    frame = next(folder.frames())
    assert frame.image.shape[2] == 3
    assert frame.image.mean() > 10


def test_an_image_far_off_the_way_of_the_others_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ["filename,latitude,longitude"]
    for number in range(20):
        write(tmp_path / f"{number}.png")
        rows.append(f"images/{number}.png,{51.75 + 2e-5 * number + 0.5 * (number == 8)},-1.25")
    (tmp_path / "poses.csv").write_text("\n".join(rows))
    folder = ImageFolder(tmp_path)
    assert folder.without_pose == ["8.png"]
    assert "8.png" in caplog.text
    assert len(folder.entries) == 19
    assert folder.entries[-1].travelled == pytest.approx(19 * 2.2253, abs=0.01)


def test_names_over_a_border_of_zones_are_one_way(tmp_path: Path) -> None:
    for number in range(12):
        longitude = 12 + (number - 5.5) * 2.6e-5
        name = AtName(*to_utm(46.0, longitude), 46.0, longitude, heading=90.0)
        write(tmp_path / format_at_name(replace(name, timestamp=f"20200101_0000{number:02d}")))
    folder = ImageFolder(tmp_path)
    assert folder.grid == "utm_32N"
    assert folder.entries[-1].travelled == pytest.approx(22.15, abs=0.05)


def test_images_and_poses_of_two_clocks_are_told_with_both(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{100 + number}.5.png")
    (tmp_path / "poses.txt").write_text("1700000000 0 0 0 0 0 0 1\n1700000009 1 0 0 0 0 0 1\n")
    with pytest.raises(SaaneError, match=r"images are of 1970-01-01 00:01:40 .* poses of 2023-11"):
        ImageFolder(tmp_path)
