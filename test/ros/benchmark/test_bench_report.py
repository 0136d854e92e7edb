"""The dated report of `make bench`: what it gathers, and what it tells of an earlier one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saane_ros.errors import SaaneError
from saane_ros.ros.benchmark.report import (
    fallen,
    keep_report,
    latest,
    ratios,
    report_of,
    reports,
    table_row,
)


def report(date: str, machine: str, **found: float) -> dict[str, object]:
    return {**report_of(found, {}), "date": date, "machine": machine}


def test_ratios_are_the_larger_the_better(tmp_path: Path) -> None:
    node = {"node_cost_ms": {"total": {"p95": 10.0}}, "overload": {"age_ratio": 3.0}}
    (tmp_path / "bench.json").write_text(json.dumps(node))
    assert ratios(tmp_path) == {"node": 0.4, "image age": 0.5}
    (tmp_path / "bench-robotcar.json").write_text(json.dumps({"ratio": 0.9}))
    assert ratios(tmp_path)["robotcar"] == 0.9
    (tmp_path / "bench-build.json").write_text(json.dumps({"ratio": 0.8}))
    assert ratios(tmp_path)["build"] == 0.8
    (tmp_path / "bench-maps.json").write_text(json.dumps({"1000000": {"frame_ms": 4.0}}))
    cost = {"budget_ms": 30.0, "frame_p95_ms": 40.0}
    (tmp_path / "bench-metric.json").write_text(json.dumps(cost))
    assert ratios(tmp_path)["1,000,000 places"] == 1.25
    assert ratios(tmp_path)["points"] == 0.75
    trials = {
        "torch fp32": {"ratio": 1.0, "equal_recall": True},
        "onnx fp32": {"ratio": 1.5, "equal_recall": True},
        "onnx int8": {"ratio": 4.0, "equal_recall": False},
        "openvino fp32": {"fault": "It is not installed."},
    }
    cpu = {"cpu": {"model": "saane-town", "size": [96, 128], "trials": trials}}
    (tmp_path / "bench-engines.json").write_text(json.dumps(cpu))
    engines = {name: value for name, value in ratios(tmp_path).items() if "saane" in name}
    assert engines == {"saane-town 96x128 cpu onnx fp32": 1.5}


def test_what_fell_by_more_than_a_tenth_on_the_same_machine(tmp_path: Path) -> None:
    first = report("2024-01-01T00:00:00Z", "a", node=2.0, robotcar=1.0)
    second = report("2024-02-01T00:00:00Z", "a", node=2.0, robotcar=2.0)
    other = report("2024-03-01T00:00:00Z", "b", node=9.0)
    for one in (second, other, first):
        keep_report(one, tmp_path)
    assert [one["date"][:7] for one in reports(tmp_path)] == ["2024-01", "2024-02", "2024-03"]
    assert latest(tmp_path, "c") is None
    earlier = latest(tmp_path, "a")
    assert earlier == second
    now = report("2024-04-01T00:00:00Z", "a", node=1.81, robotcar=1.7, new=1.0)
    assert fallen(now, earlier) == {"robotcar": pytest.approx(0.85)}
    assert fallen(now, None) == {}
    rows = (tmp_path / "README.md").read_text().splitlines()
    assert rows[-3:] == [table_row(one) for one in (first, second, other)]


def test_a_report_names_where_it_comes_from() -> None:
    found = report_of({"node": 1.23456}, {"bench": {}})
    assert found["ratios"] == {"node": 1.235}
    assert found["commit"]
    assert "cores" in found["machine"]
    assert set(found["versions"]) == {"saane_ros", "torch", "onnxruntime", "openvino"}


def test_a_damaged_report_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("[1,")
    with pytest.raises(SaaneError, match="holds no figures: remove it"):
        reports(tmp_path)
