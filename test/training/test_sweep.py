"""`saane train sweep`: heads of several widths on one benchmark, to table and charts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from safetensors.torch import load_file
from test_comparison import write_config, write_world

from saane_ros.cli import main
from saane_ros.training.comparison import Figures

pytest.importorskip("lightning_fabric", reason="the extra train is not installed")
pytest.importorskip("tensorboard", reason="the extra train is not installed")

from saane_ros.training.sweep import sweep_chart


def test_every_width_is_trained_measured_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_world(tmp_path)
    arguments = ["--config", str(write_config(tmp_path)), "--out", str(tmp_path / "out")]
    arguments += ["--data", str(tmp_path), "--weights", str(tmp_path), "--device", "cpu"]
    arguments += ["--results", str(tmp_path / "results"), "--channels"]
    assert main(["train", "sweep", *arguments, "64", "16", "32"]) == 0
    printed = capsys.readouterr().out
    assert re.findall(r"^\| C = (\d+) \|", printed, re.MULTILINE) == ["16", "32", "64"]
    found = json.loads((tmp_path / "results" / "small-channels.json").read_text())
    assert (found["system"], found["channels"]) == ("app_att", [16, 32, 64])
    assert len(found["figures"]) == 3 * 2
    sizes = {f["system"]: f["descriptor_bytes"] for f in found["figures"]}
    assert sizes == {f"C = {c}": 4 * 30 * c for c in (16, 32, 64)}
    heads = {16: "channels-16/heads", 32: "heads", 64: "channels-64/heads"}
    for channels, folder in heads.items():
        file = tmp_path / "out" / folder / "app_att-1" / "embedding" / "head.safetensors"
        assert load_file(file)["fusion1.appearance.weight"].shape[0] == channels
    for curve in ("paper", "headline"):
        svg = ElementTree.parse(tmp_path / "results" / f"small-channels-{curve}.svg").getroot()
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"

    written = file.stat().st_mtime_ns
    assert main(["train", "sweep", *arguments, "64"]) == 0
    assert file.stat().st_mtime_ns == written
    assert main(["train", "sweep", *arguments, "2"]) == 1
    assert "narrower than its attention's reduction" in capsys.readouterr().err


def test_the_chart_has_the_mean_over_seeds_by_powers_of_two() -> None:
    def of(width: int, seed: int, benchmark: str, value: float, group: str = "") -> Figures:
        name = f"C = {width}"
        return Figures(name, seed, benchmark, "raw", 1.0, 1.0, value, value / 2, 8, 0.1, group)

    figures = [
        of(width, seed, drive, base + width / 128 + seed / 10, "suburb")
        for width in (16, 32, 64)
        for seed in (0, 1)
        for drive, base in (("one", 0.0), ("two", 0.2))
    ]
    root = ElementTree.fromstring(sweep_chart([16, 32, 64], figures, "paper"))
    lines = [
        [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        for line in root.iter("polyline")
    ]
    assert len(lines) == 2  # average and worst
    for (x0, y0), (x1, y1), (x2, y2) in lines:
        assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
        assert (y1 - y2) / (y0 - y1) == pytest.approx(2, rel=0.02)
    labels = [element.text for element in root.iter("text")]
    assert {"16", "32", "64", "suburb average", "suburb worst"} <= set(labels)
    # The average of both drives is 0.1 above the worse one, the height of the axis is 1.
    height = 300 - 40 - 30
    assert lines[1][0][1] - lines[0][0][1] == pytest.approx(0.1 * height, abs=0.2)
