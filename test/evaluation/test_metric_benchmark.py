"""What the benchmark of points reports, on a short street."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saane_ros.evaluation import metric, metric_benchmark
from saane_ros.metric.triangulation import MOST_PER_PLACE

pytest.importorskip("pycolmap", reason="the extra metric is absent")


def test_figures_of_a_street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric, "TOWN_LENGTH_M", 40.0)
    path = tmp_path / "bench-metric.json"
    assert metric_benchmark.main(["--out", str(path)]) == 0
    figures = json.loads(path.read_text())
    assert 0.5 <= figures["refined"] <= 1
    assert 0 < figures["features_ms"] < figures["frame_ms"] <= figures["frame_p95_ms"]
    row_bytes = 3 * 4 + 2 * 2 + 128
    assert 0.5 * MOST_PER_PLACE * row_bytes < figures["bytes_a_place"]
    assert figures["bytes_a_place"] < MOST_PER_PLACE * row_bytes + 16
    assert figures["build_s_a_place"] > 0
