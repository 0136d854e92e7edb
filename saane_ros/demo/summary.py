"""The figures of a demo under stable names, and as the tables that are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saane_ros.demo.queries import Queries, query_by_stamp
from saane_ros.demo.scoring import LOCALIZED, Answer, Score, quantiles
from saane_ros.evaluation.positives import metres_between
from saane_ros.ros.listening.published import Replay
from saane_ros.types import Place


@dataclass(frozen=True)
class LiveAnswers:
    """The published matches as answers, in the order of the drive, and the image stamp of each."""

    answers: list[Answer]
    stamps: list[int]


def live_answers(heard: Replay, queries: Queries) -> LiveAnswers:
    """Join matches, candidates and images by their stamps."""
    query_of = query_by_stamp(heard.images, queries)
    stamps = sorted(set(heard.matches) & set(heard.candidates) & set(query_of))
    answers = []
    for stamp in stamps:
        match, candidates = heard.matches[stamp], heard.candidates[stamp]
        answers.append(
            Answer(
                query=query_of[stamp],
                state=match.state,
                place=match.place,
                confidence=match.confidence,
                candidates=candidates.places,
                distances=candidates.distances,
                ratio=match.ratio,
                inference_ms=match.inference_ms,
            )
        )
    return LiveAnswers(answers, stamps)


def frame_counts(heard: Replay, queries: Queries) -> dict[str, int]:
    """What became of the images: played by the camera, and the node's own account."""
    told = {
        name: int(heard.counts.get(f"frames_{name}") or 0)
        for name in ("in", "matched", "dropped", "failed", "lost")
    }
    return {"recorded": len(queries), "played": len(heard.images), **told}


def position_errors(
    answers: Sequence[Answer], queries: Queries, places: Sequence[Place]
) -> list[float]:
    """Metres between each localized frame and its place, where both have a pose."""
    errors = []
    for answer in answers:
        here, there = queries.frames[answer.query].pose, places[answer.place].pose
        if answer.state == LOCALIZED and here is not None and there is not None:
            errors.append(metres_between(here, there))
    return errors


def summary(
    head: Mapping[str, object],
    heard: Replay,
    queries: Queries,
    places: Sequence[Place],
    correct: Sequence[NDArray[np.int64]],
    live: LiveAnswers,
    scores: Mapping[str, Score | None],
) -> dict[str, Any]:
    """Everything of `summary.json`; shares from 0 to 1, times in ms, None where unknown.

    scores: by system, the live one under "live".
    """
    matches = [heard.matches[stamp] for stamp in live.stamps]
    return {
        **head,
        "places": len(places),
        "queries_without_a_place": sum(not len(rows) for rows in correct),
        "frames": frame_counts(heard, queries),
        "systems": {name: score_values(one) for name, one in scores.items()},
        "image_age_ms": quantiles([match.image_age_ms for match in matches]),
        "inference_ms": quantiles([match.inference_ms for match in matches]),
        "position_error_m": quantiles(position_errors(live.answers, queries, places)),
    }


def score_values(score: Score | None) -> dict[str, float | int] | None:
    if score is None:
        return None
    return {
        "answers": score.answers,
        **{f"recall_at_{n}": share for n, share in score.recall.items()},
        "pr_auc_windowed_r2": score.auc_windowed_r2,
        "pr_auc_plain_r1": score.auc_plain_r1,
        "localized": score.localized,
        "localized_correct": score.localized_correct,
    }


def system_table(
    scores: Mapping[str, Score | None], titles: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Column names and one row of text a system."""
    columns = [
        "system",
        "Recall@1",
        "Recall@5",
        "PR-AUC windowed+R2",
        "PR-AUC plain+R1",
        "localized",
        "of these correct",
    ]
    rows = []
    for name, score in scores.items():
        if score is None:
            rows.append([titles[name], *["-"] * 6])
            continue
        figures = [
            score.recall[1],
            score.recall[5],
            score.auc_windowed_r2,
            score.auc_plain_r1,
            score.localized,
            score.localized_correct,
        ]
        rows.append([titles[name], *(f"{value:.3f}" for value in figures)])
    return columns, rows


def node_table(figures: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Column names and the one row of what became of the frames, and when."""
    frames, age, inference = figures["frames"], figures["image_age_ms"], figures["inference_ms"]
    error = figures["position_error_m"]
    columns = ["frames in", "matched", "dropped", "failed", "lost"]
    cells = [str(frames[name]) for name in ("in", "matched", "dropped", "failed", "lost")]
    for name, values, unit in (
        ("age", age, "ms"),
        ("inference", inference, "ms"),
        ("error", error, "m"),
    ):
        if values["p50"] is not None:
            columns.append(f"{name} p50 / p95")
            digits = 1 if unit == "m" else 0
            cells.append(f"{values['p50']:.{digits}f} / {values['p95']:.{digits}f} {unit}")
    return columns, [cells]


def as_text(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in plain text: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    lines = []
    for row in (columns, *rows):
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(lines)
