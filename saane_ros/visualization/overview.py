"""What the localizer saw and what it found, in one picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from saane_ros.types import Embedding, Match, MatchState, PointsSeen, Rgb
from saane_ros.visualization.attention import attention_tile
from saane_ros.visualization.labels import overlay_labels
from saane_ros.visualization.panel import Tile, side_by_side, stacked
from saane_ros.visualization.text import text_line

STATE_COLOURS = {
    MatchState.LOCALIZED: (110, 220, 130),
    MatchState.UNCERTAIN: (245, 200, 80),
    MatchState.LOST: (250, 120, 110),
    MatchState.OFF_ROUTE: (200, 160, 250),
}


_SEEN, _SHOULD = (80, 230, 120), (250, 90, 60)
_INK_ON_STATE = (20, 22, 26)
_SMALLEST_DETAIL = 80
"""Pixels of height: below, a title cannot be read any more."""


def match_headline(match: Match) -> str:
    """What a glance is for: the state, and how sure it is."""
    sure = ">99%" if match.confidence > 0.99 else f"{match.confidence:.0%}"
    return f"{match.state.name.replace('_', ' ')}   {sure} sure"


def match_caption(match: Match) -> str:
    """Place, distance, ratio and belief off the route of a match in one line."""
    points = match.points
    seen = "" if points is None else f"   {points.inliers} points"
    if points is not None and points.error is not None:
        seen += f" within {points.error:.1f} px"
    return (
        f"place {match.place.id} {match.place.name}   distance {match.distance:.2f}   "
        f"ratio {match.ratio:.3f}   off the route {match.off_route:.0%}{seen}"
    )


def with_points(image: Rgb, points: PointsSeen) -> Rgb:
    """The image with a ring where it shows each point, and a line from there to where it should."""
    drawn = image.copy()
    size = max(1, round(max(image.shape[:2]) / 250))
    for seen, projected in zip(points.pixels, points.projected, strict=True):
        there, right = (tuple(np.rint(one).astype(int).tolist()) for one in (seen, projected))
        cv2.circle(drawn, there, 2 * size, _SEEN, size, cv2.LINE_AA)
        cv2.line(drawn, there, right, _SHOULD, size, cv2.LINE_AA)
    return drawn


def overview(
    query: Rgb,
    embedding: Embedding,
    matched: Rgb | None,
    match: Match,
    class_names: Sequence[str] = (),
    opacity: float = 0.5,
    tile_height: int = 240,
) -> Rgb:
    """A headline in the state's colour; query and matched place large; what the network saw small.

    Attention maps and segmentation are shown where the embedding has them, and points of the map
    where the match has them.
    """
    shown = query if match.points is None else with_points(query, match.points)
    rows = [side_by_side([Tile("query", shown), Tile("matched place", matched)], "", tile_height)]
    count = len(embedding.attention) + (embedding.labels is not None)
    if count:
        height = max(min(tile_height, _SMALLEST_DETAIL), 2 * tile_height // max(3, count))
        details = _details(query, embedding, class_names, opacity, height)
        rows.append(side_by_side(details, "", height))
    width = max(row.shape[1] for row in rows)
    colour = STATE_COLOURS[match.state]
    headline = text_line(
        match_headline(match), width, max(24, tile_height // 5), _INK_ON_STATE, colour
    )
    caption = text_line(match_caption(match), width, max(18, tile_height // 10))
    return stacked([headline, *rows, caption])


def _details(
    query: Rgb, embedding: Embedding, class_names: Sequence[str], opacity: float, height: int
) -> list[Tile]:
    tiles = [
        attention_tile(f"{modality} attention", query, attention, opacity, height)
        for modality, attention in embedding.attention.items()
    ]
    if embedding.labels is not None:
        labelled = overlay_labels(query, embedding.labels, class_names, opacity)
        tiles.append(Tile("segmentation", labelled))
    return tiles
