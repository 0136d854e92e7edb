"""The benchmark of large maps, on a small one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from saane_ros.localization.benchmark import SIZE, STREET, Drive, Views, measure, write_drive
from saane_ros.route_map import writing
from saane_ros.route_map.postprocessing import at_norm


def test_a_drive_is_written_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(120, SIZE)), axis=0)
    day = at_norm((walk - walk.mean(axis=0)).astype(np.float32))
    night = at_norm(day + rng.normal(scale=0.05, size=day.shape).astype(np.float32))
    views = Views(day, night, at_norm(rng.normal(size=(8, SIZE)).astype(np.float32)))
    count = 3 * STREET
    drive = Drive(views, count)
    rows = drive.places(0, count)
    np.testing.assert_array_equal(rows[480:520], drive.places(480, 520))
    steps = np.linalg.norm(np.diff(rows, axis=0), axis=1)
    assert steps[STREET - 1] > 2 * np.median(steps)
    monkeypatch.setattr(writing, "wants_index", lambda count, size: True)
    write_drive(tmp_path / "m", drive, views.cohort)
    figures = measure(str(tmp_path / "m"), views, count)
    assert figures["recall_1"] > 0.98
    assert figures["recall_64"] > 0.9
    assert 0 < figures["search_ms"] < figures["frame_ms"]
