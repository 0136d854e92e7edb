"""The second stage of an evaluation: what it changes in a search."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.images.lists import ImageFiles
from saane_ros.evaluation.reranking import reranked
from saane_ros.evaluation.searches import search_descriptors
from saane_ros.route_map.feature_grids import SCORES


@pytest.mark.parametrize("kind", SCORES)
def test_first_places_are_put_right_and_the_rest_stays(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Descriptors that say nothing, and grids of the same views with noise."""
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("saane_ros.evaluation.reranking.FIRST", 8)
    paths = []
    for name in ("ref", "query"):
        for i in range(12):
            image = smooth_scene(i).astype(np.float64)
            image += 8 * (name == "query") * np.random.default_rng(i).normal(size=image.shape)
            paths.append(tmp_path / f"{name}{i}.png")
            cv2.imwrite(str(paths[-1]), np.clip(image, 0, 255).astype(np.uint8)[..., ::-1])
    lists = ImageFiles(paths[12:]), ImageFiles(paths[:12])
    dataset = Dataset("road", *lists, tuple(np.array([i]) for i in range(12)), "all", "itself")
    random = np.random.default_rng(0)
    search = search_descriptors(random.normal(size=(12, 4)), random.normal(size=(12, 4)))
    found = reranked(search, ColourGridEmbedder(), "colours", dataset, kind, "road")
    for query in range(12):
        before, after = np.argsort(search.distances[query]), np.argsort(found.distances[query])
        assert set(before[:8]) == set(after[:8])
        assert before[8:].tolist() == after[8:].tolist()
        if query in before[:8]:
            assert after[0] == query
    assert found.search_ms > search.search_ms
    assert found.descriptor_bytes - search.descriptor_bytes == 10 * 14 * 18

    class Asleep(ColourGridEmbedder):
        def _embed_one(self, image, attention, labels, grid):
            assert image.shape == (240, 320, 3), "the cohort alone is embedded again"
            return super()._embed_one(image, attention, labels, grid)

    again = reranked(search, Asleep(), "colours", dataset, kind, "road")
    np.testing.assert_array_equal(again.distances, found.distances)
