"""Rules for which references are right for a query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.poses.files import courses

SAME_COURSE_DEG = 45.0
RADIUS_M = 25.0
FRAMES = 5

Correct = tuple[NDArray[np.int64], ...]


def within_frames(rows: Sequence[int | None], frames: int, references: int) -> Correct:
    """Up to `frames` references before or after each query's own row; None has no match."""
    return tuple(
        np.zeros(0, np.int64)
        if row is None
        else np.arange(max(row - frames, 0), min(row + frames + 1, references), dtype=np.int64)
        for row in rows
    )


def within_radius(
    queries: NDArray[np.float64], references: NDArray[np.float64], metres: float = RADIUS_M
) -> Correct:
    """Every reference within `metres`, of positions (Q, 2) and (N, 2)."""
    return tuple(
        np.flatnonzero(np.linalg.norm(references - query, axis=1) <= metres).astype(np.int64)
        for query in queries
    )


def along_route(
    queries: NDArray[np.float64],
    query_courses: NDArray[np.float64],
    references: NDArray[np.float64],
    reference_courses: NDArray[np.float64],
    metres: float = RADIUS_M,
    frames: int = FRAMES,
    revisit_ok: bool = True,
) -> Correct:
    """References within `frames` of where the route passed the query in the same direction.

    Positions (n, 2) in metres, courses (n,) in degrees, references in the order of the drive.
    A visit is a run of references within `metres` whose course differs by less than 45 degrees; a
    query without one has no match. With `revisit_ok` every visit counts, each around its nearest
    reference, otherwise only the nearest. NaN positions are near nothing.
    """
    found = []
    for position, course in zip(queries, query_courses, strict=True):
        distances = np.linalg.norm(references - position, axis=1)
        turned = np.abs((reference_courses - course + 180.0) % 360.0 - 180.0)
        near = np.flatnonzero((distances <= metres) & (turned < SAME_COURSE_DEG))
        visits = np.split(near, np.flatnonzero(np.diff(near) > frames) + 1) if len(near) else []
        centres = [int(visit[distances[visit].argmin()]) for visit in visits]
        if centres and not revisit_ok:
            centres = [min(centres, key=lambda row: float(distances[row]))]
        rows = [around for c in centres for around in _around(c, frames, len(references))]
        found.append(np.unique(np.array(rows, np.int64)))
    return tuple(found)


def _around(row: int, frames: int, count: int) -> range:
    return range(max(row - frames, 0), min(row + frames + 1, count))


def courses_deg(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Course (n,) in degrees, counter-clockwise from east, along positions (n, 2) in metres."""
    turns = courses(np.column_stack([positions, np.zeros(len(positions))]))
    return np.asarray(np.degrees(2 * np.arctan2(turns[:, 2], turns[:, 3])), np.float64)


def frames_in_words(frames: int) -> str:
    return "the same frame only" if frames == 0 else f"up to {frames} frames away"
