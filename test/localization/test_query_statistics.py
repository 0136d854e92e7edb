"""Running statistics of a query traverse, and the Localizer that goes by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.data.images.files import read_image
from saane_ros.errors import SaaneError
from saane_ros.localization.localizer import Localizer
from saane_ros.localization.query_statistics import (
    MEMORY,
    NOVEL,
    PSEUDO_FRAMES,
    QueryPostprocessing,
)
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
CAMVID = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "camvid"


def rows_of(seed: int, count: int = 25, size: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).normal(seed % 3, 1, (count, size)).astype(np.float32)


def fitted(kind: str, rows: np.ndarray) -> Postprocessing:
    found = fit(kind, rows)
    assert found is not None
    return found


def counted_of(queries: np.ndarray, step: float) -> list[list[int]]:
    """For every query which count so far, from all distances anew."""
    rows = queries.astype(np.float64)
    counted: list[int] = []
    told = []
    for now in range(len(rows)):
        if not counted or sum((rows[now] - rows[counted[-1]]) ** 2) >= (NOVEL * step) ** 2:
            counted.append(now)
        told.append(list(counted))
    return told


def statistics_at(used: Postprocessing, queries: np.ndarray) -> TraverseStatistics:
    """Those of the map and of the queries that count (n, D), the newest last, by their weights."""
    own = queries.astype(np.float64)
    weights = (1 - 1 / MEMORY) ** np.arange(len(own))[::-1]
    own_mean = np.average(own, axis=0, weights=weights)
    squares = weights @ (own - own_mean) ** 2
    of_map, k = used.statistics, PSEUDO_FRAMES * (1 - 1 / MEMORY) ** len(own)
    total = k + weights.sum()
    mean = (k * of_map.mean + weights.sum() * own_mean) / total
    variance = (k * of_map.deviation**2 + squares) / total
    return TraverseStatistics(mean, np.sqrt(variance), len(own))


@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS[1:]))
def test_statistics_move_from_the_maps_to_the_traverses_own(seed: int, kind: str) -> None:
    used = fitted(kind, rows_of(seed))
    queries = rows_of(seed + 1, 12)
    running = QueryPostprocessing(used)
    for query, counted in zip(queries, counted_of(queries, used.step), strict=True):
        wanted = used.apply(query[None], statistics_at(used, queries[counted]))[0]
        np.testing.assert_allclose(running.process(query), wanted, atol=2e-4)


def test_a_drive_into_another_light_goes_by_what_it_sees_there() -> None:
    used = fitted("standardise", rows_of(0))
    day, night = rows_of(1, 1000), rows_of(2, 1000)
    running = QueryPostprocessing(used)
    queries = np.concatenate([day, night])
    processed = np.stack([running.process(query) for query in queries])
    for own, seen in ((day, processed[:1000]), (night, processed[1000:])):
        apart = np.linalg.norm(seen - used.apply(own, statistics_of(own)), axis=1)
        assert apart[-500:].mean() < 0.5 * apart[:5].mean()
    mixed = used.apply(night, statistics_of(queries))
    by_night = used.apply(night, statistics_of(night))
    forgotten = np.linalg.norm(processed[1500:] - by_night[500:], axis=1)
    assert forgotten.mean() < 0.5 * np.linalg.norm(mixed[500:] - by_night[500:], axis=1).mean()


@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not at ../shared/data")
def test_a_real_drive_from_day_into_dusk_against_all_its_frames() -> None:
    def described(*patterns: str) -> np.ndarray:
        files = [path for one in patterns for path in sorted(CAMVID.glob(one))]
        images = [read_image(path) for path in files]
        return np.stack([one.descriptor for one in ColourGridEmbedder().embed(images)])

    used = fitted("standardise", described("train/0006R0*"))
    day, dusk = described("val/0016E5*"), described("train/0001TP*", "test/0001TP*")
    # Each road five times, as its few hundred frames are less than is remembered.
    queries = np.concatenate([day] * 5 + [dusk] * 5)
    running = QueryPostprocessing(used)
    counted = counted_of(queries, used.step)
    for now, query in enumerate(queries):
        processed = running.process(query)
        if now % 7 == 0 or now == len(queries) - 1:
            at = statistics_at(used, queries[counted[now]])
            np.testing.assert_allclose(processed, used.apply(query[None], at)[0], atol=2e-3)
    own, whole = dusk.mean(axis=0), queries.mean(axis=0)
    assert np.linalg.norm(at.mean - own) < 0.7 * np.linalg.norm(whole - own)


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
        rounds = [*range(PLACES)] * 3  # of which the first two make the statistics
        best = [
            localizer.localize(Frame(dusk(place, i), i)).match.candidates.places[0]
            for i, place in enumerate(rounds)
        ]
        return float(np.mean(np.array(best[-PLACES:]) == np.arange(PLACES)))

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
