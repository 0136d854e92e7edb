"""`drive.html`: the table, whether confidence means what it says, and the belief over time."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.evaluation.charts import Axis, Series, chart
from saane_ros.evaluation.drives.evaluation import (
    TITLES,
    DriveEvaluation,
    Trace,
    cells,
    footnotes,
)
from saane_ros.evaluation.drives.metrics import REFUSED, Figures, Reliability
from saane_ros.evaluation.report import Number, Report
from saane_ros.types import MatchState

LEAST_SHADE = 1e-4
"""Mass of which nothing is seen; the shade is logarithmic from here to 1."""
COLOURS = {
    MatchState.LOCALIZED.value: "var(--good)",
    MatchState.UNCERTAIN.value: "var(--warn)",
    MatchState.LOST.value: "var(--line)",
    MatchState.OFF_ROUTE.value: "var(--quiet)",
    REFUSED: "var(--ink)",
}
WRONG = "var(--bad)"
SHADE = (60, 150, 235)
"""Blue, green and red of the belief: readable on light and dark paper."""
_WIDTH, _LEFT, _RIGHT, _TOP = 1080, 64, 12, 26
_HEIGHT, _STRIP, _BOTTOM = 300, 18, 48


def write_report(evaluation: DriveEvaluation, title: str, command: str, path: Path) -> None:
    """Write the report of a drive."""
    report = Report(title, "What the localizer says on its route, off it, and after a surprise.")
    report.numbers(_headline(evaluation))
    report.heading("Scenarios")
    strong = [row for row, figures in enumerate(evaluation.rows) if figures.name == "plain"]
    report.table(TITLES, cells(evaluation), strong)
    for note in footnotes(evaluation):
        report.paragraph(note, quiet=True)
    report.heading("What a confidence means")
    report.charts([_diagram(evaluation), _histogram(evaluation)])
    if evaluation.traces:
        report.heading("Belief over the route in time")
        for trace in evaluation.traces:
            report.charts([(belief_chart(trace), _caption(trace))])
    report.heading("To get it again")
    report.commands(command)
    report.write(path)


def _headline(evaluation: DriveEvaluation) -> list[Number]:
    rows = evaluation.rows
    plain = rows[0]
    away = [row for row in rows if row.false_share is not None and row.tag]
    parked = [row for row in rows if row.parked]
    jumps = next((row for row in rows if row.name == "kidnaps"), None)
    numbers = []
    if plain.on:
        numbers.append(Number("LOCALIZED and right", _per_cent(plain.right_share), "plain drive"))
        numbers.append(Number("LOCALIZED and wrong", _per_cent(plain.wrong_share), "plain drive"))
    if away:
        worst = max(away, key=_false)
        numbers.append(
            Number(
                "LOCALIZED off the route",
                _per_cent(worst.false_share),
                f"at worst: {worst.tag}, {worst.name}",
            )
        )
    if parked:
        ended = sum(row.parked_localized for row in parked)
        numbers.append(
            Number("parked elsewhere, end LOCALIZED", f"{ended} of {sum(r.parked for r in parked)}")
        )
    if jumps is not None and jumps.on:
        median = jumps.jumps.median_recovery
        numbers.append(
            Number("frames to recover", "never" if median is None else f"{median:g}", "kidnaps")
        )
    return numbers


def _false(row: Figures) -> float:
    return row.false_share or 0.0


def _per_cent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _diagram(evaluation: DriveEvaluation) -> tuple[str, str]:
    line = np.array([0.0, 1.0])
    series = [
        _reliability("all frames", evaluation.reliability["all"]),
        _reliability("on the route", evaluation.reliability["on"]),
        Series("as it should be", line, line),
    ]
    drawn = chart(series, Axis("confidence", 0, 1), Axis("share that is right", 0, 1))
    return drawn, "Reliability over all scenarios: of the frames of one confidence, how many right."


def _reliability(name: str, found: Reliability) -> Series:
    known = [
        (said, true)
        for said, true in zip(found.confidence, found.right, strict=True)
        if said is not None and true is not None
    ]
    x, y = np.array(known, np.float64).reshape(-1, 2).T
    return Series(name, x, y)


def _histogram(evaluation: DriveEvaluation) -> tuple[str, str]:
    middles = (np.arange(10) + 0.5) / 10
    series = []
    for name, key in (("on the route", "on"), ("off the route", "off")):
        counts = np.array(evaluation.reliability[key].counts, np.float64)
        if counts.sum():
            series.append(Series(name, middles, counts / counts.sum()))
    drawn = chart(series, Axis("confidence", 0, 1), Axis("share of frames", 0, 1))
    return drawn, "Where the confidence of frames on the route lies, and of those off it."


def _caption(trace: Trace) -> str:
    scenario = trace.scenario
    where = f", {scenario.tag}" if scenario.tag else ""
    return (
        f"{scenario.name}{where}. Shade: belief in each place, by the logarithm of its mass. "
        "Line: true place; dots: matched place while LOCALIZED, red where that is wrong. Strip: "
        "the state of every frame."
    )


def belief_chart(trace: Trace) -> str:
    """Frames to the right, places along the route upwards, as SVG."""
    right, bottom = _WIDTH - _RIGHT, _TOP + _HEIGHT
    frames, places = len(trace.found), trace.places
    across = (right - _LEFT) / frames
    up = _HEIGHT / places
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {bottom + _STRIP + _BOTTOM}" role="img">',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{_HEIGHT}" class="axis"/>',
        f'<image x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{_HEIGHT}" '
        f'preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="{_shade(trace.belief)}"/>',
    ]

    def at(frame: float, row: float) -> tuple[float, float]:
        return _LEFT + (frame + 0.5) * across, bottom - (row + 0.5) * up

    for run in _true_runs(trace):
        points = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in run)
        parts.append(
            f'<polyline points="{points}" fill="none" style="stroke:var(--ink)" '
            'stroke-width="1.2" stroke-opacity="0.8"/>'
        )
    wrong = ~trace.answers.right & (trace.answers.on | trace.answers.off)
    for frame in np.flatnonzero(trace.answers.localized):
        x, y = at(float(frame), float(trace.found[frame]))
        colour = WRONG if wrong[frame] else "var(--good)"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.7" style="fill:{colour}"/>')
    parts += _strip(trace, bottom + 4, across)
    parts += _labels(frames, places, bottom)
    return "\n".join([*parts, "</svg>"])


def _shade(belief: NDArray[np.float32]) -> str:
    """A PNG of one colour whose opacity is the belief, the last place on top."""
    level = 1 - np.log(np.clip(belief, LEAST_SHADE, 1.0)) / np.log(LEAST_SHADE)
    picture = np.empty((*belief.T.shape, 4), np.uint8)
    picture[..., :3] = SHADE
    picture[..., 3] = np.rint(255 * level.T[::-1])
    data = cv2.imencode(".png", picture)[1].tobytes()
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _true_runs(trace: Trace) -> list[list[tuple[float, float]]]:
    """Unbroken runs of the true place: (frame, row); one ends where the next place is far away."""
    runs: list[list[tuple[float, float]]] = []
    far = max(trace.places / 10, 10)
    last: tuple[float, float] | None = None
    for frame, step in enumerate(trace.scenario.steps):
        if step.where.place is None:
            last = None
            continue
        point = (float(frame), float(step.where.place))
        if last is None or abs(point[1] - last[1]) > far:
            runs.append([])
        runs[-1].append(point)
        last = point
    return runs


def _strip(trace: Trace, top: float, across: float) -> list[str]:
    """One rectangle a run of equal states, wrong ones apart, and the legend."""
    answers = trace.answers
    wrong = answers.localized & ~answers.right & (answers.on | answers.off)
    colours = [
        WRONG if bad else COLOURS[state] for state, bad in zip(answers.states, wrong, strict=True)
    ]
    parts, first = [], 0
    for frame in range(1, len(colours) + 1):
        if frame == len(colours) or colours[frame] != colours[first]:
            parts.append(
                f'<rect x="{_LEFT + first * across:.2f}" y="{top}" '
                f'width="{(frame - first) * across:.2f}" height="{_STRIP - 4}" '
                f'style="fill:{colours[first]}"/>'
            )
            first = frame
    legend = [(state, colour) for state, colour in COLOURS.items() if state in answers.states]
    legend = [("localized, wrong", WRONG), *legend] if wrong.any() else legend
    x = float(_LEFT)
    for name, colour in legend:
        text = name.replace("_", " ")
        parts.append(
            f'<rect x="{x:g}" y="6" width="12" height="12" style="fill:{colour}"/>'
            f'<text x="{x + 17:g}" y="16">{text}</text>'
        )
        x += 34 + 6.6 * len(text)
    return parts


def _labels(frames: int, places: int, bottom: int) -> list[str]:
    right = _WIDTH - _RIGHT
    middle = _TOP + _HEIGHT / 2
    parts = [
        f'<text x="{(_LEFT + right) / 2:g}" y="{bottom + _STRIP + 40}" text-anchor="middle">'
        "frame</text>",
        f'<text transform="translate(14 {middle:g}) rotate(-90)" text-anchor="middle">'
        "place along the route</text>",
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = _LEFT + share * (right - _LEFT)
        y = bottom - share * _HEIGHT
        anchor = "end" if share == 1.0 else "start" if share == 0.0 else "middle"
        parts.append(
            f'<text x="{x:g}" y="{bottom + _STRIP + 20}" text-anchor="{anchor}">'
            f"{round(share * frames)}</text>"
            f'<text x="{_LEFT - 8}" y="{y + 4:g}" text-anchor="end">{round(share * places)}</text>'
        )
    return parts
