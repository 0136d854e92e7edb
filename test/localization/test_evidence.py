"""Signals and probabilities of one frame, recomputed one number after the other."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import line_graph

from saane_ros.localization.candidates import CandidateFinder
from saane_ros.localization.evidence import (
    COHORT_NEAREST,
    GROUP_M,
    GROUP_STEPS,
    GROUPS,
    SHARPNESS,
    CandidateSignals,
    frame_evidence,
    signals,
)
from saane_ros.route_map.calibration import SIGNALS, EvidenceWeights, MapScale, default_weights
from saane_ros.route_map.feature_grids import agreement
from saane_ros.route_map.place_graph import PlaceGraph

FLOOR = 0.02
DISTANCES = st.lists(st.floats(0.01, 20), min_size=1, max_size=8)


@given(DISTANCES, st.booleans(), st.integers(0, 2**32 - 1))
def test_signals_are_what_they_are_called(
    distances: list[float], with_grids: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    distances = sorted(distances)
    cohort = rng.uniform(5, 15, 12)
    sample = rng.uniform(1, 20, 40)
    agreements = rng.uniform(0, 1, len(distances)) if with_grids else None
    scale = MapScale(3.0, 0.1 if with_grids else 0.0, 1.0)
    found = signals(np.array(distances), agreements, cohort, sample, scale)
    near = statistics.fmean(sorted(cohort)[:COHORT_NEAREST])
    low, high = np.quantile(sample, 0.025), np.quantile(sample, 0.975)
    for i, distance in enumerate(distances):
        others = [d for j, d in enumerate(distances) if j != i]
        z = (distance - statistics.median(sample)) / (high - low)
        wanted = {
            "cohort": math.log(distance / near),
            "absolute": math.log(distance / scale.impostor),
            "z": max(-5.0, min(5.0, z)),
            "ratio": math.log(distance / min(others)) if others else 0.0,
            "agreement": 0.0,
            "agreement_ratio": 0.0,
        }
        if agreements is not None:
            rest = [a for j, a in enumerate(agreements) if j != i]
            seen = agreements[i] + FLOOR
            wanted["agreement"] = math.log(seen / (scale.agreement + FLOOR))
            wanted["agreement_ratio"] = math.log(seen / (max(rest) + FLOOR)) if rest else 0.0
        assert dict(zip(SIGNALS, found.values[i], strict=True)) == pytest.approx(wanted, abs=1e-9)
    assert found.best == pytest.approx(dict(zip(SIGNALS, found.values[0], strict=True)))


def test_signals_stay_finite() -> None:
    """A query that is the map's own image, a map of one place, a map whose places are all one."""
    scale = MapScale(1e-6, 0.0, 1e-6)
    for sample in (np.zeros(1), np.zeros(30), np.full(30, 7.0)):
        found = signals(np.array([0.0, 0.0, 3.0]), np.zeros(3), np.full(48, 9.0), sample, scale)
        assert np.isfinite(found.values).all()


NUMBERS = st.floats(-30, 30)
ROW = st.lists(NUMBERS, min_size=len(SIGNALS), max_size=len(SIGNALS))


@given(st.lists(ROW, min_size=1, max_size=8), ROW, ROW, NUMBERS, NUMBERS)
def test_evidence_is_a_softmax(
    rows: list[list[float]],
    candidate: list[float],
    missed: list[float],
    candidate_offset: float,
    missed_offset: float,
) -> None:
    weights = EvidenceWeights(tuple(candidate), candidate_offset, tuple(missed), missed_offset)
    found = frame_evidence(CandidateSignals(np.array(rows)), weights)
    scores = [sum(a * b for a, b in zip(row, candidate, strict=True)) for row in rows]
    scores = [score + candidate_offset for score in scores]
    scores.append(sum(a * b for a, b in zip(rows[0], missed, strict=True)) + missed_offset)
    scores.append(0.0)
    likely = [math.exp(score - max(scores)) for score in scores]
    wanted = [value / sum(likely) for value in likely]
    np.testing.assert_allclose([*found.groups, found.missed, found.off], wanted, atol=1e-9)
    assert found.groups.sum() + found.missed + found.off == pytest.approx(1.0)


@pytest.mark.parametrize("grids", [True, False])
def test_the_packages_weights_tell_a_place_from_elsewhere(grids: bool) -> None:
    weights, source = default_weights(grids)
    assert source
    scale = MapScale(5.0, 0.1 if grids else 0.0, 3.0)
    rng = np.random.default_rng(0)
    cohort, sample = rng.uniform(8, 11, 48), rng.uniform(6, 11, 512)
    near = signals(
        np.array([2.0, 5.5, 6.0]),
        np.array([0.6, 0.1, 0.1]) if grids else None,
        cohort,
        sample,
        scale,
    )
    far = signals(
        np.array([7.5, 7.6, 7.7]),
        np.array([0.05, 0.05, 0.04]) if grids else None,
        cohort,
        sample,
        scale,
    )
    assert frame_evidence(near, weights.evidence).groups[0] > 0.9
    assert frame_evidence(far, weights.evidence).off > 0.7


def naive_groups(
    graph: PlaceGraph, reach: float, rows: list[int], distances: list[float]
) -> list[tuple[int, list[int], list[float]]]:
    """Best row, spots and shares of each neighbourhood."""
    first: dict[int, float] = {}
    best: dict[int, int] = {}
    for row, distance in zip(rows, distances, strict=True):
        first.setdefault(int(graph.spot[row]), distance)
        best.setdefault(int(graph.spot[row]), row)
    left, groups = list(first), []
    while left and len(groups) < GROUPS:
        near = set(graph.around(left[0], reach).tolist())
        spots = sorted(spot for spot in left if spot in near)
        raw = [(first[left[0]] / first[spot]) ** SHARPNESS for spot in spots]
        groups.append((best[left[0]], spots, [value / sum(raw) for value in raw]))
        left = [spot for spot in left if spot not in near]
    return groups


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.5, 2.0]))
def test_candidates_are_grouped_by_neighbourhood(seed: int, step: float) -> None:
    rng = np.random.default_rng(seed)
    line = line_graph(60)
    spot = np.repeat(np.arange(60), 2)
    graph = PlaceGraph(spot, line.edges, line.lengths, step)
    finder = CandidateFinder(graph, None, MapScale(3.0, 0.0, 1.0))
    reach = max(GROUP_STEPS, GROUP_M / step) if step else GROUP_STEPS
    assert finder.reach == reach
    rows = rng.permutation(120)[:40]
    distances = np.sort(rng.uniform(1, 9, 40))
    cohort, sample = rng.uniform(8, 11, 48), rng.uniform(1, 11, 100)
    found = finder.find(rows, distances, None, cohort, sample)
    wanted = naive_groups(graph, reach, rows.tolist(), distances.tolist())
    assert [(g.best, g.spots.tolist()) for g in found.groups] == [(b, s) for b, s, _ in wanted]
    for group, (_, _, shares) in zip(found.groups, wanted, strict=True):
        np.testing.assert_allclose(group.shares, shares, atol=1e-9)
    apart = np.array([group.distance for group in found.groups])
    expected = signals(apart, None, cohort, sample, MapScale(3.0, 0.0, 1.0))
    np.testing.assert_array_equal(found.signals.values, expected.values)


def test_grids_of_the_best_of_each_group_are_compared() -> None:
    rng = np.random.default_rng(1)
    grids = rng.integers(-90, 91, (60, 5, 6, 8)).astype(np.int8)
    scale = MapScale(3.0, 0.1, 1.0)
    finder = CandidateFinder(line_graph(60), grids, scale)
    rows, distances = np.array([40, 41, 10]), np.array([2.0, 2.1, 2.2])
    cohort, sample = np.full(48, 9.0), np.linspace(1, 9, 60)
    found = finder.find(rows, distances, grids[10], cohort, sample)
    seen = [agreement(grids[10], grids[row][None])[0] for row in (40, 10)]
    expected = signals(np.array([2.0, 2.2]), np.array(seen), cohort, sample, scale)
    np.testing.assert_array_equal(found.signals.values, expected.values)
    assert seen[1] > 0.9 > 4 * seen[0]
