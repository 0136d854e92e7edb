"""Which frames are worth looking at, and how they are shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.demo.scoring import Answer, verdict
from saane_ros.ros.listening.published import PICTURE_TITLES
from saane_ros.types import Place, Rgb
from saane_ros.visualization import Tile, side_by_side

_PAGE_ASPECT = 6.8
"""Width over height of a row that fills the page and can still be read."""


def evenly(items: Sequence[int], count: int) -> list[int]:
    """Up to `count` of the items, evenly spread from the first to the last."""
    if len(items) <= count:
        return list(items)
    if count < 2:
        return list(items[:count])
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def chosen_answers(
    answers: Sequence[Answer],
    correct: Sequence[NDArray[np.int64]],
    shown: Collection[int],
    good: int = 6,
    bad: int = 4,
) -> tuple[list[int], list[int]]:
    """Positions in `answers` of right and of wrong ones, each spread over the drive.

    shown: positions whose pictures are there. Right are those whose nearest and filtered place are
    both right. Of the others those with a wrong filtered place come first. Answers whose query has
    no place in the map are left out.
    """
    right: list[int] = []
    rescued: list[int] = []
    wrong: list[int] = []
    for i in sorted(shown):
        rows = correct[answers[i].query]
        if len(rows):
            one = verdict(answers[i], rows)
            (wrong if not one.filtered else right if one.nearest else rescued).append(i)
    failures = evenly(wrong, bad)
    failures += evenly(rescued, bad - len(failures))
    return evenly(right, good), sorted(failures)


def frame_board(
    query: Rgb,
    pictures: Mapping[str, bytes],
    caption: str,
    places: Mapping[str, Place] | None = None,
) -> Rgb:
    """The query, further places by title, and what was published of it, over a caption."""
    tiles = [Tile("query", query)]
    tiles += [Tile(title, thumbnail(place)) for title, place in (places or {}).items()]
    for topic, title in PICTURE_TITLES.items():
        if topic in pictures:
            tiles.append(Tile(title, decoded(pictures[topic])))
    aspect = query.shape[1] / query.shape[0]
    return side_by_side(tiles, caption, tile_height=180, columns=balanced(len(tiles), aspect))


def balanced(count: int, aspect: float) -> int:
    """Columns for `count` tiles of an aspect, in as few and as full rows as a page has room for."""
    widest = max(2, int(_PAGE_ASPECT / aspect))
    rows = -(-count // widest)
    return -(-count // rows)


def decoded(jpeg: bytes) -> Rgb:
    """A JPEG that this package wrote, as RGB."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def thumbnail(place: Place) -> Rgb | None:
    """The picture of a place, None where the map has none."""
    return _read(place.thumbnail) if place.thumbnail else None


@lru_cache(maxsize=32)
def _read(path: Path) -> Rgb | None:
    return decoded(path.read_bytes()) if path.is_file() else None
