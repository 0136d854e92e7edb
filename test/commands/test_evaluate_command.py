"""`saane evaluate` from the command line to its files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from scenes import smooth_scene

from saane_ros.cli import main
from saane_ros.embedding.assembly import build_network
from saane_ros.files import sha256_of
from saane_ros.weights.card_files import list_cards, load_card

PARTS = ("trunk", "head")
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


@pytest.fixture
def netvlad(route: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A card of NetVLAD with random weights."""
    monkeypatch.setenv("SAANE_CACHE", str(route / "cache"))
    values = {
        "name": "tiny-netvlad",
        "system": "netvlad",
        "appearance": {"trunk": "resnet18", "width": 16, "weights": "trunk"},
        "head": {"weights": "head"},
        "aggregation": {"words": 4, "whitening": 12},
        "preprocessing": {"height": 96, "width": 128},
        "licence": "MIT",
        "weights": {key: {"file": f"{key}.safetensors", "sha256": "0" * 64} for key in PARTS},
    }
    path = route / "tiny-netvlad.yaml"
    path.write_text(yaml.safe_dump(values))
    torch.manual_seed(0)
    network = build_network(load_card(path))
    torch.nn.init.normal_(network.head.centroids, 0, 0.1)
    for key, part in zip(PARTS, (network.appearance, network.head), strict=True):
        save_file(part.state_dict(), route / f"{key}.safetensors")
        values["weights"][key]["sha256"] = sha256_of(route / f"{key}.safetensors")
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_row_a_kind_of_re_ranking_with_its_cost(
    route: Path, netvlad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ("grids", "rapid", "mutual", "own")
    call = ["evaluate", "--model", str(netvlad), str(route / "good.npz"), "--device", "cpu"]
    call += ["--dataset", str(route / "route"), "--out", str(route / "out"), "--rerank", *kinds]
    assert main(call) == 0
    content = json.loads((route / "out" / "results.json").read_text())
    rows = {row["model"]: row for row in content["rows"]}
    assert list(rows) == ["tiny-netvlad", "good", *(f"tiny-netvlad+{kind}" for kind in kinds)]
    assert "--rerank grids rapid mutual own --device cpu" in content["command"]
    plain = rows["tiny-netvlad"]
    cells = 6 * 8
    patches = (5 * 7 + 2 * 4) * 12 * 2  # sides 2 and 5 of 6 x 8 cells, twelve values of two bytes
    for kind in kinds:
        row = rows[f"tiny-netvlad+{kind}"]
        assert row["recall"]["1"] == 1.0  # both sides show the same images
        extra = row["descriptor_bytes"] - plain["descriptor_bytes"]
        assert extra == (patches if kind == "own" else 32 * cells)
        assert row["search_ms"] > plain["search_ms"]
    assert "tiny-netvlad+own" in capsys.readouterr().out


def test_a_model_without_local_features_of_its_own_is_told(
    route: Path, netvlad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = yaml.safe_load(netvlad.read_text())
    del values["aggregation"], values["head"]["weights"], values["weights"]["head"]
    other = route / "pooled.yaml"
    other.write_text(yaml.safe_dump({**values, "name": "pooled", "system": "app"}))
    call = ["evaluate", "--model", str(other), "--dataset", str(route / "route")]
    assert main([*call, "--out", str(route / "out"), "--rerank", "own"]) == 1
    assert "pooled.yaml has local features of its own: leave out" in capsys.readouterr().err
    call[2:3] = [str(other), str(netvlad)]
    assert main([*call, "--out", str(route / "out"), "--rerank", "mutual", "own"]) == 0
    rows = json.loads((route / "out" / "results.json").read_text())["rows"]
    reranked = [row["model"] for row in rows if "+" in row["model"]]
    assert reranked == ["pooled+mutual", "tiny-netvlad+mutual", "tiny-netvlad+own"]
    with pytest.raises(SystemExit):
        main([*call, "--rerank", "ransac"])


def test_what_authors_published_stands_below_the_table(
    route: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = route / "out"
    call = ["evaluate", "--model", str(route / "good.npz"), "--dataset", str(route / "route")]
    assert main([*call, "--out", str(out)]) == 0
    assert "as its source published it" not in capsys.readouterr().out
    assert main([*call, "--out", str(out), "--published"]) == 0
    printed = capsys.readouterr().out
    table, published = printed.split("as its source published it")
    assert "plain+R1*" in table
    (line,) = [one for one in published.splitlines() if "selavpr-dinov2" in one and "St Luc" in one]
    assert "[99.8]" in line
    content = json.loads((out / "results.json").read_text())
    assert content["command"].endswith(f"--published --out {out}")
    (section,) = content["sections"]
    assert section["title"] == "Published"
    figures = [[one.name, f"[{f.recall_at_1:.1f}]"] for one in list_cards() for f in one.published]
    assert [[row["model"], row["R@1"]] for row in section["rows"]] == figures
    assert "[99.8]" in (out / "report.html").read_text()


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
