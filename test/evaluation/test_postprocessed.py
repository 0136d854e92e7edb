"""Models of a table with post-processing: by whole traverses, and as a live localizer does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.evaluation.postprocessed import (
    RAW,
    SUFFIXES,
    Processing,
    processed,
    split_suffix,
)
from saane_ros.evaluation.searches import search_descriptors
from saane_ros.localization.localizer import Localizer
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.postprocessing import KINDS
from saane_ros.settings import Settings
from saane_ros.types import Frame

PLACES, QUERIES = 30, 20


def dusk(place: int) -> np.ndarray:
    scene = smooth_scene(place, 48, 64).astype(np.float64)
    noise = np.random.default_rng(place).normal(0, 20, scene.shape)
    return np.clip(0.5 * scene + np.linspace(0, 120, 64)[:, None] + noise, 0, 255).astype(np.uint8)


def described(images: list[np.ndarray]) -> np.ndarray:
    return np.stack([one.descriptor for one in ColourGridEmbedder().embed(images)])


@pytest.mark.parametrize("kind", KINDS)
def test_the_online_protocol_is_what_the_localizer_does(tmp_path: Path, kind: str) -> None:
    places = [smooth_scene(i, 48, 64) for i in range(PLACES)]
    drive = [dusk(i) for i in range(5, 5 + QUERIES)]
    frames = [Frame(image, i * 10**9, f"{i}") for i, image in enumerate(places)]
    embedder = ColourGridEmbedder()
    route_map = build_map(frames, embedder, tmp_path / "m.routemap", postprocessing=kind)
    settings = Settings(map=str(route_map.path), candidates=PLACES)
    localizer = Localizer(embedder, route_map, settings)
    rows = processed(Processing(kind, online=True), described(drive), described(places))
    search = search_descriptors(rows.queries, rows.references)
    assert search.descriptor_bytes == 4 * route_map.info.descriptor_size
    for step, image in enumerate(drive):
        match = localizer.localize(Frame(image, step)).match
        wanted = search.distances[step, match.candidates.places]
        np.testing.assert_array_equal(match.candidates.distances, wanted)


def test_every_traverse_by_its_own_statistics() -> None:
    references, queries = (
        described([smooth_scene(i) for i in range(PLACES)]),
        described([dusk(i) for i in range(QUERIES)]),
    )
    # By its own statistics, a traverse does not notice what all of it has in common.
    shifted = queries + np.linspace(0, 5, queries.shape[1], dtype=np.float32)
    for kind in KINDS[1:]:
        how = Processing(kind)
        plain, changed = (processed(how, rows, references) for rows in (queries, shifted))
        np.testing.assert_allclose(changed.queries, plain.queries, atol=1e-3)
        np.testing.assert_array_equal(changed.references, plain.references)
        online = processed(Processing(kind, online=True), shifted, references).queries
        assert np.abs(online - plain.queries).max() > 0.1
    same = processed(RAW, queries, references)
    assert same.queries is queries
    assert same.references is references


def test_suffixes_name_every_kind_twice() -> None:
    assert len(SUFFIXES) == 2 * len(KINDS[1:])
    assert split_suffix("saane-town:app:std") == ("saane-town:app", ":std")
    assert SUFFIXES[":std"] == Processing("standardise")
    assert split_suffix("trunk:resnet18:avg:pca512-online") == (
        "trunk:resnet18:avg",
        ":pca512-online",
    )
    assert SUFFIXES[":pca512-online"] == Processing("pca512", online=True)
    assert split_suffix("saane-town:app") == ("saane-town:app", "")
    assert Processing("none") == RAW
