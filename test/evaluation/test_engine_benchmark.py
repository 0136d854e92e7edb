"""What the engines bring, measured for a small network on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saane_ros.evaluation.engine_benchmark import main, resized_card
from saane_ros.weights.card_files import load_card


def test_every_engine_is_measured_beside_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "out" / "engines.json"
    assert main(["--frames", "12", "--threads", "1", "--device", "cpu", "--out", str(path)]) == 0
    figures = json.loads(path.read_text())["cpu"]
    rows = figures["trials"]
    assert list(rows) == [
        *("torch fp32", "torch bf16", "onnx fp32", "openvino fp32", "openvino bf16"),
        *("onnx int8", "openvino int8"),
    ]
    first = rows["torch fp32"]
    for row in rows.values():
        assert row["ratio"] == pytest.approx(first["ms"] / row["ms"])
        assert 0.95 < row["cosine"][0] <= row["cosine"][1] < 1.0001
    assert rows["onnx int8"]["cosine"][0] < rows["onnx fp32"]["cosine"][0]
    assert rows["onnx int8"]["megabytes"] < first["megabytes"] / 2
    assert figures["model"] in capsys.readouterr().out
    assert not list((tmp_path / "cache").rglob("*.onnx"))


def test_a_card_is_written_at_another_size(tmp_path: Path) -> None:
    path = resized_card("saane-resnet18", (480, 640), tmp_path)
    plain, other = load_card("saane-resnet18"), load_card(str(path))
    assert (other.preprocessing.height, other.preprocessing.width) == (480, 640)
    assert other.preprocessing.mean == plain.preprocessing.mean
    assert other.head == plain.head
