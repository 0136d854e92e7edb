"""Pictures side by side, each with its title, over one caption line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from saane_ros.types import Rgb
from saane_ros.visualization.text import INK, PAPER, text_line

_GAP = 4


@dataclass(frozen=True)
class Tile:
    """One picture of a panel; no image is shown as an empty field."""

    title: str
    image: Rgb | None


def side_by_side(
    tiles: Sequence[Tile],
    caption: str,
    tile_height: int = 240,
    columns: int = 0,
    colour: tuple[int, int, int] = INK,
) -> Rgb:
    """All tiles at one height in rows of `columns` (0: one row), titles above, caption below.

    An empty caption takes no room.
    """
    columns = columns or len(tiles)
    width = max((_scaled_width(tile.image, tile_height) for tile in tiles), default=tile_height)
    boxes = [_box(tile, width, tile_height) for tile in tiles]
    boxes += [np.full_like(boxes[0], PAPER)] * (-len(boxes) % columns)
    rows = [_joined(boxes[i : i + columns], axis=1) for i in range(0, len(boxes), columns)]
    board = _joined(rows, axis=0)
    if not caption:
        return board
    return np.vstack([board, text_line(caption, board.shape[1], max(18, tile_height // 8), colour)])


def stacked(pictures: Sequence[Rgb]) -> Rgb:
    """Pictures below each other, each filled up on the right to the width of the widest."""
    width = max(picture.shape[1] for picture in pictures)
    filled = []
    for picture in pictures:
        field = np.full((picture.shape[0], width, 3), PAPER, np.uint8)
        field[:, : picture.shape[1]] = picture
        filled.append(field)
    return np.vstack(filled)


def _scaled_width(image: Rgb | None, height: int) -> int:
    if image is None:
        return 1
    return max(1, round(image.shape[1] * height / image.shape[0]))


def _box(tile: Tile, width: int, height: int) -> Rgb:
    """Title strip over the picture, centred in a field of the given size."""
    field = np.full((height, width, 3), PAPER, np.uint8)
    if tile.image is not None:
        own = min(width, _scaled_width(tile.image, height))
        shrinks = tile.image.shape[0] > height
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        left = (width - own) // 2
        field[:, left : left + own] = cv2.resize(tile.image, (own, height), interpolation=method)
    return np.vstack([text_line(tile.title, width, max(16, height // 10)), field])


def _joined(pictures: Sequence[Rgb], axis: int) -> Rgb:
    """Pictures of equal size along the other axis, with a thin gap between them."""
    shape = list(pictures[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, PAPER, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)][:-1]
    return np.concatenate(parts, axis=axis)
