"""Procedural tiles in four materials, and the atlas that holds them at every size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation.facades import facade_tile, shop_tile, storefront_door_tile
from saane_ros.simulation.seeds import stream

Tile = NDArray[np.float32]

TILE = 64
LEVELS = 6
UNIT = 170.0
"""Atlas value of weight 1; the room above holds highlights."""

FACADES, SHOPS, DOORS, SIGN_FACES = 32, 8, 6, 10


@dataclass(frozen=True)
class TileIndex:
    """Where each pattern lies in the atlas."""

    flat: int = 0
    asphalt: int = 1
    paving: int = 2
    cobbles: int = 3
    grass: int = 4
    leaves: int = 5
    roof: int = 6
    hedge: int = 7
    pickets: int = 8
    railing: int = 9
    bus_side: int = 10
    plaster: int = 11
    grille: int = 12
    cloth: int = 13
    lettering: int = 14
    facade: int = 22
    shop: int = facade + FACADES
    door: int = shop + SHOPS
    sign: int = door + DOORS
    count: int = sign + SIGN_FACES


TILES = TileIndex()
LETTERINGS = TILES.facade - TILES.lettering


def build_atlas(seed: int) -> NDArray[np.uint8]:
    """All tiles of a town at every level, (2 * TILE, TILE * count, 4); see `level_top`."""
    tiles = _draw_tiles(seed)
    atlas = np.zeros((2 * TILE, TILE * len(tiles), 4), dtype=np.uint8)
    for level in range(LEVELS):
        size, top = TILE >> level, level_top(level)
        for at, tile in enumerate(tiles):
            small = cv2.resize(tile, (size, size), interpolation=cv2.INTER_AREA)
            atlas[top : top + size, at * size : (at + 1) * size] = np.clip(small * UNIT, 0, 255)
    return atlas


def level_top(level: int) -> int:
    """First row of a level in the atlas."""
    return int(2 * TILE - (2 * TILE >> level))


def noise(rng: np.random.Generator, cells: int, size: int = TILE) -> NDArray[np.float32]:
    """Smooth noise of mean 0 that repeats at the tile's borders, roughly in -1..1."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    tiled = np.tile(coarse, (3, 3))
    smooth = cv2.resize(tiled, (3 * size, 3 * size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth[size : 2 * size, size : 2 * size] * 0.6, dtype=np.float32)


def _draw_tiles(seed: int) -> list[Tile]:
    rng = stream(seed, "tiles")
    simple: list[Callable[[np.random.Generator], Tile]] = [
        lambda r: _wall(np.ones((TILE, TILE), np.float32)),
        _asphalt,
        _paving,
        _cobbles,
        lambda r: _wall(1 + 0.22 * noise(r, 16) + 0.15 * noise(r, 5) + 0.2 * noise(r, 48)),
        lambda r: _wall(1 + 0.38 * noise(r, 14) + 0.25 * noise(r, 30)),
        _roof,
        lambda r: _wall(1 + 0.35 * noise(r, 22) + 0.15 * noise(r, 6)),
        _pickets,
        _railing,
        _bus_side,
        lambda r: _wall(1 + 0.05 * noise(r, 8) + 0.04 * noise(r, 32)),
        _grille,
        lambda r: _wall(1 + 0.12 * noise(r, 6)),
    ]
    tiles = [draw(rng) for draw in simple]
    tiles += [_lettering(rng) for _ in range(LETTERINGS)]
    tiles += [facade_tile(rng, TILE) for _ in range(FACADES)]
    tiles += [shop_tile(rng, TILE) for _ in range(SHOPS)]
    tiles += [storefront_door_tile(rng, TILE) for _ in range(DOORS)]
    tiles += [_sign_face(rng, kind) for kind in range(SIGN_FACES)]
    return tiles


def _wall(shade: NDArray[np.float32]) -> Tile:
    tile = np.zeros((TILE, TILE, 4), dtype=np.float32)
    tile[..., 0] = shade
    return tile


def _asphalt(rng: np.random.Generator) -> Tile:
    shade = 1 + 0.1 * noise(rng, 5) + 0.12 * noise(rng, 60)
    for _ in range(2):
        points = np.cumsum(rng.normal(0, 6, (9, 2)), axis=0) + rng.uniform(10, 54, 2)
        cv2.polylines(shade, [points.astype(np.int32)], False, 0.72, 1)
    x, y, w, h = (int(v) for v in rng.integers([4, 4, 8, 6], [36, 36, 24, 20]))
    shade[y : y + h, x : x + w] *= 0.86
    return _wall(shade)


def _paving(rng: np.random.Generator) -> Tile:
    shade = 1 + 0.06 * noise(rng, 40)
    for row in range(4):
        for column in range(4):
            y, x = 16 * row, (16 * column + 8 * (row % 2)) % TILE
            shade[y : y + 16, x : x + 16] *= rng.uniform(0.88, 1.1)
        shade[16 * row] *= 0.72
        shade[16 * row : 16 * row + 16, (np.arange(0, TILE, 16) + 8 * (row % 2)) % TILE] *= 0.72
    return _wall(shade)


def _cobbles(rng: np.random.Generator) -> Tile:
    shade = np.full((TILE, TILE), 0.6, dtype=np.float32)
    for row in range(8):
        for column in range(8):
            y, x = 8 * row + 4, (8 * column + 4 * (row % 2) + 4) % TILE
            cv2.ellipse(shade, (x, y), (3, 3), 0, 0, 360, float(rng.uniform(0.8, 1.2)), -1)
    return _wall(shade)


def _roof(rng: np.random.Generator) -> Tile:
    shade = 1 + 0.1 * noise(rng, 32) + 0.06 * noise(rng, 6)
    shade[::8] *= 0.7
    shade[1::8] *= 0.88
    for row in range(8):
        shade[8 * row : 8 * row + 8, (4 * (row % 2)) :: 8] *= 0.88
    return _wall(shade)


def _pickets(rng: np.random.Generator) -> Tile:
    tile = _wall(np.full((TILE, TILE), 0.25, dtype=np.float32))
    for x in range(0, TILE, 8):
        tile[4:, x : x + 5, 0] = rng.uniform(0.85, 1.1)
    tile[16:20] *= 0.8
    tile[46:50] *= 0.8
    return tile


def _railing(_: np.random.Generator) -> Tile:
    tile = _wall(np.full((TILE, TILE), 0.4, dtype=np.float32))
    tile[:5, :, 0] = 1.0
    tile[58:62, :, 0] = 1.0
    tile[:, ::6, 0] = 1.0
    tile[:, 1::6, 0] = 0.9
    return tile


def _bus_side(_: np.random.Generator) -> Tile:
    """One bay of a bus: accent band, window, wall below."""
    tile = _wall(np.ones((TILE, TILE), dtype=np.float32))
    tile[8:34, 3:61] = (0, 0, 1, 0)
    tile[42:50] = (0, 0, 0, 1)
    tile[:4] = (0, 0, 0, 0.9)
    return tile


def _grille(_: np.random.Generator) -> Tile:
    tile = _wall(np.ones((TILE, TILE), dtype=np.float32))
    tile[::4, :, 0] = 0.55
    tile[1::4, :, 0] = 0.75
    return tile


def _lettering(rng: np.random.Generator) -> Tile:
    """A name board: wall is the board, trim the letters."""
    tile = _wall(np.ones((TILE, TILE), dtype=np.float32))
    x = 5
    while x < 56:
        width = int(rng.integers(4, 8))
        glyph = rng.random((5, 3)) < 0.55
        big = cv2.resize(glyph.astype(np.uint8), (width, 32), interpolation=cv2.INTER_NEAREST)
        patch = tile[16:48, x : x + width]
        patch[big[:, : patch.shape[1]] > 0] = (0, 1, 0, 0)
        x += width + 2 + (5 if rng.random() < 0.15 else 0)
    return tile


def _sign_face(rng: np.random.Generator, kind: int) -> Tile:
    """A traffic sign: wall is the ground colour, trim the rim, accent the symbol."""
    tile = _wall(np.ones((TILE, TILE), dtype=np.float32))
    trim, symbol = (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)
    cv2.rectangle(tile, (0, 0), (TILE - 1, TILE - 1), trim, 9 + kind % 3)
    style = kind % 5
    if style == 0:
        cv2.line(tile, (12, 52), (52, 12), symbol, 9)
    elif style == 1:
        cv2.arrowedLine(tile, (32, 54), (32, 12), symbol, 8, tipLength=0.4)
    elif style == 2:
        cv2.circle(tile, (32, 32), 13, symbol, -1)
    elif style == 3:
        cv2.rectangle(tile, (14, 26), (50, 38), symbol, -1)
    else:
        for x in (18, 36):
            cv2.rectangle(tile, (x, 18), (x + 9, 46), symbol, 3 + int(rng.integers(0, 4)))
    return tile
