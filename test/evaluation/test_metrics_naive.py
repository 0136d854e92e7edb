"""Every metric recomputed by loops over queries and thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from saane_ros.errors import SaaneError
from saane_ros.evaluation.metrics import (
    RetrievalScores,
    evaluate_retrieval,
    precision_recall,
    recall_at,
)
from saane_ros.evaluation.ratio import best_matches

matrices = arrays(
    np.float64,
    st.tuples(st.integers(1, 8), st.integers(2, 16)),
    elements=st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0]),
)
scored = st.lists(
    st.tuples(st.sampled_from([1.0, 1.1, 1.5, 2.0, math.inf]), st.booleans()), min_size=1
)


def naive_ratio(row: list[float], window: int) -> tuple[int, float]:
    best = min(range(len(row)), key=lambda j: row[j])
    others = [row[j] for j in range(len(row)) if abs(j - best) > window]
    if not others:
        return best, 1.0
    if row[best] == 0:
        return best, 1.0 if min(others) == 0 else math.inf
    return best, min(others) / row[best]


def naive_curve(
    pairs: list[tuple[float, bool]], convention: str
) -> tuple[list[float], list[float]]:
    recalls, precisions = [], []
    for threshold in sorted({score for score, _ in pairs}, reverse=True):
        tp = sum(1 for score, good in pairs if score >= threshold and good)
        fp = sum(1 for score, good in pairs if score >= threshold and not good)
        rejected = sum(1 for score, _ in pairs if score < threshold)
        total = {
            "R1": tp + rejected,
            "R2": len(pairs),
            "R3": sum(1 for _, good in pairs if good),
        }[convention]
        recalls.append(tp / total if total else 0.0)
        precisions.append(tp / (tp + fp))
    return [0.0, *recalls], [precisions[0], *precisions]


@given(matrices, st.integers(0, 6))
def test_ratio_of_every_query(distances: np.ndarray, window: int) -> None:
    found = best_matches(distances, window)
    for q, row in enumerate(distances.tolist()):
        assert (found.best[q], found.ratio[q]) == naive_ratio(row, window)


@given(scored, st.sampled_from(["R1", "R2", "R3"]))
def test_curve_auc_and_average_precision(pairs: list[tuple[float, bool]], convention: str) -> None:
    scores, correct = (np.array(values) for values in zip(*pairs, strict=True))
    curve = precision_recall(scores, correct, convention)
    recalls, precisions = naive_curve(pairs, convention)
    assert curve.recall.tolist() == recalls
    assert curve.precision.tolist() == precisions
    area, steps = 0.0, 0.0
    for i in range(1, len(recalls)):
        width = recalls[i] - recalls[i - 1]
        assert width >= 0
        area += width * (precisions[i] + precisions[i - 1]) / 2
        steps += width * precisions[i]
    assert curve.auc == pytest.approx(area, abs=1e-12)
    assert curve.average_precision == pytest.approx(steps, abs=1e-12)
    for wanted in (0.5, 0.99, 1.0):
        reached = [r for r, p in zip(recalls, precisions, strict=True) if p >= wanted]
        assert curve.recall_at_precision(wanted) == max(reached, default=0.0)


@given(matrices, st.data())
def test_recall_at_n(distances: np.ndarray, data: st.DataObject) -> None:
    queries, places = distances.shape
    correct = [
        sorted(data.draw(st.sets(st.integers(0, places - 1), max_size=3))) for _ in range(queries)
    ]
    for n in (1, 2, 5):
        found, having = 0, 0
        for row, wanted in zip(distances.tolist(), correct, strict=True):
            nearest = sorted(range(places), key=lambda j: (row[j], j))[:n]
            having += bool(wanted)
            found += any(j in wanted for j in nearest)
        over_all = recall_at(distances, correct, (n,), all_queries=True)
        assert over_all[n] == pytest.approx(found / queries)
        expected = found / having if having else 0.0
        assert recall_at(distances, correct, (n,))[n] == pytest.approx(expected)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_grid_of_a_whole_evaluation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    distances = np.round(rng.random((30, 25)), 2)
    correct = [rng.choice(25, rng.integers(0, 4), replace=False).tolist() for _ in range(30)]
    correct[0] = [3]
    result = evaluate_retrieval(RetrievalScores(distances, correct))
    kept = [q for q in range(30) if correct[q]]
    assert result.queries == len(kept)
    assert result.excluded == 30 - len(kept)
    for name, window in (("plain", 0), ("windowed", 5)):
        matches = [naive_ratio(distances[q].tolist(), window) for q in kept]
        pairs = [(s, best in correct[q]) for q, (best, s) in zip(kept, matches, strict=True)]
        for convention in ("R1", "R2", "R3"):
            recalls, precisions = naive_curve(pairs, convention)
            area = np.dot(np.diff(recalls), np.add(precisions[1:], precisions[:-1]) / 2)
            assert result.curves[f"{name}+{convention}"].auc == pytest.approx(area, abs=1e-12)
        assert result.recall[1] == pytest.approx(np.mean([good for _, good in pairs]))
    assert result.headline_auc == result.curves["windowed+R2"].auc <= result.recall[1] + 1e-12
    assert result.saane_comparable_auc == result.curves["plain+R1"].auc


def test_hand_made_curve() -> None:
    scores = np.array([3.0, 2.0, 2.0, 1.0])
    correct = np.array([True, False, True, True])
    curve = precision_recall(scores, correct, "R2")
    assert curve.recall.tolist() == [0, 1 / 4, 2 / 4, 3 / 4]
    assert curve.precision.tolist() == [1, 1, 2 / 3, 3 / 4]
    assert curve.thresholds.tolist() == [math.inf, 3, 2, 1]
    assert curve.auc == pytest.approx(1 / 4 + (1 + 2 / 3) / 8 + (2 / 3 + 3 / 4) / 8)
    assert curve.recall_at_precision(1.0) == 1 / 4
    by_rejected = precision_recall(scores, correct, "R1")
    assert by_rejected.recall.tolist() == [0, 1 / 4, 2 / 3, 1]


def test_uninformative_scores_give_the_share_of_correct_ones_under_r1() -> None:
    correct = np.array([True, True, False, False, True])
    curve = precision_recall(np.ones(5), correct, "R1")
    assert curve.recall[-1] == 1.0
    assert curve.auc == pytest.approx(0.6)


def test_one_zero_distance_is_surest_and_two_or_a_map_inside_the_window_say_nothing() -> None:
    distances = np.array([[0.0, 2.0, 1.0], [0.0, 0.0, 1.0], [2.0, 1.0, 3.0]])
    assert best_matches(distances).ratio.tolist() == [math.inf, 1.0, 2.0]
    assert best_matches(distances, 5).ratio.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("distances", "message"),
    [
        (np.zeros((0, 4)), "shape"),
        (np.zeros(4), "shape"),
        (np.array([[1.0, -0.1]]), "negative"),
        (np.array([[1.0, np.nan]]), "non-finite"),
    ],
)
def test_unusable_distances_are_named(distances: np.ndarray, message: str) -> None:
    with pytest.raises(SaaneError, match=message):
        best_matches(distances)


def test_contradictory_inputs_are_named() -> None:
    with pytest.raises(SaaneError, match="2 queries and the distances have 3"):
        RetrievalScores(np.ones((3, 4)), [[0], [1]])
    with pytest.raises(SaaneError, match="No query has a correct place"):
        evaluate_retrieval(RetrievalScores(np.ones((2, 4)), [[], []]))
    with pytest.raises(SaaneError, match="R4"):
        precision_recall(np.ones(2), np.ones(2, bool), "R4")
    with pytest.raises(SaaneError, match="not a number"):
        precision_recall(np.array([1.0, np.nan]), np.ones(2, bool))
    with pytest.raises(SaaneError, match="one score and one verdict"):
        precision_recall(np.ones(3), np.ones(2, bool))
