"""The file of a place graph: damage is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.errors import SaaneError
from saane_ros.route_map.place_graph import build_graph, read_graph_file, write_graph_file


def whole_file(folder: Path) -> Path:
    path = folder / "graph.npz"
    along = np.arange(0.0, 21.0, 2.0)
    lanes = [np.stack((along, np.full(len(along), y)), axis=1) for y in (0.0, 1.0)]
    rows = np.arange(2 * len(along))
    write_graph_file(
        path, build_graph(np.concatenate(lanes), [rows[: len(along)], rows[len(along) :]])
    )
    return path


@given(st.data())
def test_a_damaged_file_is_told(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = whole_file(tmp_path_factory.mktemp("graph"))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        graph = read_graph_file(path, 22)
    except SaaneError:
        return
    assert graph.spot.shape == (22,)
    assert (graph.lengths > 0).all()
    assert len(graph.around(0, 100.0)) <= graph.count


@pytest.mark.parametrize(
    "change",
    [
        {"spot": np.arange(21, dtype=np.int32)},
        {"spot": np.arange(22, dtype=np.int32) + 1},
        {"spot": np.zeros(22)},
        {"edges": np.array([[0, 22]], np.int32)},
        {"edges": np.array([[-1, 0]], np.int32)},
        {"lengths": np.zeros(1, np.float32)},
        {"lengths": np.array([np.nan], np.float32)},
        {"lengths": np.array(["long"])},
        {"step": np.array(-1.0)},
        {"step": np.array([1.0, 2.0])},
        {"step": np.array(np.inf)},
    ],
)
def test_arrays_that_do_not_fit_are_told(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    path = tmp_path / "graph.npz"
    good = {
        "spot": np.arange(22, dtype=np.int32),
        "edges": np.array([[0, 1]], np.int32),
        "lengths": np.ones(1, np.float32),
        "step": np.array(2.0),
    }
    np.savez(path, **good)
    assert read_graph_file(path, 22).count == 22
    np.savez(path, **{**good, **change})
    with pytest.raises(SaaneError, match=r"graph\.npz is no graph of this map's places"):
        read_graph_file(path, 22)
    np.savez(path, **{name: values for name, values in good.items() if name != "edges"})
    with pytest.raises(SaaneError, match="is no graph"):
        read_graph_file(path, 22)
