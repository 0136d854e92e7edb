"""The two fits of a calibration against naive recomputations and a library."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from saane_ros.localization.evidence import CandidateSignals, frame_evidence
from saane_ros.route_map.calibration import SIGNALS, TRACK_SIGNALS, EvidenceWeights
from saane_ros.training.evidence.fit import (
    ERRORS,
    _thresholds,
    balanced,
    confidences,
    even,
    fit_evidence,
    fit_trust,
    trust_weights,
)
from saane_ros.training.evidence.runs import Belonging, Example

TRUE = EvidenceWeights((-6.0, -2.0, 0.0, 0.0, 2.0, 1.0), -1.0, (-2.0, 0, 0, 0, 0.0, 0.0), -1.5)


def drawn_frames(count: int) -> list[Example]:
    """Frames whose truth is drawn from the model itself, half of them off the map."""
    rng = np.random.default_rng(0)
    frames: list[Example] = []
    on = off = 0
    while on < count or off < count:
        values = rng.normal(0, 0.5, (rng.integers(1, 6), len(SIGNALS)))
        evidence = frame_evidence(CandidateSignals(values), TRUE)
        chances = [*evidence.groups, evidence.missed, evidence.off]
        drawn = int(rng.choice(len(chances), p=chances))
        if drawn == len(chances) - 1:
            if off < count:
                frames.append(Example("route", "street", "park", values, None))
            off += 1
            continue
        if on < count:
            frames.append(Example("route", "street", "", values, np.arange(len(values)) == drawn))
        on += 1
    return frames


def naive_loss(weights: EvidenceWeights, frames: list[Example]) -> float:
    """Mean over both halves of -log of what each frame showed."""
    halves: dict[bool, list[float]] = defaultdict(list)
    for frame in frames:
        found = frame_evidence(CandidateSignals(frame.values), weights)
        if frame.right is None:
            likely = found.off
        elif frame.right.any():
            likely = float(sum(found.groups[frame.right]))
        else:
            likely = found.missed
        halves[frame.right is None].append(-np.log(likely))
    return float(np.mean([np.mean(values) for values in halves.values()]))


def test_the_conditional_logit_finds_the_weights_that_made_the_frames() -> None:
    frames = drawn_frames(3000)
    fitted = fit_evidence(frames, strength=1e-6)
    # Equal halves shift the odds of on and off alone: slopes are those of the model.
    np.testing.assert_allclose(fitted.candidate, TRUE.candidate, atol=0.7)
    assert naive_loss(fitted, frames) <= naive_loss(TRUE, frames) + 1e-6
    rng = np.random.default_rng(1)
    for _ in range(20):  # no neighbour is better
        moved = EvidenceWeights(
            tuple(np.array(fitted.candidate) + rng.normal(0, 0.1, len(SIGNALS))),
            fitted.candidate_offset + rng.normal(0, 0.1),
            tuple(np.array(fitted.missed) + rng.normal(0, 0.1, len(SIGNALS))),
            fitted.missed_offset + rng.normal(0, 0.1),
        )
        assert naive_loss(moved, frames) > naive_loss(fitted, frames)


def test_signals_that_are_not_used_get_no_weight() -> None:
    fitted = fit_evidence(drawn_frames(200), used=("cohort", "ratio"))
    for name, candidate, missed in zip(SIGNALS, fitted.candidate, fitted.missed, strict=True):
        assert (candidate == 0 and missed == 0) == (name not in ("cohort", "ratio"))


def test_a_prior_holds_what_few_frames_cannot_tell() -> None:
    frames = drawn_frames(30)
    held = fit_evidence(frames, prior=TRUE, strength=1e3)
    np.testing.assert_allclose(held.candidate, TRUE.candidate, atol=1e-3)
    free = fit_evidence(frames, prior=TRUE, strength=1e-4)
    assert naive_loss(free, frames) < naive_loss(held, frames)


def test_a_drive_of_which_only_the_route_is_known_moves_on_against_off() -> None:
    """Frames known to be somewhere on the route make off less likely for frames like them."""
    frames = drawn_frames(200)
    known = [
        Example(f.route, f.kind, f.elsewhere, f.values, f.right, f.right is not None)
        for f in frames
    ]
    start = fit_evidence(frames)
    fitted = fit_evidence(known, prior=start, strength=1e-3)

    def off(weights: EvidenceWeights, on: bool) -> float:
        chosen = [f for f in frames if (f.right is not None) == on]
        found = [frame_evidence(CandidateSignals(f.values), weights).off for f in chosen]
        return float(np.mean(found))

    assert off(fitted, True) <= off(start, True) + 1e-3
    assert off(fitted, False) >= off(start, False) - 0.05


def test_weights_are_even_over_halves_kinds_and_cells() -> None:
    keys = [("a", "r", "", True)] * 30 + [("a", "s", "", True)] * 2 + [("b", "r", "", True)] * 5
    keys += [("a", "r", "x", False)] * 7
    weights = balanced(keys)
    sums: dict[tuple[str, str, str, bool], float] = defaultdict(float)
    for key, weight in zip(keys, weights, strict=True):
        sums[key] += weight
    assert weights.sum() == pytest.approx(1)
    assert sums["a", "r", "x", False] == pytest.approx(0.5)
    assert sums["a", "r", "", True] == pytest.approx(0.125)
    assert sums["a", "s", "", True] == pytest.approx(0.125)
    assert sums["b", "r", "", True] == pytest.approx(0.25)


def beliefs(count: int, seed: int = 0) -> list[Belonging]:
    """Frames along drives, right ones with larger signals; a third of them off the map."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(count):
        on = number % 3 > 0
        right = bool(on and rng.random() < 0.8)
        signals = rng.normal(1.5 if right else -0.5, 1.0, len(TRACK_SIGNALS))
        tag = f"d{number % 7}"
        frames.append(
            Belonging("r", "k", "plain", tag, "" if on else "x", number, on, right, 0.0, signals)
        )
    return frames


def test_the_trust_fit_equals_a_library_fit() -> None:
    linear_model = pytest.importorskip(
        "sklearn.linear_model", reason="scikit-learn is not installed"
    )
    frames = beliefs(900)
    weights, offset = fit_trust(frames)
    x = np.stack([frame.signals for frame in frames])
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    # sklearn minimises C sum(loss) + w^2 / 2.
    library = linear_model.LogisticRegression(C=1 / 1e-4, tol=1e-12, max_iter=5000)
    library.fit(scaled, [f.right for f in frames], sample_weight=even(frames))
    np.testing.assert_allclose(weights, library.coef_[0] / x.std(axis=0), rtol=1e-3, atol=1e-4)
    expected = library.predict_proba(scaled)[:, 1]
    np.testing.assert_allclose(confidences(frames, weights, offset), expected, atol=1e-4)


def test_thresholds_are_the_lowest_that_keep_their_rates() -> None:
    rng = np.random.default_rng(2)
    confidence = rng.random(400)
    wrong = rng.random(400) > confidence
    weight = rng.random(400)
    for rate, level in zip(ERRORS, _thresholds(confidence, wrong, weight), strict=True):
        allowed = [
            c
            for c in confidence
            if (weight * wrong)[confidence >= c].sum() <= rate * weight[confidence >= c].sum()
        ]
        assert level == (min(allowed) if allowed else 1.0)


def test_a_stricter_rate_never_has_a_lower_threshold() -> None:
    frames = beliefs(900)
    weights, offset = fit_trust(frames)
    trust = trust_weights(weights, offset, frames, confidences(frames, weights, offset))
    assert list(trust.thresholds) == sorted(trust.thresholds, reverse=True)
    levels = [trust.threshold(rate) for rate in (0.0005, 0.001, 0.003, 0.01, 0.04, 0.2)]
    assert levels == sorted(levels, reverse=True)
