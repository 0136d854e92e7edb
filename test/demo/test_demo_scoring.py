"""The summary's arithmetic, recomputed by loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saane_ros.demo.scoring import Answer, quantiles, score


@st.composite
def answered(draw: st.DrawFn) -> tuple[list[Answer], list[np.ndarray]]:
    places = st.integers(0, 9)
    correct = [
        np.array(sorted(draw(st.sets(places, max_size=3))), np.int64)
        for _ in range(draw(st.integers(1, 12)))
    ]
    answers = []
    for query in range(len(correct)):
        if draw(st.booleans()):
            continue  # a dropped frame
        k = draw(st.integers(1, 6))
        distances = sorted(
            draw(st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0]), min_size=k, max_size=k))
        )
        answers.append(
            Answer(
                query=query,
                state=draw(st.sampled_from(["localized", "uncertain", "lost"])),
                place=draw(places),
                confidence=0.5,
                candidates=np.array(draw(st.permutations(range(10)))[:k], np.int64),
                distances=np.array(distances),
                ratio=draw(st.sampled_from([1.0, 1.1, 1.4, 3.0])),
                inference_ms=1.0,
            )
        )
    return answers, correct


def naive_area(pairs: list[tuple[float, bool]], rejected_count: bool) -> float:
    points: list[tuple[float, float]] = []
    for threshold in sorted({value for value, _ in pairs}, reverse=True):
        accepted = [good for value, good in pairs if value >= threshold]
        tp = sum(accepted)
        total = tp + len(pairs) - len(accepted) if rejected_count else len(pairs)
        points.append((tp / total if total else 0.0, tp / len(accepted)))
    points.insert(0, (0.0, points[0][1]))
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points))


@settings(max_examples=200)
@given(answered())
def test_every_figure(case: tuple[list[Answer], list[np.ndarray]]) -> None:
    answers, correct = case
    found = score(answers, correct)
    judged = [answer for answer in answers if len(correct[answer.query])]
    if not judged:
        assert found is None
        return
    assert found is not None
    assert found.answers == len(judged)
    for n in (1, 5):
        hits = [
            any(place in correct[a.query] for place in a.candidates[:n].tolist()) for a in judged
        ]
        assert found.recall[n] == pytest.approx(sum(hits) / len(hits))
    nearest = [a.candidates[0] in correct[a.query] for a in judged]
    windowed = [(a.ratio, good) for a, good in zip(judged, nearest, strict=True)]
    assert found.auc_windowed_r2 == pytest.approx(naive_area(windowed, False))
    plain = []
    for a, good in zip(judged, nearest, strict=True):
        if len(a.distances) < 2:
            value = 1.0
        elif a.distances[0] == 0:
            value = math.inf
        else:
            value = a.distances[1] / a.distances[0]
        plain.append((value, good))
    assert found.auc_plain_r1 == pytest.approx(naive_area(plain, True))
    localized = [a for a in judged if a.state == "localized"]
    assert found.localized == pytest.approx(len(localized) / len(judged))
    right = sum(a.place in correct[a.query] for a in localized)
    assert found.localized_correct == pytest.approx(right / len(localized) if localized else 0.0)


def test_quantiles() -> None:
    assert quantiles([]) == {"p50": None, "p95": None}
    assert quantiles(list(range(101))) == {"p50": 50.0, "p95": 95.0}
