"""What the localizer saw and what it found, in one picture."""

from __future__ import annotations

from collections.abc import Sequence

from saane_ros.types import Embedding, Match, MatchState, Rgb
from saane_ros.visualization.attention import overlay_attention
from saane_ros.visualization.labels import overlay_labels
from saane_ros.visualization.panel import Tile, side_by_side

STATE_COLOURS = {
    MatchState.LOCALIZED: (110, 220, 130),
    MatchState.UNCERTAIN: (245, 200, 80),
    MatchState.LOST: (250, 120, 110),
    MatchState.OFF_ROUTE: (200, 160, 250),
}


def match_caption(match: Match) -> str:
    """State, place, distance, ratio and confidence of a match in one line."""
    return (
        f"{match.state.name}   place {match.place.id} {match.place.name}   "
        f"distance {match.distance:.2f}   ratio {match.ratio:.3f}   "
        f"confidence {match.confidence:.2f}"
    )


def match_panel(query: Rgb, matched: Rgb | None, match: Match, tile_height: int = 240) -> Rgb:
    """Query and matched place side by side over the caption of the match."""
    tiles = [Tile("query", query), Tile("matched place", matched)]
    return side_by_side(tiles, match_caption(match), tile_height, colour=STATE_COLOURS[match.state])


def overview(
    query: Rgb,
    embedding: Embedding,
    matched: Rgb | None,
    match: Match,
    class_names: Sequence[str] = (),
    opacity: float = 0.5,
    tile_height: int = 240,
) -> Rgb:
    """Query, matched place, every attention map and the segmentation over the match's caption.

    Attention maps and segmentation are shown where the embedding has them.
    """
    tiles = [Tile("query", query), Tile("matched place", matched)]
    for modality, attention in embedding.attention.items():
        overlay = overlay_attention(query, attention, opacity, stretch=True)
        tiles.append(Tile(f"{modality} attention", overlay))
    if embedding.labels is not None:
        labelled = overlay_labels(query, embedding.labels, class_names, opacity)
        tiles.append(Tile("segmentation", labelled))
    return side_by_side(tiles, match_caption(match), tile_height, colour=STATE_COLOURS[match.state])
