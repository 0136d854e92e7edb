"""The demo's report: figures first, then curves, then pictures, then how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.demo.pictures import chosen_answers, evenly, frame_board
from saane_ros.demo.queries import Queries
from saane_ros.demo.scene import Scene
from saane_ros.demo.scoring import LOCALIZED, Answer, Score, verdict
from saane_ros.demo.summary import LiveAnswers, node_table, system_table
from saane_ros.evaluation.charts import Axis, Series, chart
from saane_ros.evaluation.positives import metres_between
from saane_ros.evaluation.report import Number, Picture, Report
from saane_ros.ros.listening.published import Replay
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Place, Rgb


@dataclass(frozen=True)
class Findings:
    """All that the report is made of.

    answers, scores, titles, legend: by system, the live one under "live".
    """

    scene: Scene
    figures: Mapping[str, Any]
    heard: Replay
    route_map: RouteMap
    queries: Queries
    correct: Sequence[NDArray[np.int64]]
    live: LiveAnswers
    answers: Mapping[str, Sequence[Answer]]
    scores: Mapping[str, Score | None]
    titles: Mapping[str, str]
    legend: Mapping[str, str]
    commands: str

    def shown(self) -> list[int]:
        """The answers, by position, of which pictures were published and kept."""
        return [i for i, stamp in enumerate(self.live.stamps) if stamp in self.heard.pictures]

    def true_place(self, query: int) -> int:
        """Of the correct places of a query the nearest one by pose, or the middle one."""
        rows, places = self.correct[query], self.route_map.places
        here = self.queries.frames[query].pose
        known = [(int(row), pose) for row in rows if (pose := places[row].pose) is not None]
        if here is None or not known:
            return int(rows[len(rows) // 2])
        return min(known, key=lambda pair: metres_between(here, pair[1]))[0]

    def pictured(self) -> tuple[list[int], list[int]]:
        """Right and wrong answers, by position, that the report shows."""
        if self.scores["live"] is None:
            return evenly(self.shown(), 10), []
        return chosen_answers(self.live.answers, self.correct, self.shown())


def write_report(findings: Findings, images: Mapping[int, Rgb]) -> Report:
    """The report; `images` are those of the queries of `Findings.pictured`, by query number."""
    figures = findings.figures
    report = Report(findings.scene.title, findings.scene.lead)
    report.numbers(_first_numbers(figures, findings.scores["live"]))
    report.heading("The live node")
    report.table(*node_table(figures))
    report.paragraph(
        "Age is the time from the image's stamp to the publication of its match on one clock. "
        "Dropped are images that a newer one overtook while the network was busy.",
        quiet=True,
    )
    if findings.scores["live"] is not None:
        _add_systems(report, findings)
    good, bad = findings.pictured()
    report.heading("What the localizer saw" if not bad else "What the localizer saw: right places")
    report.pictures([_picture(findings, i, images) for i in good])
    if bad:
        report.heading("What the localizer saw: places that are easily mistaken")
        report.pictures([_picture(findings, i, images) for i in bad])
    report.heading("Every step by hand")
    report.commands(findings.commands)
    return report


def _first_numbers(figures: Mapping[str, Any], live: Score | None) -> list[Number]:
    frames, age, inference = figures["frames"], figures["image_age_ms"], figures["inference_ms"]
    numbers = []
    if live is not None:
        numbers = [
            Number("Recall@1", f"{live.recall[1]:.3f}", "nearest place to one image alone"),
            Number("PR-AUC", f"{live.auc_windowed_r2:.3f}", "ratio test, windowed + R2"),
        ]
    numbers.append(
        Number(
            "frames matched",
            str(frames["matched"]),
            f"of {frames['in']}, {frames['dropped']} dropped",
        )
    )
    if age["p50"] is not None:
        note = f"p95 {age['p95']:.0f} ms, inference {inference['p50']:.0f} ms"
        numbers.append(Number("median image age", f"{age['p50']:.0f} ms", note))
    return numbers


def _add_systems(report: Report, findings: Findings) -> None:
    report.heading("Place recognition")
    report.table(*system_table(findings.scores, findings.titles), strong=[0])
    unknown = findings.figures["queries_without_a_place"]
    left_out = f"{unknown} queries have no place in the map and are left out. " if unknown else ""
    report.paragraph(
        f"Correct: {findings.scene.tolerance}. {left_out}Recall@N and both areas judge one image "
        "alone; the last two columns judge what the sequence filter made of it. Areas of different "
        "kinds must not be compared.",
        quiet=True,
    )
    curves = [
        Series(findings.legend[name], score.curve.recall, score.curve.precision)
        for name, score in findings.scores.items()
        if score is not None
    ]
    charts = [
        (
            chart(curves, Axis("recall (share of all queries)", 0, 1), Axis("precision", 0, 1)),
            "Precision over recall of the ratio test, windowed second best, recall R2.",
        ),
        (_along_the_route(findings), "The nearest place to every image alone, along the route."),
    ]
    report.charts(charts)


def _along_the_route(findings: Findings) -> str:
    """Where every system put every frame, over the number of the frame."""
    along = findings.route_map.arc_length
    truth = [
        (n, float(along[findings.true_place(n)]))
        for n, rows in enumerate(findings.correct)
        if len(rows)
    ]
    numbers, places = (np.array(values, float) for values in zip(*truth, strict=True))
    series = [Series("true place", numbers, places)]
    for name, answers in findings.answers.items():
        x = np.array([answer.query for answer in answers], float)
        y = np.array([along[int(answer.candidates[0])] for answer in answers])
        series.append(Series(findings.legend[name], x, y, dots=True))
    unit = "metres" if findings.route_map.metric else "places"
    last = max(float(len(findings.correct)), 1.0)
    return chart(
        series,
        Axis("frame", 0, last),
        Axis(f"{unit} along the route", 0, max(float(along[-1]), 1.0)),
    )


def _picture(findings: Findings, position: int, images: Mapping[int, Rgb]) -> Picture:
    answer = findings.live.answers[position]
    stamp = findings.live.stamps[position]
    match, places = findings.heard.matches[stamp], findings.route_map.places
    rows = findings.correct[answer.query]
    caption = (
        f"{match.state.upper()}   place {match.place} {match.place_name}   distance "
        f"{match.distance:.2f}   ratio {match.ratio:.3f}   confidence {match.confidence:.2f}"
    )
    told, tone = "", ""
    further: dict[str, Place] = {}
    if len(rows):
        told, tone, further = _verdict(answer, rows, places, findings.true_place(answer.query))
    board = frame_board(images[answer.query], findings.heard.pictures[stamp], caption, further)
    return Picture(board, f"frame {answer.query}, age {match.image_age_ms:.0f} ms", told, tone)


def _verdict(
    answer: Answer, rows: NDArray[np.int64], places: Sequence[Place], true_place: int
) -> tuple[str, str, dict[str, Place]]:
    """What to say of an answer, in which tone, and which places to show beside it."""
    one = verdict(answer, rows)
    if one.filtered and one.nearest:
        return "right place", "good", {}
    further = {
        "true place": places[true_place],
        "nearest to this image": places[int(answer.candidates[0])],
    }
    if one.filtered:
        return "right place by the sequence, the image alone looks like another", "warn", further
    if answer.state == LOCALIZED:
        return "wrong place", "bad", further
    return f"wrong place, and told as {answer.state}", "warn", further
