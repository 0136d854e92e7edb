"""One bay of one storey: wall bonds, windows, shop fronts and doors, in four materials.

Channels are wall, trim, glass and accent; row 0 is the top of the storey.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

Tile = NDArray[np.float32]

TRIM, GLASS, ACCENT = (
    (0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 1.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)


def facade_tile(rng: np.random.Generator, size: int) -> Tile:
    """A window in a wall; every call draws another bond, size, shape and glazing."""
    tile = _bond(rng, size)
    style = int(rng.integers(0, 7))
    if style == 0:
        return _ribbon(rng, tile, size)
    if style == 1:
        return _curtain_wall(rng, tile, size)
    if style == 2:
        width = int(size * rng.uniform(0.2, 0.28))
        for middle in (size // 4, 3 * size // 4):
            _window(rng, tile, middle, width, size)
        return tile
    width = int(size * rng.uniform(0.3, 0.55))
    _window(rng, tile, size // 2, width, size)
    return tile


def shop_tile(rng: np.random.Generator, size: int) -> Tile:
    """A shop window over a stall riser, with or without a door beside it."""
    tile = np.zeros((size, size, 4), dtype=np.float32)
    tile[:] = TRIM
    top, bottom = int(size * rng.uniform(0.08, 0.2)), int(size * rng.uniform(0.78, 0.92))
    panes = int(rng.integers(1, 4))
    edges = np.linspace(3, size - 3, panes + 1).astype(int)
    for left, right in itertools.pairwise(edges):
        tile[top:bottom, left + 1 : right - 1] = GLASS
        _display(rng, tile, left + 2, right - 2, bottom)
    if rng.random() < 0.5:
        door = int(rng.integers(0, max(1, size // 2)))
        tile[top : size - 1, door : door + size // 4] = TRIM
        tile[top + 2 : size - 4, door + 2 : door + size // 4 - 2] = GLASS
    tile[bottom + 2 : size - 1, :] *= 0.8
    return tile


def storefront_door_tile(rng: np.random.Generator, size: int) -> Tile:
    """The ground floor of a house: a door, a garage or an arch, and a small window."""
    tile = _bond(rng, size)
    kind = int(rng.integers(0, 3))
    if kind == 0:
        left = int(rng.integers(6, 14))
        tile[size // 4 :, left - 2 : left + 20] = TRIM
        tile[size // 4 + 2 :, left : left + 18] = ACCENT
        tile[size // 4 + 3 : size // 4 + 9, left + 3 : left + 15] = GLASS
        _window(rng, tile, 46, 16, size)
    elif kind == 1:
        tile[size // 4 :, 8:56] = TRIM
        for row in range(size // 4 + 2, size - 2, 7):
            tile[row : row + 6, 10:54] = ACCENT
    else:
        cv2.ellipse(tile, (32, 30), (17, 17), 0, 180, 360, TRIM, -1)
        tile[30:, 15:50] = TRIM
        cv2.ellipse(tile, (32, 31), (14, 14), 0, 180, 360, ACCENT, -1)
        tile[31:, 18:47] = ACCENT
        tile[31:, 32] *= 0.5
    return tile


def _bond(rng: np.random.Generator, size: int) -> Tile:
    """Brick, ashlar, weatherboard, panels or render."""
    shade = 1 + 0.05 * rng.standard_normal((size, size)).astype(np.float32)
    kind = int(rng.integers(0, 5))
    if kind == 0:
        for row in range(0, size, 4):
            shade[row] *= 0.8
            shade[row : row + 4, (4 * ((row // 4) % 2)) :: 8] *= 0.85
            shade[row : row + 4] *= 1 + 0.05 * rng.standard_normal()
    elif kind == 1:
        for row in range(0, size, 16):
            for x in range(0, size, 32):
                at = (x + 16 * ((row // 16) % 2)) % size
                shade[row : row + 16, at : at + 32] *= rng.uniform(0.9, 1.08)
                shade[row : row + 16, at] *= 0.75
            shade[row] *= 0.75
    elif kind == 2:
        step = int(rng.integers(5, 9))
        shade[::step] *= 0.7
        shade[1::step] *= 0.9
    elif kind == 3:
        shade[:, 0] *= 0.6
        shade[0] *= 0.6
        shade *= np.float32(rng.uniform(0.95, 1.05))
    if rng.random() < 0.45:
        band = int(rng.integers(2, 6))
        shade[-band:] *= 1.2
        shade[-band - 1] *= 0.7
    tile = np.zeros((size, size, 4), dtype=np.float32)
    tile[..., 0] = shade
    return tile


def _window(rng: np.random.Generator, tile: Tile, middle: int, width: int, size: int) -> None:
    top = int(size * rng.uniform(0.12, 0.3))
    bottom = int(size * rng.uniform(0.7, 0.88))
    left, right = middle - width // 2, middle + width // 2
    frame = int(rng.integers(2, 5))
    if rng.random() < 0.25:
        centre, radii = (middle, top + 4), (width // 2 + frame, width // 2)
        cv2.ellipse(tile, centre, radii, 0, 180, 360, TRIM, -1)
    tile[top - frame : bottom + frame, left - frame : right + frame] = TRIM
    tile[top:bottom, left:right] = GLASS
    tile[top : top + 3, left:right] *= 0.6
    bars = int(rng.integers(0, 4))
    if bars & 1:
        tile[top:bottom, middle - 1 : middle + 1] = TRIM
    if bars & 2:
        for row in np.linspace(top, bottom, 2 + int(rng.integers(1, 3)))[1:-1].astype(int):
            tile[row : row + 1, left:right] = TRIM
    extra = rng.random()
    if extra < 0.28 and left > 10:
        for x in (left - frame - 7, right + frame):
            tile[top:bottom, x : x + 7] = ACCENT
            tile[top:bottom:3, x : x + 7] *= 0.75
    elif extra < 0.48:
        tile[bottom - 14 : bottom + 4, left - 7 : right + 7] *= 0.75
        tile[bottom - 14 : bottom + 4, left - 7 : right + 7 : 3] = ACCENT
        tile[bottom - 15 : bottom - 13, left - 7 : right + 7] = ACCENT
    tile[bottom + frame : bottom + frame + 2, left - 4 : right + 4] *= 0.6


def _ribbon(rng: np.random.Generator, tile: Tile, size: int) -> Tile:
    top, bottom = int(size * rng.uniform(0.2, 0.3)), int(size * rng.uniform(0.65, 0.8))
    tile[top - 2 : bottom + 2] = TRIM
    tile[top:bottom] = GLASS
    for x in range(0, size, int(rng.choice([16, 21, 32]))):
        tile[top:bottom, x : x + 2] = TRIM
    return tile


def _curtain_wall(rng: np.random.Generator, tile: Tile, size: int) -> Tile:
    spandrel = int(size * rng.uniform(0.12, 0.3))
    tile[:] = GLASS
    tile[-spandrel:] = ACCENT
    for x in range(0, size, int(rng.choice([16, 32]))):
        tile[:, x : x + 2] = TRIM
    tile[-spandrel - 2 : -spandrel] = TRIM
    return tile


def _display(rng: np.random.Generator, tile: Tile, left: int, right: int, bottom: int) -> None:
    """Goods behind the pane."""
    x = left + 1
    while x < right - 3:
        width, height = int(rng.integers(3, 8)), int(rng.integers(4, 22))
        weight = float(rng.uniform(0.3, 1.0))
        tile[bottom - height : bottom - 1, x : min(x + width, right)] = (0, 0, 0.5, weight)
        x += width + int(rng.integers(1, 6))
