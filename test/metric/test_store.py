"""The files of points: what is written comes back, what is damaged is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saane_ros.errors import SaaneError
from saane_ros.metric.cameras import PLUMB_BOB, Camera
from saane_ros.metric.store import (
    METRIC_FILE,
    ROWS_FILE,
    STARTS_FILE,
    Points,
    joined,
    read_points,
    row_type,
    write_points,
)

CAMERA = Camera(640, 480, PLUMB_BOB, (400.0, 0.0, 320.0, 0.0, 400.0, 240.0, 0.0, 0.0, 1.0))


def some_points(counts: list[int], seed: int = 0, name: str = "rootsift-corners") -> Points:
    rng = np.random.default_rng(seed)
    rows = np.empty(sum(counts), row_type(16))
    rows["point"] = rng.normal(size=(len(rows), 3))
    rows["xy"] = rng.integers(0, 5000, (len(rows), 2))
    rows["descriptor"] = rng.integers(0, 255, (len(rows), 16))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Points(name, CAMERA, len(rows), 0.75, starts, rows, (0.125, 0.25 * seed))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 99))
def test_what_is_written_comes_back(tmp_path: Path, counts: list[int], seed: int) -> None:
    points = some_points(counts, seed)
    write_points(tmp_path, points)
    back = read_points(tmp_path, len(counts))
    assert (back.features, back.camera, back.points, back.error, back.moved) == (
        points.features,
        points.camera,
        points.points,
        points.error,
        points.moved,
    )
    assert back.starts.tolist() == points.starts.tolist()
    assert np.array_equal(back.rows, points.rows)
    for place in range(len(counts)):
        at, looks = back.seen_at(place)
        rows = points.rows[points.starts[place] : points.starts[place] + counts[place]]
        assert np.array_equal(at, rows["point"])
        assert np.array_equal(looks.xy, rows["xy"] / 8)
        assert np.array_equal(looks.descriptors, rows["descriptor"])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.data())
def test_places_are_cut_and_joined(counts: list[int], data: st.DataObject) -> None:
    points = some_points(counts)
    order = data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=8))
    chosen = points.of_places(order)
    expected = [points.seen_at(place)[0].tolist() for place in order]
    assert [chosen.seen_at(i)[0].tolist() for i in range(len(order))] == expected
    both = joined([points, chosen], [len(counts), len(order)])
    assert both is not None
    assert both.of_places(range(len(counts), len(counts) + len(order))).starts.tolist() == (
        chosen.starts.tolist()
    )
    assert np.array_equal(both.rows[: len(points.rows)], points.rows)
    assert both.error == pytest.approx(0.75 if len(points.rows) else 0.0)


def test_places_without_points_of_these_features_have_none_when_joined() -> None:
    assert joined([None, None], [2, 3]) is None
    own, more = some_points([2, 1]), some_points([4], seed=1)
    other = some_points([5], name="superpoint-16")
    both = joined([None, own, other, more], [3, 2, 1, 1])
    assert both is not None
    assert np.diff(both.starts).tolist() == [0, 0, 0, 2, 1, 0, 4]
    assert (both.features, both.points, both.places) == (own.features, 7, 3)
    assert np.array_equal(both.rows, np.concatenate([own.rows, more.rows]))
    assert both.seen_at(0)[0].shape == (0, 3)


def test_the_rows_are_mapped_and_not_read(tmp_path: Path) -> None:
    write_points(tmp_path, some_points([3, 2]))
    assert isinstance(read_points(tmp_path, 2).rows, np.memmap)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (METRIC_FILE, b"features: [}"),
        (METRIC_FILE, b"features: x"),
        (METRIC_FILE, b"[]"),
        (STARTS_FILE, b"not an array"),
        (ROWS_FILE, b""),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, name: str, content: bytes) -> None:
    write_points(tmp_path, some_points([3, 2]))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SaaneError, match=f"{name}.*build the map again"):
        read_points(tmp_path, 2)


def test_arrays_that_do_not_fit_are_told(tmp_path: Path) -> None:
    write_points(tmp_path, some_points([3, 2]))
    with pytest.raises(SaaneError, match=f"{STARTS_FILE} does not fit the map"):
        read_points(tmp_path, 3)
    for starts in ([0, 6, 5], [0, 3, 6]):
        np.save(tmp_path / STARTS_FILE, np.array(starts))
        with pytest.raises(SaaneError, match=f"{ROWS_FILE} does not fit the map"):
            read_points(tmp_path, 2)
