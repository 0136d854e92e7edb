"""The paper's two RobotCar experiments on the town: raw files, bags and a live replay agree."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.parameter import Parameter
from ros_world import Peer, spinning, until, values

from saane_ros.cli import main
from saane_ros.ros.localizer.node import LocalizerNode
from saane_ros.ros.shared.clock import nanoseconds
from saane_ros.ros.shared.model_loading import load_model
from saane_ros.simulation import Camera, Town, Traverse
from saane_ros.simulation import robotcar_layout as layout

PAIRS = {
    "am-pm": ("2014-12-09-13-21-02", "2014-12-10-18-10-50"),
    "sum-win": ("2015-05-19-14-06-38", "2015-02-03-08-45-10"),
}
CONDITIONS = ("day", "night", "day", "snow")
FRAMES, POSES_HZ = 8, 50
RAW = "/stereo/centre/image_raw"
MODEL = "saane-town"


def write_traversal(folder: Path, condition: str, number: int) -> None:
    """An image a second, debayered later, and INS at 50 Hz."""
    town = Town(4321, 110.0)
    start = 1_418_132_462_123_456_000 + number * 10**15
    camera = Camera(160, 120)
    drive = Traverse(town, condition, number, camera, POSES_HZ, start_stamp_ns=start)
    frames = range(0, FRAMES * POSES_HZ, POSES_HZ)
    for index in frames:
        layout.write_image(folder, drive.stamps_ns[index], drive.render(index).image)
    layout.write_timestamps(folder, [drive.stamps_ns[index] for index in frames])
    layout.write_ins(folder, drive.stamps_ns, drive.poses)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Raw traversals, lossless bags and JPEG bags, each under `robotcar/` of its own root."""
    base = tmp_path_factory.mktemp("roots")
    raw, bags, jpeg = (base / name / "robotcar" for name in ("raw", "bags", "jpeg"))
    names = [name for pair in PAIRS.values() for name in pair]
    for number, (name, condition) in enumerate(zip(names, CONDITIONS, strict=True)):
        write_traversal(raw / name, condition, number)
        call = ["robotcar", "to-bag", str(raw / name), "--out"]
        assert main([*call, str(bags / name), "--raw"]) == 0
        assert main([*call, str(jpeg / name), "--quality", "95"]) == 0
    return raw.parent, bags.parent, jpeg.parent


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))


def predictions(root: Path, out: Path, *pair: str) -> list[dict[str, str]]:
    call = ["evaluate", "--model", MODEL, "--dataset", "robotcar", "--root", str(root)]
    assert main([*call, "--threads", "1", "--out", str(out), *pair]) == 0
    with (out / "predictions.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_raw_files_and_bags_give_the_same_matches(
    roots: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, bags, jpeg = roots
    found = predictions(raw, tmp_path / "raw")
    assert {row["dataset"] for row in found} == {"robotcar-am-pm", "robotcar-sum-win"}
    assert len(found) == 2 * FRAMES
    assert sum(int(row["correct"]) for row in found) > FRAMES
    capsys.readouterr()
    same = predictions(bags, tmp_path / "bags")
    told = capsys.readouterr().out
    assert f"traversal {PAIRS['am-pm'][1]} (bag)" in told
    assert same == found
    lossy = predictions(jpeg, tmp_path / "jpeg")
    # JPEG changes descriptors a little: a neighbouring frame may be nearer by a hair.
    assert [row["correct"] for row in lossy] == [row["correct"] for row in found]
    pairs = zip(lossy, found, strict=True)
    moved = [abs(int(a["found_index"]) - int(b["found_index"])) for a, b in pairs]
    assert sum(step > 0 for step in moved) <= len(found) // 10
    assert max(moved) <= 1


@pytest.mark.parametrize("pair", PAIRS)
def test_a_live_replay_gives_the_same_matches(
    roots: tuple[Path, Path, Path], tmp_path: Path, pair: str
) -> None:
    raw, bags, _ = roots
    database, query = (bags / "robotcar" / name for name in PAIRS[pair])
    route_map = tmp_path / "m.routemap"
    build = ["map", "build", "--bag", str(database), "--image-topic", RAW, "--model", MODEL]
    build += ["--pose-topic", "/ground_truth/odometry", "--threads", "1", "--out", str(route_map)]
    assert main(build) == 0
    found = predictions(raw, tmp_path / "raw", "--pair", pair)
    expected = {int(row["query"].split(".")[0]) * 1000: int(row["found_index"]) for row in found}

    settings = {"map": str(route_map), "model": MODEL, "sequence_filter": False, "threads": 1}
    offline = ["localize", "--bag", str(query), "--image-topic", RAW, "--map", str(route_map)]
    offline += ["--set", "sequence_filter=false", "--set", "threads=1"]
    assert main([*offline, "--set", f"model={MODEL}", "--out", str(tmp_path / "m.csv")]) == 0
    with (tmp_path / "m.csv").open() as stream:
        matches = {int(row["stamp_ns"]): int(row["place"]) for row in csv.DictReader(stream)}
    # The nearest place, or one of the next where things lie as the frame has them.
    assert matches.keys() == expected.keys()
    assert sum(matches[stamp] == expected[stamp] for stamp in matches) >= 0.75 * len(matches)

    with (
        spinning(Peer) as peer,
        spinning(
            lambda context: LocalizerNode(
                load_model,
                context=context,
                cli_args=["--ros-args", "-r", f"image:={RAW}"],
                parameter_overrides=[Parameter(k, value=v) for k, v in settings.items()],
            )
        ) as node,
    ):
        heard = peer.hear(DiagnosticArray, "/localizer/place_match")
        until(lambda: node.state == "active", "the node")
        until(lambda: peer.count_publishers("/localizer/place_match"), "its matches")
        player = "saane_ros.ros.image_player.node"
        given = {"source": str(query), "rate": "2.0", "wait_for_subscribers": "1"}
        arguments = [part for k, v in given.items() for part in ("-p", f"{k}:={v}")]
        call = [sys.executable, "-m", player, "--ros-args", *arguments, "-p", f"topics:=['{RAW}']"]
        subprocess.run(call, check=True, timeout=120)
        until(lambda: len(heard) >= FRAMES - node.counters["dropped"], "the last match")
    live = {nanoseconds(m.header.stamp): values(m.status[0]) for m in heard}
    assert len(live) > FRAMES / 2
    for stamp, found_live in live.items():
        assert int(found_live["best_place"]) == expected[stamp]
        assert int(found_live["place"]) == matches[stamp]


def test_pairs_belong_to_robotcar(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--model", MODEL, "--dataset", "sped", "--pair", "am-pm"]) == 1
    assert "give --dataset robotcar too" in capsys.readouterr().err
    assert main(["evaluate", "--model", MODEL, "--dataset", "robotcar", "--root", "absent"]) == 1
    assert "registration" in capsys.readouterr().err
