"""`saane map build --features` with a DISK of random weights, and localizing in what it built."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import cv2
import pytest
import yaml
from feature_files import write_card
from metric_town import MOUNT, MetricTown
from scenes import ColourGridEmbedder

from saane_ros.cli import main
from saane_ros.embedding import loading
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Pose

pytest.importorskip("pycolmap", reason="the extra metric is absent")
pytest.importorskip("kornia", reason="the extra kornia is absent")

BODY = " ".join(map(str, [*MOUNT.position, 0, 0, 0]))


def write_drive(town: MetricTown, folder: Path, indices: range) -> dict[str, Pose]:
    """Images with poses, and a file of intrinsics beside the folder; poses by name."""
    folder.mkdir()
    rows, poses = ["name,x,y,z,qx,qy,qz,qw"], {}
    for index in indices:
        name, frame = f"{index:02}.png", town.frame(index)
        assert frame.pose is not None
        cv2.imwrite(str(folder / name), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
        rows.append(",".join([name, *map(repr, [*frame.pose.position, *frame.pose.orientation])]))
        poses[name] = frame.pose
    (folder / "poses.csv").write_text("\n".join(rows))
    values = {
        "image_width": town.camera.width,
        "image_height": town.camera.height,
        "camera_matrix": {"data": list(town.camera.k)},
        "distortion_coefficients": {"data": []},
    }
    (folder.parent / "camera.yaml").write_text(yaml.safe_dump(values))
    return poses


def test_a_map_of_learned_features_is_localized_in_by_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))
    town, out = MetricTown(), tmp_path / "town.routemap"
    card = write_card(tmp_path / "cards", "disk")
    write_drive(town, tmp_path / "mapped", range(0, 24, 3))
    truth = write_drive(town, tmp_path / "drive", range(4, 17, 4))
    intrinsics = ["--camera-info", str(tmp_path / "camera.yaml")]
    build = ["map", "build", "--images", str(tmp_path / "mapped"), "--out", str(out), *intrinsics]
    build += ["--camera-pose", BODY]
    assert main([*build, "--features", str(card)]) == 1
    assert "--features goes with --metric" in capsys.readouterr().err
    assert main([*build, "--metric", "--features", "dsk"]) == 1
    assert "did you mean disk?" in capsys.readouterr().err
    assert main([*build, "--metric", "--features", str(card)]) == 0
    points = RouteMap.open(out).points
    assert points is not None
    assert points.features.startswith(f"{card}@")
    assert f" of {points.features}, " in capsys.readouterr().out

    table = tmp_path / "m.csv"
    call = ["localize", "--map", str(out), "--images", str(tmp_path / "drive"), *intrinsics]
    assert main([*call, "--out", str(table)]) == 0
    with table.open() as stream:
        found = list(csv.DictReader(stream))
    assert [row["pose_source"] for row in found] == ["refined"] * len(truth)
    for row in found:
        at = tuple(float(row[axis]) for axis in "xyz")
        assert math.dist(at, truth[Path(row["name"]).name].position) < 0.3

    (card.parent / "depth-save.pth").unlink()
    capsys.readouterr()
    assert main([*call, "--out", str(table)]) == 0
    told = capsys.readouterr()
    assert "depth-save.pth (from http://127.0.0.1:9/depth-save.pth) is in none" in (
        told.out + told.err
    )
    with table.open() as stream:
        assert {row["pose_source"] for row in csv.DictReader(stream)} == {"place"}
