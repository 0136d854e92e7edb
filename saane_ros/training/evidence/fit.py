"""The two fits: a conditional logit of single frames, a logistic regression of beliefs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saane_ros.route_map.calibration import SIGNALS, EvidenceWeights, TrustWeights
from saane_ros.training.evidence.runs import Belonging, Example

RIDGE = 1e-3
"""On the weights: where kinds of places disagree, smaller ones are safer."""
ERRORS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Error rates that a threshold is measured for."""
BOOTSTRAPS, SURE = 200, 0.9
"""A threshold holds its rate in this share of samples of the drives, drawn anew."""

Floats = NDArray[np.float64]


def fit_evidence(
    frames: Sequence[Example],
    used: Sequence[str] = SIGNALS,
    prior: EvidenceWeights | None = None,
    strength: float = RIDGE,
) -> EvidenceWeights:
    """Maximise the likelihood of what frames show; on and off weigh alike, kinds of places too.

    A frame of the route whose right place is no candidate is "missed". used: signals that count.
    prior: weights that the fit is drawn to, zeros where None.
    """
    values, mask, right = _padded(frames)
    off = torch.tensor([frame.right is None for frame in frames])
    anywhere = torch.tensor([frame.anywhere for frame in frames])
    weight = torch.tensor(_even(frames))
    size = len(SIGNALS)
    keep = torch.tensor([float(name in used) for name in SIGNALS], dtype=torch.double)
    start = _flat(prior) if prior is not None else np.zeros(2 * size + 2)
    centre = torch.tensor(start)
    # The offsets are free in a fit from nothing, and held like the weights in one that goes on.
    held = 2 * size if prior is None else len(start)
    parameters = torch.tensor(start, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [parameters], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-9
    )

    def loss() -> Tensor:
        groups = (values * (parameters[:size] * keep)).sum(dim=2) + parameters[2 * size]
        groups = groups.masked_fill(~mask, -1e9)
        missed = (values[:, 0] * (parameters[size : 2 * size] * keep)).sum(dim=1)
        missed = missed + parameters[2 * size + 1]
        scores = torch.cat([groups, missed[:, None], torch.zeros_like(missed)[:, None]], dim=1)
        logs = torch.log_softmax(scores, dim=1)
        of_right = torch.logsumexp(logs[:, :-2].masked_fill(~right, -1e9), dim=1)
        seen = torch.where(right.any(dim=1), of_right, logs[:, -2])
        seen = torch.where(anywhere, torch.logsumexp(logs[:, :-1], dim=1), seen)
        likely = torch.where(off, logs[:, -1], seen)
        drawn = (parameters - centre)[:held].square().sum()
        return strength * drawn - (weight * likely).sum()

    def closure() -> float:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return float(value.detach())

    optimiser.step(closure)
    found = parameters.detach().numpy() * np.concatenate((keep, keep, np.ones(2)))
    return EvidenceWeights(
        tuple(map(float, found[:size])),
        float(found[2 * size]),
        tuple(map(float, found[size : 2 * size])),
        float(found[2 * size + 1]),
    )


def _flat(weights: EvidenceWeights) -> Floats:
    ends = (weights.candidate_offset, weights.missed_offset)
    return np.array((*weights.candidate, *weights.missed, *ends))


def _padded(frames: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor]:
    most = max(len(frame.values) for frame in frames)
    values = np.zeros((len(frames), most, len(SIGNALS)))
    mask = np.zeros((len(frames), most), np.bool_)
    right = np.zeros((len(frames), most), np.bool_)
    for row, frame in enumerate(frames):
        count = len(frame.values)
        values[row, :count], mask[row, :count] = frame.values, True
        if frame.right is not None:
            right[row, :count] = frame.right
    return torch.tensor(values), torch.tensor(mask), torch.tensor(right)


def _even(frames: Sequence[Example]) -> Floats:
    """On and off half each; there every kind of route alike, its routes, and kinds elsewhere."""
    keys = [(f.kind, f.route, f.elsewhere, f.right is None) for f in frames]
    return balanced(keys)


def balanced(keys: Sequence[tuple[str, str, str, bool]]) -> Floats:
    """Weights of sum 1: halves by the last key, even over the first, then the others within it."""
    cells = Counter(keys)
    within = Counter((kind, last) for kind, _, _, last in cells)
    kinds = Counter(last for _, last in within)
    halves = len(kinds)
    return np.array(
        [1 / (halves * kinds[key[3]] * within[key[0], key[3]] * cells[key]) for key in keys]
    )


def fit_trust(frames: Sequence[Belonging]) -> tuple[tuple[float, ...], float]:
    """Weights and offset of a logistic regression of being right, on and off weighing alike."""
    x = np.stack([frame.signals for frame in frames])
    y = np.array([frame.right for frame in frames], np.float64)
    weight = even(frames)
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    design = np.column_stack(((x - mean) / spread, np.ones(len(x))))
    found = np.zeros(design.shape[1])
    ridge = 1e-4 * np.diag((*np.ones(x.shape[1]), 0.0))
    for _ in range(50):
        likely = 0.5 * (1 + np.tanh(0.5 * (design @ found)))
        gradient = design.T @ (weight * (likely - y)) + ridge @ found
        curvature = (design * (weight * likely * (1 - likely))[:, None]).T @ design
        step = np.linalg.solve(curvature + ridge + 1e-12 * np.eye(len(found)), gradient)
        found -= step / max(1.0, float(np.abs(step).max()) / 2)
        if float(np.abs(step).max()) < 1e-9:
            break
    weights = found[:-1] / spread
    return tuple(map(float, weights)), float(found[-1] - weights @ mean)


def even(frames: Sequence[Belonging]) -> Floats:
    """On and off half each, every kind of route, then its scenarios and other places, alike."""
    return balanced(
        [(f.kind, f"{f.route} {f.scenario} {f.tag}", f.elsewhere, f.on) for f in frames]
    )


def trust_weights(
    weights: tuple[float, ...], offset: float, frames: Sequence[Belonging], held_out: Floats
) -> TrustWeights:
    """With the thresholds at which drives keep their error rates.

    held_out: confidence of each frame by weights fitted without its kind of place.
    """
    wrong = np.array([not frame.right for frame in frames])
    drives = np.unique([f"{f.route} {f.tag}" for f in frames], return_inverse=True)[1]
    weight = even(frames)
    random = np.random.default_rng(0)
    count = int(drives.max()) + 1
    found = np.empty((BOOTSTRAPS, len(ERRORS)))
    for number in range(BOOTSTRAPS):
        times = np.bincount(random.integers(0, count, count), minlength=count)
        found[number] = _thresholds(held_out, wrong, weight * times[drives])
    levels = np.quantile(found, SURE, axis=0)
    # A stricter rate has no lower threshold.
    levels = np.maximum.accumulate(levels[::-1])[::-1]
    return TrustWeights(weights, offset, ERRORS, tuple(map(float, levels)))


def _thresholds(confidence: Floats, wrong: NDArray[np.bool_], weight: Floats) -> Floats:
    """The lowest confidence from which on the wrong share is at most each of ERRORS."""
    order = np.argsort(-confidence, kind="stable")
    accepted = np.cumsum(weight[order])
    share = np.cumsum((weight * wrong)[order]) / np.maximum(accepted, 1e-12)
    levels = []
    for rate in ERRORS:
        good = np.flatnonzero(share <= rate)
        levels.append(confidence[order[good[-1]]] if len(good) else 1.0)
    return np.array(levels)


def confidences(frames: Sequence[Belonging], weights: tuple[float, ...], offset: float) -> Floats:
    """The confidence of each frame."""
    score = np.stack([frame.signals for frame in frames]) @ np.array(weights) + offset
    return 0.5 * (1 + np.tanh(0.5 * score))
