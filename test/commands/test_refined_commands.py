"""`saane localize` and `saane evaluate drive` on a map with points."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import cv2
import pytest
import yaml
from metric_town import MetricTown
from scenes import ColourGridEmbedder

from saane_ros.cli import main
from saane_ros.embedding import loading
from saane_ros.types import Frame

pytest.importorskip("pycolmap", reason="the extra metric is absent")


def test_both_tell_the_poses_by_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())
    town = MetricTown()
    route_map, drive = town.build(tmp_path), tmp_path / "drive"
    drive.mkdir()
    frames: dict[str, Frame] = {}
    rows = ["name,x,y,z,qx,qy,qz,qw"]
    for index in range(1, 30, 2):
        name, frame = f"{index:02}.png", town.frame(index)
        assert frame.pose is not None
        cv2.imwrite(str(drive / name), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
        rows.append(",".join([name, *map(repr, [*frame.pose.position, *frame.pose.orientation])]))
        frames[name] = frame
    (drive / "poses.csv").write_text("\n".join(rows))
    camera = tmp_path / "camera.yaml"
    values = {
        "image_width": town.camera.width,
        "image_height": town.camera.height,
        "camera_matrix": {"data": list(town.camera.k)},
        "distortion_coefficients": {"data": []},
    }
    camera.write_text(yaml.safe_dump(values))
    common = ["--map", str(route_map.path), "--camera-info", str(camera)]

    out, tum = tmp_path / "m.csv", tmp_path / "poses.tum"
    call = ["localize", *common, "--images", str(drive)]
    assert main([*call, "--out", str(out), "--poses-out", str(tum)]) == 0
    with out.open() as stream:
        found = list(csv.DictReader(stream))
    assert [row["pose_source"] for row in found] == ["refined"] * len(frames)
    for row in found:
        at = tuple(float(row[axis]) for axis in "xyz")
        pose = frames[Path(row["name"]).name].pose
        assert pose is not None
        assert math.dist(at, pose.position) < 0.15
        assert int(row["inliers"]) >= 10
        assert 0 < float(row["reprojection_px"]) < 3
    assert len(tum.read_text().splitlines()) == 1 + len(frames)
    again = tmp_path / "again.csv"
    assert main([*call, "--out", str(again)]) == 0
    assert again.read_bytes() == out.read_bytes()

    results = tmp_path / "results"
    assert main(["evaluate", "drive", *common, "--drive", str(drive), "--out", str(results)]) == 0
    plain = json.loads((results / "drive.json").read_text())["scenarios"][0]
    assert plain["refined"] == plain["right"] == len(frames)
    assert plain["refined_share"] == 1.0
    assert plain["refined_m"][0] < 0.05 < plain["place_m"][0]
    assert plain["refined_nees"]["count"] == len(frames)
