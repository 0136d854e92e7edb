"""Damaged, cut and unwritable: what is there is used, the rest is named."""

from __future__ import annotations

import csv
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from robotcar_world import World, messages, recorded, write_sdk, write_world
from rosbags.rosbag2.storage_mcap import McapWriter

from saane_ros.cli import main
from saane_ros.data.bags import BagReader
from saane_ros.data.robotcar.to_bag import Conversion, convert
from saane_ros.errors import SaaneError
from saane_ros.simulation import robotcar_layout as layout

IMAGES = "/stereo/centre/image_raw"
OXFORD = np.array([620_000.0, 5_735_000.0, 110.0])


def spoil(world: World) -> None:
    """One of everything that can be wrong with a traversal."""
    folder, stamps = world.traversal / "stereo/centre", world.stamps
    whole = (folder / f"{stamps[3] // 1000}.png").read_bytes()
    (folder / f"{stamps[3] // 1000}.png").write_bytes(whole[: len(whole) // 2])
    (folder / f"{stamps[5] // 1000}.png").unlink()
    (folder / f"{stamps[0] // 1000 + 7}.png").write_bytes(whole)
    (folder / "thumb.png").write_bytes(whole)
    listing = world.traversal / "stereo.timestamps"
    lines = listing.read_text().splitlines()
    lines[8], lines[9] = lines[9], lines[8]
    listing.write_text("\n".join([*lines, "garbage 1"]) + "\n")
    path = world.traversal / "gps/ins.csv"
    with path.open() as stream:
        rows = list(csv.reader(stream))
    rows[4] = rows[4][:6]
    rows[6][1] = "INS_INACTIVE"
    rows[8][5] = "nan"
    rows[10], rows[11] = rows[11], rows[10]
    gap_from = len(rows) // 2
    start = int(rows[gap_from][0])
    kept = [r for r in rows[gap_from:] if int(r[0]) > start + 1_200_000]
    rows = [*rows[: gap_from + 1], *kept]
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")


def test_what_is_wrong_is_counted_and_the_rest_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = write_world(tmp_path / "drive", seconds=4)
    spoil(world)
    out = tmp_path / "bag"
    assert main(["robotcar", "to-bag", str(world.traversal), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    for sentence in (
        "Images left out as unusable: 1, the first: ",
        "is no whole image, as its PNG is cut short or damaged",
        "Images listed but not on disk (chunks not downloaded): 1.",
        "Images on disk that the timestamps do not list, left out: 1.",
        "Lines or names without a time, left out: 2.",
        "Timestamps earlier than the one before, put in order: 1.",
        "Pose rows left out with missing or wrong fields: 2.",
        "Pose rows left out without a good solution: 1.",
        "Pose rows earlier than the one before, put in order: 1.",
        "Times longer than 1 s without a pose: 1.",
    ):
        assert sentence in told, sentence
    found = messages(out)
    expected = [s for i, s in enumerate(world.stamps) if i not in (3, 5)]
    assert [row.log_time_ns for row in found[IMAGES + "/compressed"]] == expected
    posed = {row.log_time_ns for row in found["/ground_truth/odometry"]}
    gap = [s for s in expected if s not in posed]
    assert 1.1e9 < gap[-1] - gap[0] < 1.3e9
    assert f"Frames without a pose at their time: {len(gap)}." in told


def test_the_best_pose_file_is_taken(tmp_path: Path) -> None:
    world = write_world(tmp_path / "drive", seconds=1)
    stamps = [world.stamps[0] - 10**8, *world.stamps, world.stamps[-1] + 10**8]
    poses = [world.poses[0], *world.poses, world.poses[-1]]
    layout.write_gps(world.traversal, stamps, poses)
    layout.write_rtk(world.traversal, stamps, poses)
    report = convert(world.traversal, tmp_path / "bag", Conversion(every_seconds=1))
    assert "Poses from rtk.csv" in " ".join(report.notes)
    report = convert(world.traversal, tmp_path / "bag", Conversion(every_seconds=1, poses="gps"))
    assert "Poses from gps/gps.csv" in " ".join(report.notes)
    (world.traversal / "rtk.csv").write_text("timestamp,latitude\n1,2\n")
    report = convert(world.traversal, tmp_path / "bag", Conversion(every_seconds=1))
    assert "rtk.csv lacks the columns" in " ".join(report.notes)
    assert "Poses from gps/ins.csv" in " ".join(report.notes)
    for name in ("rtk.csv", "gps/ins.csv", "gps/gps.csv"):
        (world.traversal / name).unlink()
    report = convert(world.traversal, tmp_path / "bag", Conversion(every_seconds=1))
    assert "No usable pose file" in " ".join(report.notes)
    assert report.without_pose == report.frames == 1


def test_a_killed_conversion_goes_on(tmp_path: Path) -> None:
    world = write_world(tmp_path / "drive", seconds=6, size=(240, 320))
    call = ["robotcar", "to-bag", str(world.traversal), "--raw", "--out"]
    out, part = tmp_path / "bag", tmp_path / ".bag.converting"
    process = subprocess.Popen(
        [sys.executable, "-m", "saane_ros.cli", *call, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    file = part / "bag" / "bag" / "bag.mcap"
    deadline = time.monotonic() + 60
    while not (file.is_file() and file.stat().st_size > 1_000_000):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    report = convert(world.traversal, out, Conversion(jpeg_quality=None))
    assert 2 < report.continued < report.frames == len(world.stamps)
    assert not part.exists()
    convert(world.traversal, tmp_path / "whole", Conversion(jpeg_quality=None))
    assert recorded(out) == recorded(tmp_path / "whole")


def test_a_full_disk_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = write_world(tmp_path / "drive", seconds=3, size=(240, 320))
    close_chunk, chunks = McapWriter.close_chunk, []

    def full(self: McapWriter) -> None:
        if len(chunks) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        chunks.append(1)
        close_chunk(self)

    with monkeypatch.context() as patch:
        patch.setattr(McapWriter, "close_chunk", full)
        with pytest.raises(SaaneError, match=r"The disk is full: .*same command again"):
            convert(world.traversal, tmp_path / "bag", Conversion(jpeg_quality=None))
    assert not (tmp_path / "bag").exists()
    report = convert(world.traversal, tmp_path / "bag", Conversion(jpeg_quality=None))
    assert report.continued >= 4
    with BagReader(tmp_path / "bag") as bag:
        assert [frame.stamp_ns for frame in bag.frames(IMAGES)] == world.stamps


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--camera", "mono_left"], "holds no usable image"),
        (["--undistort"], "needs the lens tables"),
        (["--undistort", "--models", "MODELS"], "has 307200 bytes, but 160x118 images need 302080"),
        (["--models", "absent"], "camera model absent/stereo_narrow_left.txt is missing"),
        (["--poses", "rtk"], "rtk.csv cannot be read"),
        (["--every-seconds", "0"], "give a number above 0"),
        (["--quality", "0"], "give 1 to 100"),
    ],
)
def test_wrong_calls_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    world = write_world(tmp_path / "drive", seconds=0.3, size=(118, 160))
    write_sdk(tmp_path / "sdk")
    given = [str(tmp_path / "sdk/models") if word == "MODELS" else word for word in options]
    call = ["robotcar", "to-bag", str(world.traversal), "--out", str(tmp_path / "bag"), *given]
    assert main(call) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "bag").exists()


def test_an_interrupted_conversion_is_kept_unless_the_images_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = write_world(tmp_path / "drive", seconds=3, size=(240, 320))
    call = ["robotcar", "to-bag", str(world.traversal), "--raw", "--out", str(tmp_path / "bag")]
    close_chunk, chunks = McapWriter.close_chunk, []

    def interrupted(self: McapWriter) -> None:
        if len(chunks) == 4:
            raise KeyboardInterrupt
        chunks.append(1)
        close_chunk(self)

    with monkeypatch.context() as patch:
        patch.setattr(McapWriter, "close_chunk", interrupted)
        assert main(call) == 130
        chunks.clear()
    assert main([*call[:-1], str(tmp_path / "other")]) == 0
    assert "Taken over" not in capsys.readouterr().out
    (world.traversal / "stereo/centre" / f"{world.stamps[1] // 1000}.png").unlink()
    assert main(call) == 0
    assert "Taken over" not in capsys.readouterr().out
    with BagReader(tmp_path / "bag") as bag:
        found = [message.stamp_ns for message in bag.messages([IMAGES])]
    assert found == [world.stamps[0], *world.stamps[2:]]


def test_a_place_that_cannot_be_written_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = write_world(tmp_path / "drive", seconds=0.4)
    (tmp_path / "file").touch()
    call = ["robotcar", "to-bag", str(world.traversal), "--out", str(tmp_path / "file" / "bag")]
    with pytest.raises(SystemExit) as end:
        main(call)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "file is no folder, name another place" in error
    assert "Traceback" not in error
