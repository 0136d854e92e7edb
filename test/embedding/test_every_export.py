"""The graph of every system against PyTorch, for batches other than the traced one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_other_systems as others
import test_published_systems as published
from scenes import smooth_scene

from saane_ros.embedding.loading import load_embedder
from saane_ros.errors import SaaneError

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

IMAGES = [smooth_scene(1), smooth_scene(2, 50, 70), smooth_scene(3), smooth_scene(4, 70, 50)]
OWN = [name for name in others.SYSTEMS if name != "dense_vlad"]


def graph_serves(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str = "onnx"
) -> None:
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))
    plain = load_embedder(str(path), device="cpu")
    graph = load_embedder(str(path), device="cpu", engine=engine, strict=True)
    for batch in (IMAGES[:1], IMAGES):
        expected = plain.embed(batch, attention=True, grid=True)
        found = graph.embed(batch, attention=True, grid=True)
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine.descriptor, theirs.descriptor, atol=1e-4)
            assert mine.attention.keys() == theirs.attention.keys()
            for name, values in theirs.attention.items():
                np.testing.assert_allclose(mine.attention[name], values, atol=1e-3)
            np.testing.assert_allclose(
                mine.grid, theirs.grid, atol=1e-3 * np.abs(theirs.grid).max()
            )
    if plain.own_score[0]:
        own = [one.with_own_grids().embed(IMAGES, grid=True) for one in (graph, plain)]
        for mine, theirs in zip(*own, strict=True):
            np.testing.assert_allclose(mine.grid, theirs.grid, atol=2e-3)


@pytest.mark.parametrize("system", published.SYSTEMS)
def test_a_published_system(system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = published.write(tmp_path, published.card_of(system))
    graph_serves(path, tmp_path, monkeypatch)


@pytest.mark.parametrize("system", ["boq", "convap"])
def test_openvino_takes_images_one_by_one_where_the_graph_is_for_one(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exporter takes the batch for a constant in BoQ's attention, and not in Conv-AP."""
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    path = published.write(tmp_path, published.card_of(system))
    graph_serves(path, tmp_path, monkeypatch, "openvino")


@pytest.mark.parametrize("system", OWN)
def test_a_system_of_the_paper(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = others.write_system(tmp_path, others.card_of(system))
    graph_serves(path, tmp_path, monkeypatch)


@pytest.mark.parametrize("system", ["netvlad", "saane"])
@pytest.mark.parametrize("mode", ["binary", "soft", "learned"])
def test_a_filtered_one(
    system: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"weights": "filter"} if mode == "learned" else {}
    values: dict[str, Any] = others.card_of(
        system, semantics=others.SEMANTICS, filter={"mode": mode, **weights}
    )
    graph_serves(others.write_system(tmp_path, values), tmp_path, monkeypatch)


def test_dense_sift_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = others.write_system(tmp_path, others.card_of("dense_vlad"))
    with pytest.raises(SaaneError, match="its dense SIFT is computed by OpenCV"):
        graph_serves(path, tmp_path, monkeypatch)
