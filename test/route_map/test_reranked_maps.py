"""What the feature grids of candidates are compared by: the scores, and a map's choice of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from map_heads import read_head, write_head
from scenes import ColourGridEmbedder, line_graph, smooth_scene

from saane_ros.errors import SaaneError
from saane_ros.localization.candidates import CandidateFinder
from saane_ros.localization.evidence import GROUPS
from saane_ros.localization.localizer import Localizer
from saane_ros.route_map.builder import RouteMapBuilder, build_map
from saane_ros.route_map.calibration import SIGNALS, MapScale
from saane_ros.route_map.crop import crop_map
from saane_ros.route_map.feature_grids import BLOCK, SCORES, mutual_pairs, mutual_score, rapid_score
from saane_ros.route_map.merge import merge_maps
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.training.evidence.refit import calibrate
from saane_ros.types import Embedding, Frame, Pose, Rgb

EMBEDDER = ColourGridEmbedder()
COUNT = 24
HEIGHT, WIDTH, SIZE = 3, 4, 6


def grids(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed).normal(size=(count, HEIGHT, WIDTH, SIZE))
    return np.rint(127 * random / np.linalg.norm(random, axis=-1, keepdims=True)).astype(np.int8)


def naive_pairs(query: np.ndarray, reference: np.ndarray) -> list[tuple[tuple, tuple]]:
    cells = [(r, c) for r in range(HEIGHT) for c in range(WIDTH)]

    def like(a: tuple, b: tuple) -> float:
        return float(query[a].astype(float) @ reference[b].astype(float))

    there = {a: max(cells, key=lambda b: like(a, b)) for a in cells}
    here = {b: max(cells, key=lambda a: like(a, b)) for b in cells}
    return [(a, b) for a, b in there.items() if here[b] == a]


def test_scores_are_those_of_pairs_found_one_by_one():
    (query,), references = grids(1, 0), grids(5, 1)
    for number, reference in enumerate(references):
        pairs = naive_pairs(query, reference)
        assert mutual_score(query, references)[number] == len(pairs) / (HEIGHT * WIDTH)
        total = 0.0
        for axis, side in ((0, HEIGHT), (1, WIDTH)):
            shifts = [b[axis] - a[axis] for a, b in pairs]
            mean = sum(shifts) / len(shifts)
            total += sum((side - 1 - abs(shift - mean)) ** 2 for shift in shifts)
        expected = total / (((HEIGHT - 1) ** 2 + (WIDTH - 1) ** 2) * HEIGHT * WIDTH)
        assert rapid_score(query, references)[number] == pytest.approx(expected)


@given(
    st.sampled_from([(3, 4), (9, 57), (16, 16), (23, 31)]),
    st.sampled_from([(2, 2), (17, 16), (24, 29)]),
    st.integers(1, 3),
    st.integers(1, 127),
    st.integers(0, 2**32 - 1),
)
def test_pairs_are_those_of_the_whole_table_where_cells_are_alike(
    mine: tuple[int, int], theirs: tuple[int, int], size: int, most: int, seed: int
) -> None:
    """Of equal ones the first counts, within what is compared at once and across it."""
    assert 2 * BLOCK < 9 * 57
    random = np.random.default_rng(seed)
    query = random.integers(-most, most + 1, (*mine, size)).astype(np.int8)
    reference = random.integers(-most, most + 1, (*theirs, size)).astype(np.int8)
    table = query.reshape(-1, size).astype(int) @ reference.reshape(-1, size).astype(int).T
    there, here = table.argmax(axis=1), table.argmax(axis=0)
    expected = [(cell, other) for cell, other in enumerate(there) if here[other] == cell]
    found = mutual_pairs(query, reference)
    assert list(zip(found.here, found.there, strict=True)) == expected


@pytest.mark.parametrize("kind", SCORES)
def test_the_same_view_has_the_full_score(kind: str):
    (query,) = grids(1, 2)
    assert SCORES[kind](query, query[None])[0] == pytest.approx(1)


def frames(first: int = 0) -> list[Frame]:
    return [
        Frame(smooth_scene(first + i), 10**9 * (first + i), f"{i}", Pose((3.0 * i, 0.0, 0.0)))
        for i in range(COUNT)
    ]


def built(path: Path, rerank: str) -> RouteMap:
    builder = RouteMapBuilder(EMBEDDER, path, rerank=rerank)
    builder.add(frames())
    return builder.finish()


@pytest.mark.parametrize("kind", SCORES)
def test_a_map_keeps_its_score_and_is_measured_by_it(kind: str, tmp_path: Path) -> None:
    road = built(tmp_path / "road.routemap", kind)
    assert road.info.rerank == kind
    bearings = road.localizable()
    assert bearings.grids is not None
    scores = []
    for place in range(COUNT):
        others = [i for i in range(COUNT) if abs(i - place) > 10]
        apart = [np.linalg.norm(road.descriptors[i] - road.descriptors[place]) for i in others]
        other = others[int(np.argmin(apart))]
        scores.append(SCORES[kind](bearings.grids[place], bearings.grids[[other]])[0])
    measured = bearings.calibration.scale.agreement
    assert measured == pytest.approx(np.median(scores), rel=1e-5)
    part = crop_map(road, tmp_path / "part.routemap", places=(3, 20))
    both = merge_maps([part, road], tmp_path / "both.routemap")
    assert part.info.rerank == both.info.rerank == calibrate(part, EMBEDDER, []).info.rerank == kind
    changed = calibrate(road, EMBEDDER, [], rerank="mutual")
    assert changed.info.rerank == "mutual"
    grids = changed.localizable().grids
    plain = build_map(frames(), EMBEDDER, tmp_path / "plain.routemap")
    assert plain.info.rerank == "grids"
    np.testing.assert_array_equal(grids, plain.localizable().grids)


@pytest.mark.parametrize("kind", SCORES)
def test_a_localizer_weighs_candidates_by_the_score_of_its_map(kind: str, tmp_path: Path) -> None:
    road = built(tmp_path / "road.routemap", kind)
    localizer = Localizer(EMBEDDER, road, Settings())
    image = np.clip(0.7 * smooth_scene(11) + 20, 0, 255).astype(np.uint8)
    embedding = localizer.embed(Frame(image, 0))
    found = localizer.candidates_of(embedding)
    bearings = road.localizable()
    assert embedding.grid is not None
    assert bearings.cohort.projection is not None
    assert bearings.grids is not None
    grid = bearings.cohort.projection.compact(embedding.grid)
    scores = SCORES[kind](grid, bearings.grids[[group.best for group in found.groups]])
    least = 0.02
    expected = np.log((scores + least) / (bearings.calibration.scale.agreement + least))
    column = found.signals.values[:, SIGNALS.index("agreement")]
    np.testing.assert_allclose(column, expected, atol=1e-6)
    assert found.groups[int(column.argmax())].best == 11
    match = localizer.locate(embedding, 0)
    assert 0 < match.timings_ms["rerank"] <= match.timings_ms["filter"]


def test_a_place_further_by_descriptor_comes_first_by_its_grid() -> None:
    """Descriptors that are as far from all, a score that knows, and weights of that alone."""
    places = grids(GROUPS, 5)
    spread = np.zeros((60, *places.shape[1:]), np.int8)
    spread[::10] = places
    rows, distances = np.arange(0, 60, 10), 2.0 + 1e-3 * np.arange(GROUPS)
    for kind in SCORES:
        finder = CandidateFinder(line_graph(60), spread, MapScale(3.0, 0.1, 1.0), kind)
        found = finder.find(rows, distances, places[4], np.full(48, 9.0), np.linspace(1, 9, 60))
        column = found.signals.values[:, SIGNALS.index("agreement_ratio")]
        assert [group.best for group in found.groups] == rows.tolist()
        assert found.groups[int(column.argmax())].best == 40
        assert found.rerank_ms is not None


class Gridless(ColourGridEmbedder):
    def _embed_one(self, image: Rgb, attention: bool, labels: bool, grid: bool) -> Embedding:
        return super()._embed_one(image, attention, labels, grid=False)


def test_a_model_without_grids_is_refused_where_a_score_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "road.routemap"
    with pytest.raises(SaaneError, match="colour-grid has no feature grids to re-rank by"):
        RouteMapBuilder(Gridless(), path, rerank="rapid")
    assert list(tmp_path.iterdir()) == []
    road = build_map(frames(), Gridless(), path)
    with pytest.raises(SaaneError, match="has no feature grids to re-rank by"):
        calibrate(road, Gridless(), [], rerank="rapid")
    match = Localizer(Gridless(), road, Settings()).localize(frames()[3]).match
    assert "rerank" not in match.timings_ms


def test_an_older_map_has_the_score_of_old_and_an_unknown_one_is_told(tmp_path: Path) -> None:
    path = built(tmp_path / "road.routemap", "grids").path
    head = read_head(path)
    del head["rerank"]
    write_head(path, head)
    assert RouteMap.open(path).info.rerank == "grids"
    for wrong in ("fast", 3, ["rapid"]):
        write_head(path, {**head, "rerank": wrong})
        with pytest.raises(SaaneError, match="rerank is none of grids, rapid, mutual"):
            RouteMap.open(path)
