"""Figures of one scenario, from what a localizer answered to each of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.evaluation.drives.scenarios import JUMPS, PARKED, STOP, Scenario, Span
from saane_ros.types import REFINED, Match, MatchState, Pose

BINS = 10
REFUSED = "refused"
_NORMAL_975 = 1.959964

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """What was answered to each step of a scenario, all (n,).

    refused: the image was not matched.  localized, off_route: the state.
    on, off: the frame was taken on the map, off it; neither where nobody knows.
    right: the place is one of the right ones, whatever the state.
    confidence: NaN where refused.  nees: NaN without pose or true position.
    refined: the pose is by points of the map.  error, place_error: metres in the plane of the pose,
    and of that of places alone; NaN without.
    """

    stamps_ns: NDArray[np.int64]
    states: list[str]
    refused: Bools
    localized: Bools
    off_route: Bools
    on: Bools
    off: Bools
    right: Bools
    confidence: Floats
    nees: Floats
    search_ms: Floats
    filter_ms: Floats
    rerank_ms: Floats
    refined: Bools
    error: Floats
    place_error: Floats


def answers_of(scenario: Scenario, matches: Sequence[Match | None]) -> Answers:
    """Judge the matches of a scenario's steps; None for an image that was refused."""
    steps = scenario.steps
    states = [REFUSED if match is None else match.state.value for match in matches]
    rows = [step.where.rows for step in steps]
    right = [
        match is not None and known is not None and bool(np.isin(match.place.id, known))
        for match, known in zip(matches, rows, strict=True)
    ]
    return Answers(
        np.array([step.stamp_ns for step in steps], np.int64),
        states,
        np.array([match is None for match in matches]),
        np.array([state == MatchState.LOCALIZED.value for state in states]),
        np.array([state == MatchState.OFF_ROUTE.value for state in states]),
        np.array([known is not None and len(known) > 0 for known in rows]),
        np.array([known is not None and len(known) == 0 for known in rows]),
        np.array(right),
        np.array([np.nan if match is None else match.confidence for match in matches]),
        np.array([_nees(match, s.where.position) for match, s in zip(matches, steps, strict=True)]),
        _timings(matches, "search"),
        _timings(matches, "filter"),
        _timings(matches, "rerank"),
        np.array([match is not None and match.source == REFINED for match in matches]),
        _errors([None if match is None else match.pose for match in matches], scenario),
        _errors([None if match is None else _by_place(match) for match in matches], scenario),
    )


def _by_place(match: Match) -> Pose | None:
    return None if match.by_place is None else match.by_place[0]


def _errors(poses: Sequence[Pose | None], scenario: Scenario) -> Floats:
    """Metres in the plane from the true positions (n,), NaN where one of them is not known."""
    there = [step.where.position for step in scenario.steps]
    return np.array(
        [
            np.nan
            if pose is None or position is None
            else np.linalg.norm(np.array(pose.position[:2]) - position)
            for pose, position in zip(poses, there, strict=True)
        ],
        np.float64,
    )


def _nees(match: Match | None, position: Floats | None) -> float:
    """Normalised estimation error squared in the plane (Bar-Shalom et al. 2001, eq. 5.4.2-14)."""
    if match is None or match.pose is None or match.covariance is None or position is None:
        return float("nan")
    error = np.array(match.pose.position[:2]) - position
    plane = np.array(match.covariance).reshape(6, 6)[:2, :2]
    return float(error @ np.linalg.solve(plane, error))


def _timings(matches: Sequence[Match | None], part: str) -> Floats:
    """Of the frames that had the part."""
    return np.array([m.timings_ms[part] for m in matches if m and part in m.timings_ms], np.float64)


@dataclass(frozen=True)
class Jumps:
    """Kidnaps, pauses, and returns from off the route.

    wrong: frames LOCALIZED and wrong until the next one, of each.
    recovery: frames to the first LOCALIZED and right, that one included; None where none was.
    """

    wrong: list[int]
    recovery: list[int | None]

    @property
    def median_recovery(self) -> float | None:
        """Never counts as longest; None where half of them never recovered or there is none."""
        if not self.recovery:
            return None
        middle = float(np.median([np.inf if one is None else one for one in self.recovery]))
        return middle if np.isfinite(middle) else None

    @property
    def worst_recovery(self) -> int | None:
        """None where one never recovered or there is none."""
        known = [one for one in self.recovery if one is not None]
        return max(known) if known and len(known) == len(self.recovery) else None


@dataclass(frozen=True)
class Nees:
    """Mean over frames, ideally 2, and the band in which it lies in 95 of 100 cases if the
    covariance is right and frames are independent, which successive ones are not."""

    count: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Figures:
    """Figures of one scenario; None where there is nothing that they are of.

    frames: all.  states: frames in each state.  on, off, refused: frames known to be on the route
    and matched, off it and matched, and not matched.
    right, wrong: of those on the route LOCALIZED and right, and wrong.
    false_localized, said_off: of those off it LOCALIZED, and OFF_ROUTE.
    falsely_off: of those on it OFF_ROUTE.
    stops_wrong, parked_localized: how many of the stops on the route end LOCALIZED and wrong, and
    of those off it LOCALIZED.
    first_fix: frames to the first LOCALIZED and right, that one included.  first_fix_s: seconds.
    lost_frames: the longest unbroken run of frames on the route that are not LOCALIZED.
    ece, ece_on, ece_off: expected calibration error of all frames known, on and off the route.
    search_ms, filter_ms: median and 95 % quantile.  rerank_ms: alike, of the latter.
    refined: of the right ones those whose pose is by points of the map.
    error_m: of poses in the plane, median and 95 % quantile; refined_m: of those by points alone,
    place_m: what the same frames would have by their places.  refined_nees: of these.
    """

    name: str
    tag: str
    frames: int
    states: dict[str, int]
    on: int
    off: int
    refused: int
    right: int
    wrong: int
    false_localized: int
    said_off: int
    falsely_off: int
    jumps: Jumps
    stops: int
    stops_wrong: int
    parked: int
    parked_localized: int
    first_fix: int | None
    first_fix_s: float | None
    lost_frames: int
    ece: float | None
    ece_on: float | None
    ece_off: float | None
    nees: Nees | None
    search_ms: tuple[float, float] | None
    filter_ms: tuple[float, float] | None
    rerank_ms: tuple[float, float] | None
    refined: int
    error_m: tuple[float, float] | None
    refined_m: tuple[float, float] | None
    place_m: tuple[float, float] | None
    refined_nees: Nees | None

    @property
    def precision(self) -> float | None:
        """Of the frames LOCALIZED on the route those that are right."""
        return _share(self.right, self.right + self.wrong)

    @property
    def refined_share(self) -> float | None:
        """Of the frames LOCALIZED and right."""
        return _share(self.refined, self.right)

    @property
    def right_share(self) -> float | None:
        return _share(self.right, self.on)

    @property
    def wrong_share(self) -> float | None:
        return _share(self.wrong, self.on)

    @property
    def false_share(self) -> float | None:
        return _share(self.false_localized, self.off)

    @property
    def off_share(self) -> float | None:
        return _share(self.said_off, self.off)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the shares among them."""
        shares = (
            "refined_share",
            "precision",
            "right_share",
            "wrong_share",
            "false_share",
            "off_share",
        )
        return {
            **asdict(self),
            **{name: getattr(self, name) for name in shares},
            "median_recovery": self.jumps.median_recovery,
            "worst_recovery": self.jumps.worst_recovery,
            "refined_share": self.refined_share,
        }


def figures(scenario: Scenario, answers: Answers) -> Figures:
    """All figures of a scenario."""
    on, off = answers.on & ~answers.refused, answers.off & ~answers.refused
    good = on & answers.localized & answers.right
    bad = on & answers.localized & ~answers.right
    fix = np.flatnonzero(good)
    stops = _ends(scenario.spans, STOP)
    parked = _ends(scenario.spans, PARKED)
    known = on | off
    return Figures(
        name=scenario.name,
        tag=scenario.tag,
        frames=len(scenario.steps),
        states={state: answers.states.count(state) for state in _states()},
        on=int(on.sum()),
        off=int(off.sum()),
        refused=int(answers.refused.sum()),
        right=int(good.sum()),
        wrong=int(bad.sum()),
        false_localized=int((off & answers.localized).sum()),
        said_off=int((off & answers.off_route).sum()),
        falsely_off=int((on & answers.off_route).sum()),
        jumps=jumps_of(scenario.spans, good, bad),
        stops=len(stops),
        stops_wrong=int(bad[stops].sum()),
        parked=len(parked),
        parked_localized=int((off & answers.localized)[parked].sum()),
        first_fix=int(fix[0]) + 1 if len(fix) else None,
        first_fix_s=_seconds(answers.stamps_ns, int(fix[0])) if len(fix) else None,
        lost_frames=longest_run(answers.on & ~answers.localized),
        ece=calibration_error(answers.confidence[known], answers.right[known]),
        ece_on=calibration_error(answers.confidence[on], answers.right[on]),
        ece_off=calibration_error(answers.confidence[off], answers.right[off]),
        nees=nees_of(answers.nees),
        search_ms=_quantiles(answers.search_ms),
        filter_ms=_quantiles(answers.filter_ms),
        rerank_ms=_quantiles(answers.rerank_ms),
        refined=int((good & answers.refined).sum()),
        error_m=_quantiles(_finite(answers.error)),
        refined_m=_quantiles(_finite(answers.error[answers.refined])),
        place_m=_quantiles(_finite(answers.place_error[answers.refined])),
        refined_nees=nees_of(answers.nees[answers.refined]),
    )


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _states() -> list[str]:
    return [*(state.value for state in MatchState), REFUSED]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _ends(spans: Sequence[Span], kind: str) -> NDArray[np.int64]:
    return np.array([span.end - 1 for span in spans if span.kind == kind], np.int64)


def _seconds(stamps_ns: NDArray[np.int64], index: int) -> float:
    return int(stamps_ns[index] - stamps_ns[0]) / 1e9


def _quantiles(values: Floats) -> tuple[float, float] | None:
    if not len(values):
        return None
    middle, high = np.quantile(values, (0.5, 0.95))
    return float(middle), float(high)


def jumps_of(spans: Sequence[Span], good: Bools, bad: Bools) -> Jumps:
    """good, bad: LOCALIZED and right, and wrong (n,)."""
    jumps = [span for span in spans if span.kind in JUMPS]
    recovery: list[int | None] = []
    for span in jumps:
        found = np.flatnonzero(good[span.first : span.end])
        recovery.append(int(found[0]) + 1 if len(found) else None)
    return Jumps([int(bad[span.first : span.end].sum()) for span in jumps], recovery)


def longest_run(flags: Bools) -> int:
    """Length of the longest unbroken run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


@dataclass(frozen=True)
class Reliability:
    """Of each of `BINS` equally wide bins of confidence: how many frames, their mean confidence,
    and the share that was right; None in an empty bin."""

    counts: list[int]
    confidence: list[float | None]
    right: list[float | None]


def reliability(confidence: Floats, right: Bools) -> Reliability:
    """The reliability diagram of probabilities (n,) and what came true (n,)."""
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    said = np.bincount(bins, confidence, minlength=BINS)
    true = np.bincount(bins, right.astype(np.float64), minlength=BINS)
    return Reliability(
        [int(count) for count in counts],
        [float(s / c) if c else None for s, c in zip(said, counts, strict=True)],
        [float(t / c) if c else None for t, c in zip(true, counts, strict=True)],
    )


def calibration_error(confidence: Floats, right: Bools) -> float | None:
    """Expected calibration error (Naeini et al., AAAI 2015): the mean over frames of how far the
    share of right ones in their bin is from its mean confidence. None of no frame."""
    if not len(confidence):
        return None
    told = reliability(confidence, right)
    apart = [
        count * abs(said - true)
        for count, said, true in zip(told.counts, told.confidence, told.right, strict=True)
        if said is not None and true is not None
    ]
    return float(sum(apart) / len(confidence))


def nees_of(values: Floats) -> Nees | None:
    """Mean of the finite ones and its 95 % band."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = (_chi_square(sign * _NORMAL_975, 2 * len(known)) for sign in (-1, 1))
    return Nees(len(known), float(known.mean()), low / len(known), high / len(known))


def _chi_square(normal: float, freedom: int) -> float:
    """Quantile of chi-square at that of the normal distribution (Wilson & Hilferty 1931)."""
    ninth = 2 / (9 * freedom)
    return float(freedom * max(1 - ninth + normal * np.sqrt(ninth), 0.0) ** 3)
