"""How engines are measured and which wins; the command on a folder of images."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import smooth_scene
from test_network_embedder import write_model

from saane_ros.cli import main
from saane_ros.embedding.choice import Choice, kept_choice
from saane_ros.embedding.loading import load_embedder, load_exportable
from saane_ros.embedding.tuning import (
    Trial,
    described,
    drive_images,
    equal,
    fastest,
    hits_at_1,
    town_images,
)
from saane_ros.errors import SaaneError


def trial(ms: float, hits: list[int], fault: str = "", engine: str = "onnx") -> Trial:
    return Trial(Choice(engine, "fp32"), ms, hits=np.array(hits, bool), fault=fault)


def test_hits_are_those_of_the_nearest_by_distance() -> None:
    random = np.random.default_rng(0)
    queries, references = random.standard_normal((2, 30, 5)).astype(np.float32)
    correct = [random.choice(30, 8, replace=False) for _ in range(30)]
    hits = hits_at_1(queries, references, correct)
    for query, rows, hit in zip(queries, correct, hits, strict=True):
        distances = [float(np.linalg.norm(query - reference)) for reference in references]
        assert hit == (distances.index(min(distances)) in rows)
    assert 0 < hits.sum() < 30


def test_the_fastest_that_loses_no_more_than_chance_and_half_a_point() -> None:
    reference = trial(50, [1] * 150 + [0] * 50, engine="torch")
    within = trial(30, [1] * 148 + [0] * 52)  # lost 2: 2 - sqrt(2) is below 1 of 200
    swapped = trial(25, [1] * 145 + [0] * 5 + [1] * 5 + [0] * 45)  # lost 5, won 5
    worse = trial(10, [1] * 145 + [0] * 55)  # lost 5: 5 - sqrt(5) is above 1
    absent = trial(1, [1] * 200, fault="not installed")
    assert [equal(t, reference) for t in (within, swapped, worse, absent)] == [1, 1, 0, 0]
    assert fastest([reference, within, swapped, worse, absent]) is swapped
    assert fastest([reference, worse, absent]) is reference


def test_every_other_image_of_a_drive_lies_between_its_neighbours() -> None:
    images = [np.full((2, 2, 3), value, np.uint8) for value in range(7)]
    found = drive_images(images)
    for query, rows in zip(found.queries, found.correct, strict=True):
        near = {int(query[0, 0, 0]) - 1, int(query[0, 0, 0]) + 1}
        assert {int(found.references[row][0, 0, 0]) for row in rows} == near
    with pytest.raises(SaaneError, match="at least 4 images"):
        drive_images(images[:3])


def test_the_town_shows_one_place_twice() -> None:
    images = town_images(4)
    assert [len(side) for side in (images.queries, images.references)] == [4, 4]
    assert [rows.tolist() for rows in images.correct] == [[0], [1], [2], [3]]
    night, day = (np.mean([i.mean() for i in side]) for side in (images.queries, images.references))
    assert night < day


def test_the_command_keeps_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))
    model = str(write_model(tmp_path))
    drive = tmp_path / "drive"
    drive.mkdir()
    for index in range(12):
        cv2.imwrite(str(drive / f"{index:02}.png"), smooth_scene(index // 2)[..., ::-1])
    command = ["models", "tune", model, "--device", "cpu", "--threads", "1"]
    assert main([*command, "--images", str(drive), "--int8"]) == 0
    told = capsys.readouterr().out
    rows = re.findall(r"^(\w+) (\w+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) ", told, re.M)
    measured = [tuple(row[:2]) for row in rows]
    assert measured[:5] == [
        ("torch", "fp32"),
        ("torch", "bf16"),
        ("onnx", "fp32"),
        ("openvino", "fp32"),
        ("openvino", "bf16"),
    ]
    assert measured[5:] == [("onnx", "int8"), ("openvino", "int8")]
    assert all(float(row[5]) > 0.97 for row in rows)  # the least cosine
    kept = kept_choice(load_exportable(model).fingerprint, "cpu")
    assert kept is not None
    assert f"auto is now {kept.engine} in {kept.precision}, kept in " in told
    assert load_embedder(model, "", "cpu", threads=1, engine="auto").engine == kept.engine


def test_int8_needs_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(write_model(tmp_path))
    assert main(["models", "tune", model, "--int8"]) == 1
    assert "give their folder with --images" in capsys.readouterr().err


def test_descriptors_are_those_of_single_images(tmp_path: Path) -> None:
    embedder = load_embedder(str(write_model(tmp_path)), device="cpu")
    images = [smooth_scene(seed) for seed in range(10)]
    alone = [embedder.embed([image])[0].descriptor for image in images]
    np.testing.assert_allclose(described(embedder, images), np.stack(alone), atol=1e-4)
