"""`saane evaluate drive` from the command line to its files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from metric_town import MetricTown
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.cli import main
from saane_ros.embedding import loading
from saane_ros.localization.sequence import TOLERANCE_STEPS


@pytest.fixture(autouse=True)
def _fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real but small model under any name: models are tested elsewhere."""
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A route of 30 places by day and by night, and a park."""
    for folder, first, bright in (("day", 0, 1.0), ("night", 0, 0.6), ("park/a", 500, 1.0)):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(first, first + 30):
            image = cv2.convertScaleAbs(smooth_scene(i, 60, 80), alpha=bright)
            cv2.imwrite(str(tmp_path / folder / f"{i}.png"), image[..., ::-1])
    lines = [f"{i}.png,{3 * i},0,0" for i in range(30)]
    for folder in ("day", "night"):
        (tmp_path / folder / "poses.csv").write_text("\n".join(["name,x,y,yaw", *lines]))
    return tmp_path


def test_one_drive(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = ["map", "build", "--images", str(data / "day"), "--out", str(data / "m.routemap")]
    assert main(made) == 0
    out = data / "out"
    call = ["evaluate", "drive", "--map", str(data / "m.routemap"), "--drive", str(data / "night")]
    options = ["--away", str(data / "park"), "--set", "error_rate=0.05", "--out", str(out)]
    assert main([*call, *options]) == 0
    printed = capsys.readouterr().out
    assert "night on m, colour-grid" in printed
    assert f"within {3 * TOLERANCE_STEPS:.1f} m of the true position" in printed
    content = json.loads((out / "drive.json").read_text())
    names = [(row["name"], row["tag"]) for row in content["scenarios"]]
    assert names[:2] == [("plain", ""), ("plain, odometry", "")]
    assert names[-3:] == [("inserted", "park"), ("alone", "park"), ("parked", "park")]
    assert content["scenarios"][0]["on"] == 30
    assert content["scenarios"][-2]["off"] == 30
    assert content["settings"]["error_rate"] == 0.05
    assert content["fingerprint"] == "colour-grid-4x6"
    assert content["map"]["places"] == 30
    assert content["command"].startswith("saane evaluate drive --map")
    assert content["command"].endswith("--set error_rate=0.05")
    html = (out / "drive.html").read_text()
    assert html.count("<svg") == 4
    assert "Belief over the route in time" in html


def test_a_suite_builds_its_maps(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "suite.yaml").write_text(
        "away: [park]\n"
        "drives:\n"
        "  names: {map: 'day[0:20]', drive: 'night[2:18:2]', truth: same-names}\n"
        "  poses: {map: day, drive: night, truth: night/poses.csv, without: [park]}\n"
    )
    call = ["evaluate", "drive", "--suite", str(data / "suite.yaml"), "--data", str(data)]
    assert main([*call, "--model", "one", "--out", str(data / "out")]) == 0
    printed = capsys.readouterr().out
    assert printed.index("names, colour-grid") < printed.index("poses, colour-grid")
    found = {
        name: json.loads((data / "out" / "one" / name / "drive.json").read_text())
        for name in ("names", "poses")
    }
    assert [one["map"]["places"] for one in found.values()] == [20, 30]
    assert [one["scenarios"][0]["on"] for one in found.values()] == [8, 30]
    assert [one["scenarios"][-1]["tag"] for one in found.values()] == ["park", ""]
    assert "up to 5 places (5 m) along the route" not in found["poses"]["rule"]


def test_a_suite_refines_the_poses_of_drives_with_a_camera(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pycolmap", reason="the extra metric is absent")
    town = MetricTown()
    for folder, first in (("day", 0), ("again", 1)):
        (tmp_path / folder).mkdir()
        lines = ["name,x,y,z,qx,qy,qz,qw"]
        for index in range(first, 21, 3):
            frame = town.frame(index)
            assert frame.pose is not None
            cv2.imwrite(str(tmp_path / folder / f"{index:03d}.png"), frame.image[..., ::-1])
            values = (*frame.pose.position, *frame.pose.orientation)
            lines.append(",".join([f"{index:03d}.png", *map(repr, values)]))
        (tmp_path / folder / "poses.csv").write_text("\n".join(lines))
    k = " ".join(map(str, np.reshape(town.camera.k, (3, 3)).ravel()))
    rows = np.column_stack([np.reshape(k.split(), (3, 3)), np.full(3, "0")])
    (tmp_path / "calib.txt").write_text("P0: " + " ".join(rows.ravel()) + "\n")
    pair = "map: day, drive: 'again[2:4]', truth: again/poses.csv"
    (tmp_path / "suite.yaml").write_text(
        f"drives:\n  points: {{{pair}, camera_info: calib.txt, camera_pose: 0 0 1.5 0 0 0}}\n"
    )
    call = ["evaluate", "drive", "--suite", str(tmp_path / "suite.yaml"), "--data", str(tmp_path)]
    assert main([*call, "--model", "one", "--out", str(tmp_path / "out")]) == 0
    content = json.loads((tmp_path / "out" / "one" / "points" / "drive.json").read_text())
    plain = content["scenarios"][0]
    assert (plain["name"], plain["frames"], plain["refined"]) == ("plain", 2, 2)
    assert plain["error_m"][0] < 0.05 < 0.3 < plain["place_m"][0]
    for mistake in ("camera_pose: 0 0 0 0 0 0", "camera_info: c.yaml, dataset: town"):
        (tmp_path / "suite.yaml").write_text(f"drives:\n  plain: {{{pair}, {mistake}}}\n")
        assert main([*call, "--model", "one", "--out", str(tmp_path / "out")]) == 1
        assert "the camera of drives.plain needs camera_info" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--map", "m"], "--map needs --drive"),
        (["--suite", "s", "--truth", "t"], "--truth goes with --map"),
        (["--map", "m", "--drive", "d", "--model", "a", "b"], "give one --model"),
        (["--suite", "gone.yaml"], "gone.yaml cannot be read"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "drive", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("saane: ")
    assert told in error
