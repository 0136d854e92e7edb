"""What an embedding trains on: views of places, each a window of an image, perhaps augmented."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.images.files import read_image
from saane_ros.data.images.lists import list_key
from saane_ros.training.augmentation import Augmentation, augmented
from saane_ros.training.movables import Cutout
from saane_ros.types import Rgb

Window = tuple[float, float, float, float]
"""Left, top, width and height as shares of the image."""

WHOLE: Window = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class View:
    """copy 0 is the image as it is; copies of one number in one source share their style."""

    path: Path
    window: Window = WHOLE
    copy: int = 0
    source: str = ""


@dataclass(frozen=True)
class PlaceViews:
    """views with, each (N,), their place, the group of the place, and the occasion.

    groups: region of each, such as one camera or town.  occasions: views of one group and one
    occasion share time, light and weather.  sources: the data set of each.
    """

    views: tuple[View, ...]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    occasions: NDArray[np.int64]
    sources: NDArray[np.int64]
    augmentation: Augmentation = field(default_factory=Augmentation)
    movables: tuple[Cutout, ...] = ()

    def __len__(self) -> int:
        return len(self.views)

    @property
    def key(self) -> str:
        """Changes with any file, window, copy or option of the augmentation."""
        parts = [f"{v.window} {v.copy} {v.source}" for v in self.views]
        cut = [f"{zlib.crc32(c.pixels.tobytes())} {c.foot}" for c in self.movables]
        return list_key([v.path for v in self.views], [*parts, repr(self.augmentation), *cut])

    def read(self, index: int) -> Rgb:
        """The pixels of one view; the same bytes every time."""
        view = self.views[index]
        whole = read_image(view.path)
        if view.copy == 0:
            return windowed(whole, view.window)
        style = np.random.default_rng([zlib.crc32(view.source.encode()), view.copy])
        name = f"{view.path.parent.name}/{view.path.name}{view.window}"
        own = np.random.default_rng([zlib.crc32(name.encode()), view.copy])
        window = slid(view.window, self.augmentation.slide, own)
        image = windowed(whole, window)
        return augmented(image, self.augmentation, style, own, self.movables)


def slid(window: Window, share: float, random: np.random.Generator) -> Window:
    """A slightly narrower window beside the given one, as another lane or heading would show it.

    It slides by up to `share` of its width to either side, as far as the image reaches.
    """
    if share <= 0:
        return window
    left, top, width, height = window
    narrower = width * (1 - random.uniform(0, share))
    centre = left + width / 2 + width * random.uniform(-share, share)
    start = min(max(centre - narrower / 2, 0.0), 1 - narrower)
    return start, top, narrower, height


def windowed(image: Rgb, window: Window) -> Rgb:
    """The part of an image in a window, at least one pixel."""
    height, width = image.shape[:2]
    left, top = int(window[0] * width), int(window[1] * height)
    right = max(left + 1, round((window[0] + window[2]) * width))
    bottom = max(top + 1, round((window[1] + window[3]) * height))
    return np.ascontiguousarray(image[top:bottom, left:right])


def windows(count: int) -> list[Window]:
    """`count` windows of one image that can stand for different places in the same light.

    Up to three stand side by side at full height; more lie in two rows that overlap a little.
    """
    if count <= 3:
        return [(i / count, 0.0, 1 / count, 1.0) for i in range(count)]
    columns = (count + 1) // 2
    width = 1 / columns
    grid = [(c * width, top, width, 0.6) for top in (0.4, 0.0) for c in range(columns)]
    return grid[:count]


@dataclass(frozen=True)
class Row:
    """One image of a source before it is cut and copied."""

    place: str
    group: str
    occasion: str
    path: Path


def expanded(
    sources: Sequence[tuple[str, Sequence[Row], int, int]],
    augmentation: Augmentation,
    movables: tuple[Cutout, ...] = (),
) -> PlaceViews:
    """Views of several sources, each given as name, rows, windows per image and copies per view.

    Every window of a camera is a place; a copy has an occasion of its own, which it shares with
    the copies of the same number.
    """
    views: list[View] = []
    keys: list[tuple[str, str, str, str]] = []
    for source, (name, rows, crops, copies) in enumerate(sources):
        for row in rows:
            for number, window in enumerate(windows(crops)):
                for copy in range(copies + 1):
                    views.append(View(row.path, window, copy, name))
                    place = f"{source}|{row.place}|{number}"
                    occasion = f"{row.occasion}|{copy}" if not copy else f"copy {copy}"
                    keys.append((place, f"{source}|{row.group}", occasion, str(source)))
    labels, groups, occasions, numbers = (_numbered([k[i] for k in keys]) for i in range(4))
    order = np.argsort(labels, kind="stable")
    return PlaceViews(
        tuple(views[i] for i in order),
        labels[order],
        groups[order],
        occasions[order],
        numbers[order],
        augmentation,
        movables,
    )


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    order: dict[str, int] = {}
    return np.array([order.setdefault(name, len(order)) for name in names], np.int64)
