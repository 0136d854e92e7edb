"""`saane map index` and what `saane map info` says of a search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from saane_ros.cli import main
from saane_ros.route_map import derived
from saane_ros.route_map.cohort import Cohort
from saane_ros.route_map.info import MapInfo
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.writing import write_map
from saane_ros.types import Place

COUNT, SIZE = 600, 20


@pytest.fixture
def road(tmp_path: Path) -> str:
    rng = np.random.default_rng(1)
    rows = np.cumsum(rng.normal(size=(COUNT, SIZE)), axis=0).astype(np.float32)
    info = MapInfo("road", "f", "model", "map", None, "now", COUNT, SIZE, "float32")
    places = [Place(i, str(i), i) for i in range(COUNT)]
    path = tmp_path / "road.routemap"
    write_map(path, info, places, rows, range(COUNT), [], Cohort(rows[:8]))
    return str(path)


def test_an_index_is_made_and_told(
    road: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", "index", road]) == 0
    told = capsys.readouterr().out
    size = sum(path.stat().st_size for path in Path(road).iterdir())
    assert f"places       600, no poses, {size / COUNT:.0f} bytes a place\n" in told
    assert "search       exact\n" in told
    monkeypatch.setattr(derived, "wants_index", lambda count, size: True)
    assert main(["map", "index", road, "--values", "12", "--probed", "5"]) == 0
    assert "search       index of 12 values, 5 of 18 lists, " in capsys.readouterr().out
    index = RouteMap.open(road).index
    assert index is not None
    assert (index.values, index.lists, index.probed) == (12, 18, 5)
    (Path(road) / "index.faiss").unlink()
    assert main(["map", "info", road]) == 0
    assert "lacks index.faiss" in capsys.readouterr().out
    assert main(["map", "verify", road]) == 1


def test_a_trial_changes_nothing(road: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in Path(road).iterdir()}
    assert main(["map", "index", road, "--try"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["search", "recall@1", "of", "64", "nearest", "ms", "MB"]
    assert lines[1].split()[:3] == ["exact", "1.000", "1.000"]
    assert {path.name: path.read_bytes() for path in Path(road).iterdir()} == before
