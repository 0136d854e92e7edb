"""`saane evaluate` from the command line to its files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import smooth_scene

from saane_ros.cli import main

PEERS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "peer_scores"


@pytest.fixture
def route(tmp_path: Path) -> Path:
    """Nine places, the last of which is never found, with descriptors of a good and a bad model."""
    rng = np.random.default_rng(4)
    for side in ("ref", "query"):
        (tmp_path / "route" / side).mkdir(parents=True)
        for number in range(9):
            path = tmp_path / "route" / side / f"{number}.png"
            cv2.imwrite(str(path), smooth_scene(number, 30, 40)[..., ::-1])
    references = rng.normal(size=(9, 16))
    good = references + 0.05 * rng.normal(size=(9, 16))
    good[8] = references[2]
    np.savez(tmp_path / "good.npz", queries=good, references=references)
    np.savez(tmp_path / "bad.npz", queries=rng.normal(size=(9, 16)), references=references)
    return tmp_path


def test_one_table_and_three_files(route: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = route / "out"
    models = [str(route / f"{name}.npz") for name in ("good", "bad")]
    assert (
        main(["evaluate", "--model", *models, "--dataset", str(route / "route"), "--out", str(out)])
        == 0
    )
    printed = capsys.readouterr().out
    assert "plain+R1*" in printed
    assert "embed MB" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("good ")]
    assert line.split()[-2:] == ["-", "-"]  # nobody knows what made these descriptors
    assert "9 queries, 9 with a match and 0 without" in printed
    content = json.loads((out / "results.json").read_text())
    rows = {row["model"]: row for row in content["rows"]}
    assert rows["good"]["recall"]["1"] == pytest.approx(8 / 9)
    assert rows["good"]["model_bytes"] is rows["good"]["embed_added_bytes"] is None
    assert content["command"].startswith("saane evaluate --model")
    with (out / "predictions.csv").open() as stream:
        predictions = list(csv.DictReader(stream))
    assert len(predictions) == 18
    wrong = [row for row in predictions if row["model"] == "good" and row["correct"] == "0"]
    assert [(row["query"], row["found"]) for row in wrong] == [("8.png", "2.png")]
    html = (out / "report.html").read_text()
    assert html.count("<svg") == 2
    assert "8.png: 2.png" in html
    assert "Distances, queries downwards" in html


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "needs --model and --dataset"),
        (["--model", "x.npz"], "needs --model and --dataset"),
        (["--model", "x.npz", "--dataset", "corridr"], "did you mean corridor"),
        (["--model", "gone.npz", "--dataset", "{route}"], "gone.npz is no readable"),
        (["--model", "{good}", "{good}x", "--dataset", "{route}"], "There is no model"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    arguments: list[str], told: str, route: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"route": route / "route", "good": route / "good.npz"}
    assert main(["evaluate", *(a.format(**places) for a in arguments)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("saane: ")
    assert told in error
    assert "Traceback" not in error


def test_the_described_datasets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--list"]) == 0
    printed = capsys.readouterr().out
    assert "st_lucia  (st_lucia)" in printed
    assert "to get it: download the ten sessions" in printed


@pytest.mark.skipif(not PEERS.is_dir(), reason="recorded peer scores are not at ../shared/data")
def test_recorded_results_of_published_methods(tmp_path: Path) -> None:
    folders = [str(PEERS / name) for name in ("SPEDTEST", "corridor")]
    assert (
        main(["evaluate", "--model", str(PEERS), "--dataset", *folders, "--out", str(tmp_path)])
        == 0
    )
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    found = {(row["dataset"], row["model"]): round(row["recall"]["1"], 3) for row in rows}
    expected = {
        "SPEDTEST": {
            "AMOSNet": 0.794,
            "HybridNet": 0.794,
            "denseVLAD": 0.728,
            "NetVLAD": 0.679,
            "CALC": 0.427,
        },
        "corridor": {"HybridNet": 0.901, "AMOSNet": 0.847, "denseVLAD": 0.703, "NetVLAD": 0.676},
    }
    for dataset, methods in expected.items():
        for method, recall in methods.items():
            assert found[dataset, method] == recall
