"""Running statistics of a query traverse, and the Localizer that goes by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.errors import SaaneError
from saane_ros.localization.localizer import Localizer
from saane_ros.localization.query_statistics import NOVEL, PSEUDO_FRAMES, QueryPostprocessing
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.postprocessing import (
    KINDS,
    Postprocessing,
    TraverseStatistics,
    fit,
    statistics_of,
)
from saane_ros.route_map.search import MapSearch
from saane_ros.settings import Settings
from saane_ros.types import Frame, Pose, Rgb

PLACES = 120


def rows_of(seed: int, count: int = 25, size: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).normal(seed % 3, 1, (count, size)).astype(np.float32)


def fitted(kind: str, rows: np.ndarray) -> Postprocessing:
    found = fit(kind, rows)
    assert found is not None
    return found


@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS[1:]))
def test_statistics_move_from_the_maps_to_the_traverses_own(seed: int, kind: str) -> None:
    used = fitted(kind, rows_of(seed))
    queries = rows_of(seed + 1, 12)
    running = QueryPostprocessing(used)
    counted: list[np.ndarray] = []
    for query in queries:
        if not counted or np.linalg.norm(query - counted[-1]) >= NOVEL * used.step:
            counted.append(query)
        own = np.stack(counted).astype(np.float64)
        n = len(own)
        of_map = used.statistics
        mean = (PSEUDO_FRAMES * of_map.mean + own.sum(axis=0)) / (PSEUDO_FRAMES + n)
        squares = PSEUDO_FRAMES * of_map.deviation**2 + n * own.var(axis=0)
        deviation = np.sqrt(squares / (PSEUDO_FRAMES + n))
        wanted = used.apply(query[None], TraverseStatistics(mean, deviation, n))[0]
        np.testing.assert_allclose(running.process(query), wanted, atol=2e-4)


def test_a_long_traverse_ends_at_its_own_statistics() -> None:
    used = fitted("standardise", rows_of(0))
    queries = rows_of(1, 3000)
    running = QueryPostprocessing(used)
    processed = np.stack([running.process(query) for query in queries])
    own = used.apply(queries, statistics_of(queries))
    apart = np.linalg.norm(processed - own, axis=1)
    assert apart[-500:].max() < 0.3 < apart[:5].max()


def test_reset_forgets_and_a_faulty_descriptor_changes_nothing() -> None:
    used = fitted("pca512", rows_of(0))
    queries = rows_of(1)
    running = QueryPostprocessing(used)
    first = [running.process(query) for query in queries]
    running.reset()
    for step, query in enumerate(queries):
        for wrong, reason in ((query * np.nan, "not finite"), (query[:-1], "map holds")):
            with pytest.raises(SaaneError, match=reason):
                running.process(wrong)
        np.testing.assert_array_equal(running.process(query), first[step])
    query = queries[0]
    assert QueryPostprocessing(None).process(query) is query


def dusk(place: int, step: int = 0) -> Rgb:
    """A place under a light from one side that all images share, with noise."""
    scene = smooth_scene(place).astype(np.float64)
    light = np.linspace(0, 220, scene.shape[1])[None, :, None] * (1.0, 0.7, 0.2)
    noise = np.random.default_rng(step).normal(0, 10, scene.shape)
    return np.clip(0.4 * scene + 0.6 * light + noise, 0, 255).astype(np.uint8)


def street(folder: Path, kind: str) -> Localizer:
    frames = [
        Frame(smooth_scene(i), i * 10**9, f"{i}", Pose((2.0 * i, 0.0, 0.0))) for i in range(PLACES)
    ]
    embedder = ColourGridEmbedder()
    route_map = build_map(frames, embedder, folder / f"{kind}.routemap", postprocessing=kind)
    return Localizer(embedder, route_map, Settings(map=str(route_map.path)))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_localizer_searches_by_running_statistics(tmp_path: Path, kind: str) -> None:
    localizer = street(tmp_path, kind)
    route_map = localizer.route_map
    frames = [Frame(dusk(i, i), i) for i in range(25)]
    found = [localizer.localize(frame).match for frame in frames]
    running, search = QueryPostprocessing(route_map.postprocessing), MapSearch(route_map)
    for frame, match in zip(frames, found, strict=True):
        raw = ColourGridEmbedder().embed([frame.image])[0].descriptor
        nearest = search.nearest(running.process(raw), 1)
        assert match.candidates.places[0] == nearest.places[0]
        assert match.candidates.distances[0] == nearest.distances[0]
    localizer.reset()
    again = [localizer.localize(frame).match for frame in frames]
    assert [(m.distance, m.ratio, m.state) for m in again] == [
        (m.distance, m.ratio, m.state) for m in found
    ]


def test_what_all_images_of_a_drive_share_is_taken_out(tmp_path: Path) -> None:
    def right(kind: str) -> float:
        localizer = street(tmp_path, kind)
        best = [
            localizer.localize(Frame(dusk(i, i), i)).match.candidates.places[0]
            for i in range(PLACES)
        ]
        return float(np.mean(np.array(best) == np.arange(PLACES)))

    assert right("none") < 0.7
    assert right("mean") > right("none") + 0.2
    assert right("standardise") > right("none") + 0.2


def test_a_camera_that_stands_still_does_not_become_the_mean(tmp_path: Path) -> None:
    localizer = street(tmp_path, "standardise")
    localizer.settings = replace(localizer.settings, sequence_filter=False)

    def drive(standing: int) -> list[float]:
        localizer.reset()
        places = [*range(13), *[12] * standing, *range(13, PLACES)]
        found = [localizer.localize(Frame(dusk(p, i), i)).match for i, p in enumerate(places)]
        return [match.distance for match in found[-20:]]

    np.testing.assert_allclose(drive(standing=300), drive(standing=0), rtol=0.02)
