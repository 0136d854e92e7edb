"""The paper's experiments by command, on small data in the official layouts."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from official_layouts import write_paper_datasets

from saane_ros.cli import main

ROOT = Path(__file__).resolve().parents[2]
MODELS = {"App": "saane-town:app", "SAANE": "saane-town"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("paper")
    write_paper_datasets(root)
    table = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text())
    rows = [{**row, "model": MODELS.get(row["title"])} for row in table["rows"]]
    table["rows"] = [row for row in rows if row["model"]]
    (root / "table.yaml").write_text(yaml.safe_dump(table))
    return root


@pytest.fixture(autouse=True)
def own_cache(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAANE_CACHE", str(world / "cache"))


def naive_area(rows: Sequence[dict[str, str]], ratio: str, of_accepted: bool) -> float:
    """By trying every ratio as the threshold: recall of accepted + missed, or of all queries."""
    points = []
    for threshold in sorted({float(row[ratio]) for row in rows}, reverse=True):
        accepted = [row for row in rows if float(row[ratio]) >= threshold]
        right = sum(row["correct"] == "1" for row in accepted)
        missed = len(rows) - len(accepted)
        recall = right / max(1, right + missed) if of_accepted else right / len(rows)
        points.append((recall, right / len(accepted)))
    points.insert(0, (0.0, points[0][1]))
    return 100 * sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))


def expected_cells(rows: list[dict[str, str]]) -> list[str]:
    """Five columns as they are printed, without what was published."""
    by_dataset: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row["has_match"] == "1":
            by_dataset.setdefault(row["dataset"], []).append(row)
    areas = {
        name: [naive_area(own, "ratio_plain", True), naive_area(own, "ratio_windowed", False)]
        for name, own in by_dataset.items()
    }
    drives = np.array([value for name, value in areas.items() if name.startswith("st_lucia/")])
    assert len(drives) == 9
    columns = [
        areas["nordland-1403"],
        drives.mean(axis=0),
        drives.min(axis=0),
        areas["robotcar-am-pm"],
        areas["robotcar-sum-win"],
    ]
    return [f"{paper:.1f} / {headline:.1f}" for paper, headline in columns]


def test_one_command_gives_the_papers_table(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--table", str(world / "table.yaml"), "--root", str(world)]
    assert main([*arguments, "--device", "cpu", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    content = json.loads((tmp_path / "results.json").read_text())
    with (tmp_path / "predictions.csv").open() as stream:
        predictions = list(csv.DictReader(stream))
    assert {row["dataset"].split("/")[0] for row in predictions} == {
        "nordland-1403", "st_lucia", "robotcar-am-pm", "robotcar-sum-win"
    }  # fmt: skip
    table, counts = content["sections"]
    published = {"App": "58.0 71.4 55.5 36.6 79.6", "SAANE": "77.3 78.3 69.1 67.3 88.5"}
    for row in table["rows"]:
        cells = list(row.values())
        assert cells[1] == MODELS[cells[0]]
        own = [p for p in predictions if p["model"] == cells[1]]
        figures = published[cells[0]].split()
        assert cells[2:7] == [
            f"{cell} [{figure}]" for cell, figure in zip(expected_cells(own), figures, strict=True)
        ]
        assert all(float(time) > 0 for time in cells[7:])
        assert cells[3] in printed
    assert len({tuple(row.values())[2] for row in table["rows"]}) == 2

    sizes = {row["images"]: (row["here"], row["published"]) for row in counts["rows"]}
    assert sizes["Nordland, winter"] == ("12", "1403")
    assert sizes["St Lucia, 100909_0845"] == ("12", "1409")
    assert sizes["St Lucia, nine drives"] == ("5 (4 to 6)", "about 1350 each")
    assert sizes["RobotCar, snow winter"] == ("6", "2408")

    assert content["machine"] in (tmp_path / "report.html").read_text()
    assert "--table" in content["command"]


def test_a_part_of_the_table_leaves_the_other_cells_empty(world: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", "--table", str(world / "table.yaml"), "--root", str(world)]
    arguments += ["--model", "saane-town", "--dataset", "nordland-1403", "--attention"]
    assert main([*arguments, "--device", "cpu", "--out", str(tmp_path)]) == 0
    table, counts, attention = json.loads((tmp_path / "results.json").read_text())["sections"]
    app, saane = (list(row.values()) for row in table["rows"])
    assert app[2] == "- / - [58.0]"
    assert saane[2] != "- / - [77.3]"
    assert saane[3:7] == ["- / - [78.3]", "- / - [69.1]", "- / - [67.3]", "- / - [88.5]"]
    assert [row["here"] for row in counts["rows"]] == ["12", "12", *["-"] * 6]
    assert attention["title"] == "Attention by class, saane-town on nordland-1403"
    assert sum(float(row["% of cells"]) for row in attention["rows"]) == pytest.approx(100, abs=0.1)
    html = (tmp_path / "report.html").read_text()
    assert html.index("Table 1 of Seymour") < html.index("Attention by class")
    assert "<rect" in html


def test_panels_of_several_models(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "panels", "--model", "saane-town", "saane-town:app", "--root"]
    arguments += [str(world), "--dataset", "nordland-1403", "--device", "cpu", "--out"]
    arguments += [str(tmp_path / "panels"), "--queries"]
    assert main([*arguments, "3"]) == 0
    assert "3 queries, 2 models" in capsys.readouterr().out
    html = (tmp_path / "panels" / "panels.html").read_text()
    assert html.count("<h3>Query") == 3
    assert html.count('alt="semantic attention') == html.count('alt="appearance attention') == 6
    assert "images-00202.png" in html
    assert main([*arguments, "images-00999.png"]) == 1
    assert "has no query 'images-00999.png'" in capsys.readouterr().err
