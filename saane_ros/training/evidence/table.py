"""What drives on and off maps came to, one row a route and drive, none averaged away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saane_ros.route_map.calibration import TrustWeights
from saane_ros.training.evidence.runs import SEGMENT, Belonging

ERROR_RATE = 0.01
BINS = 10

Floats = NDArray[np.float64]


def drive_table(
    model: str, frames: Sequence[Belonging], confidence: Floats, trust: TrustWeights
) -> str:
    """The table of one model as text. confidence: of every frame, by a fit without its kinds."""
    accepted = trust.threshold(ERROR_RATE)
    said = confidence >= accepted
    lines = [
        f"{model}: accepted from confidence {accepted:.3f} on, at an error rate of {ERROR_RATE:g}.",
        "Every row by weights fitted without its kind of route and its kind of other place.",
        "",
        f"{'route':<14}{'drive':<34}{'on':>7}{'right':>8}{'wrong':>8}{'off':>8}{'false':>8}",
    ]
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, frame in enumerate(frames):
        rows[frame.route, _label(frame)].append(number)
    lines += [_row(*key, frames, said, np.array(own)) for key, own in rows.items()]
    lines += ["", *_kidnaps(frames, said), "", *_reliability(frames, confidence)]
    return "\n".join(lines) + "\n"


def _label(frame: Belonging) -> str:
    if frame.elsewhere:
        kind = " (its own kind)" if frame.elsewhere == frame.kind else ""
        place = frame.tag.split(" + ")[-1]
        return f"{frame.scenario}: {place}{kind}"
    return f"{frame.scenario}, {frame.tag}"


def _row(
    route: str, label: str, frames: Sequence[Belonging], said: NDArray[np.bool_], own: NDArray
) -> str:
    on = np.array([frames[row].on for row in own])
    right = np.array([frames[row].right for row in own])
    told = said[own]
    cells = [f"{int(on.sum()):>7}", _share(told & right, on), _share(told & ~right, on)]
    cells += [f"{int((~on).sum()):>8}", _share(told, ~on)]
    return f"{route:<14}{label:<34}" + "".join(cells)


def _share(hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> str:
    return f"{hits[among].mean():>8.4f}" if among.any() else f"{'-':>8}"


def _kidnaps(frames: Sequence[Belonging], said: NDArray[np.bool_]) -> list[str]:
    """Wrong frames a kidnap and frames to recover, per drive."""
    drives: dict[tuple[str, str], list[list[int]]] = defaultdict(list)
    for number, frame in enumerate(frames):
        if frame.scenario != "kidnapped":
            continue
        if frame.since == 0:
            drives[frame.route, frame.tag].append([])
        drives[frame.route, frame.tag][-1].append(number)
    lines = [
        f"kidnaps every {SEGMENT} frames: wrong frames each (mean, worst), frames to recover "
        "(median, worst; never counts as all)"
    ]
    for (route, tag), segments in drives.items():
        wrong, recovery = [], []
        for segment in segments[1:]:
            right = np.array([frames[row].right for row in segment])
            told = said[segment]
            wrong.append(int((told & ~right).sum()))
            found = np.flatnonzero(told & right)
            recovery.append(int(found[0]) if len(found) else len(segment))
        if wrong:
            lines.append(
                f"{route:<14}{tag:<20}{np.mean(wrong):>6.2f}{max(wrong):>5}"
                f"{np.median(recovery):>7.1f}{max(recovery):>5}"
            )
    return lines


def _reliability(frames: Sequence[Belonging], confidence: Floats) -> list[str]:
    """Reliability of the confidence over all frames, on and off, and its calibration error."""
    right = np.array([frame.right for frame in frames])
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    lines, error = ["confidence: frames, mean, share that is right"], 0.0
    for number in range(BINS):
        own = bins == number
        if own.any():
            mean, share = confidence[own].mean(), right[own].mean()
            error += own.mean() * abs(mean - share)
            lines.append(
                f"{number / BINS:.1f} to {(number + 1) / BINS:.1f}{int(own.sum()):>9}"
                f"{mean:>8.3f}{share:>8.3f}"
            )
    return [*lines, f"expected calibration error {error:.4f}"]
