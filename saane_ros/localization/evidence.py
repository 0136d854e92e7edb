"""What one frame says: the probability of each candidate place, of a place that was not found, and
of being off the map, from signals that do not depend on each other.

A conditional logit (McFadden 1974): every candidate has a score s_i = w . x_i + b of its signals,
"on the map, but not among the candidates" has s_0 = v . y + c of the best candidate's, and "off the
map" has score 0; the probabilities are the softmax of the scores. Candidates are groups of places
within one neighbourhood of the place graph, so that it does not matter how densely a road was
mapped. The weights are fitted where on and off are equally frequent; dividing by that prior gives
likelihood ratios for the filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.route_map.calibration import SIGNALS, EvidenceWeights, MapScale

NEAREST = 64
"""Places taken from the search."""
GROUPS = 6
"""Candidate groups that are looked at: the true place is rarely behind more wrong ones."""
COHORT_NEAREST = 5
GROUP_STEPS = 5.0
GROUP_M = 5.0
"""Reach of a neighbourhood on either side, the wider of the two; poses within it count as one."""
SHARPNESS = 80.0
"""Within a group a place has the share (d_best / d)^80: 1 % further away is half as likely."""
_FLOOR = 0.02
"""Of an agreement: four cells of 196 agree by chance."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CandidateSignals:
    """Signals of candidate groups, the nearest first: float64 (G, len(SIGNALS)), in that order."""

    values: Floats

    @property
    def best(self) -> dict[str, float]:
        """Those of the nearest by name."""
        return dict(zip(SIGNALS, map(float, self.values[0]), strict=True))


def signals(
    distances: Floats,
    agreements: Floats | None,
    cohort: Floats,
    sample: Floats,
    scale: MapScale,
) -> CandidateSignals:
    """Signals of candidates.

    distances: of the best place of each group (G,), ascending but for tracked ones at the end.
    agreements: of the feature grids, share of cells (G,); None without grids.
    cohort: distances to the cohort's images.  sample: to places spread over the map.
    """
    nearest = np.sort(cohort)[:COHORT_NEAREST].mean()
    low, middle, high = _quantiles(sample, np.array((0.025, 0.5, 0.975)))
    spread = max(high - low, 1e-6 * float(nearest) + 1e-12)
    logs = np.log(np.maximum(distances, 1e-6 * nearest + 1e-12))
    columns = {
        "cohort": logs - np.log(nearest),
        "absolute": logs - np.log(scale.impostor),
        "z": np.minimum(np.maximum((distances - middle) / spread, -5.0), 5.0),
        "ratio": _against_best_other(logs),
        "agreement": np.zeros(len(logs)),
        "agreement_ratio": np.zeros(len(logs)),
    }
    if agreements is not None:
        seen = np.log(agreements + _FLOOR)
        columns["agreement"] = seen - np.log(scale.agreement + _FLOOR)
        columns["agreement_ratio"] = -_against_best_other(-seen)
    return CandidateSignals(np.stack([columns[name] for name in SIGNALS], axis=1))


def _quantiles(values: Floats, shares: Floats) -> list[float]:
    """Linear between the values (n,). NumPy's own takes longer to begin than they take."""
    ascending = np.sort(values)
    at = shares * (len(values) - 1)
    low = np.minimum(at.astype(np.int64), max(len(values) - 2, 0))
    below, above = ascending[low], ascending[np.minimum(low + 1, len(values) - 1)]
    between: list[float] = (below + (at - low) * (above - below)).tolist()
    return between


def _against_best_other(values: Floats) -> Floats:
    """Each value minus the least of the others; 0 where there is no other."""
    if len(values) < 2:
        return np.zeros(len(values))
    first, second = np.partition(values, 1)[:2]
    return values - np.where(np.arange(len(values)) == int(values.argmin()), second, first)


@dataclass(frozen=True)
class FrameEvidence:
    """Probabilities at even odds of on and off: of each group (G,), of a place not found, of off.

    They sum to 1.
    """

    groups: Floats
    missed: float
    off: float


@dataclass(frozen=True, eq=False)
class Testimony:
    """What a witness of its own says: log of how much likelier it is at spots (m,), ascending, than
    anywhere else, on the map or off it.
    """

    spots: NDArray[np.int64]
    log_ratio: float


def frame_evidence(found: CandidateSignals, weights: EvidenceWeights) -> FrameEvidence:
    """The conditional logit."""
    scores = np.concatenate((scores_of(found.values, weights), [0.0]))
    likely = np.exp(scores - scores.max())
    likely /= likely.sum()
    return FrameEvidence(likely[:-2], float(likely[-2]), float(likely[-1]))


def with_testimony(
    evidence: FrameEvidence, spots: Sequence[NDArray[np.int64]], told: Testimony
) -> FrameEvidence:
    """The evidence multiplied by a testimony; spots: of each group."""
    there = [bool(np.isin(told.spots, some).any()) for some in spots]
    groups = evidence.groups * np.exp(np.where(there, told.log_ratio, 0.0))
    total = float(groups.sum()) + evidence.missed + evidence.off
    return FrameEvidence(groups / total, evidence.missed / total, evidence.off / total)


def scores_of(values: Floats, weights: EvidenceWeights) -> Floats:
    """Scores of the groups, and behind them that of a place not found (G + 1,)."""
    groups = values @ np.asarray(weights.candidate) + weights.candidate_offset
    missed = float(values[0] @ np.asarray(weights.missed)) + weights.missed_offset
    return np.append(groups, missed)
