"""Cars and buses in their own frame: x forward, y left, z up, origin on the ground below them."""

from __future__ import annotations

import itertools

import numpy as np

from saane_ros.simulation import palettes as paint
from saane_ros.simulation.labels import BUS, CAR
from saane_ros.simulation.mesh import Colour, Faces, MeshBuilder, Surface, plain
from saane_ros.simulation.textures import TILES

HEADLIGHT: Colour = (10.0, 9.5, 8.0)
TAILLIGHT: Colour = (4.0, 0.15, 0.1)

_ORIGIN = (0.0, 0.0)


def car(rng: np.random.Generator, lights: bool) -> Faces:
    """A saloon, hatchback or van; `lights`: head and tail lamps shine when lamps are on."""
    mesh = MeshBuilder()
    van = rng.random() < 0.18
    length = float(rng.uniform(4.6, 5.4) if van else rng.uniform(3.7, 4.7))
    width, waist = float(rng.uniform(1.7, 1.9)), 1.1 if van else 0.88
    roof = float(rng.uniform(1.9, 2.2) if van else rng.uniform(1.4, 1.6))
    body = plain(TILES.flat, paint.pick(rng, paint.CARS), CAR, snow=0.3 if lights else 0.7)
    glass = plain(TILES.flat, paint.linear(44, 52, 60), CAR, snow=0.2)
    x0, x1, y = -length / 2, length / 2, width / 2
    mesh.box((x0, -y, 0.28), (x1, y, waist), body, key=_ORIGIN)
    _cabin(mesh, rng, (x0, x1, y), (waist, roof), van, body, glass)
    _wheels(mesh, x0, x1, y)
    _lamps(mesh, (x0, x1), y, 0.66, CAR, lights)
    return mesh.build()


def bus(rng: np.random.Generator, lights: bool) -> Faces:
    """A city bus of eleven metres."""
    mesh = MeshBuilder()
    colour, stripe = paint.pick(rng, paint.BOARDS), paint.pick(rng, paint.TRIMS)
    dark = paint.linear(40, 48, 56)
    seed = int(rng.integers(1 << 31))
    coat = Surface(
        TILES.bus_side,
        (colour, stripe, dark, stripe),
        BUS,
        seed,
        windows=0.9 if lights else 0.0,
        snow=0.25,
    )
    x, y, top = 5.6, 1.25, 3.1
    sides = [(-x, -y), (x, -y), (x, y), (-x, y)]
    for k, repeat in enumerate((7, 1, 7, 1)):
        (ax, ay), (bx, by) = sides[k], sides[(k + 1) % 4]
        corners = [(ax, ay, 0.35), (bx, by, 0.35), (bx, by, top), (ax, ay, top)]
        mesh.quad(corners, coat, key=_ORIGIN, repeat=(repeat, 1))
    board = Surface(
        TILES.lettering, (dark, paint.BOARDS[3], dark, dark), BUS, glow=(0.5, 0.35, 0.0)
    )
    for end, hand in ((x, 1.0), (-x, -1.0)):
        edge = end + 0.02 * hand
        a, b = (edge, -0.9 * hand), (edge, 0.9 * hand)
        corners = [(*a, 2.65), (*b, 2.65), (*b, 3.0), (*a, 3.0)]
        mesh.quad(corners, board, key=_ORIGIN)
    _wheels(mesh, -x + 1.2, x - 1.2, y)
    _lamps(mesh, (-x, x), y, 0.75, BUS, lights)
    return mesh.build()


def _cabin(
    mesh: MeshBuilder,
    rng: np.random.Generator,
    body: tuple[float, float, float],
    heights: tuple[float, float],
    van: bool,
    paintwork: Surface,
    glass: Surface,
) -> None:
    (x0, x1, y), (waist, roof) = body, heights
    front = x1 - (0.7 if van else float(rng.uniform(0.9, 1.2)))
    rear = x0 + (0.02 if van or rng.random() < 0.4 else 0.6)
    slope, inset = (0.45 if van else 0.7), 0.16
    low = [(rear, -y), (front, -y), (front, y), (rear, y)]
    high = [
        (rear + 0.25, -y + inset),
        (front - slope, -y + inset),
        (front - slope, y - inset),
        (rear + 0.25, y - inset),
    ]
    for k in range(4):
        a, b, c, d = low[k], low[(k + 1) % 4], high[(k + 1) % 4], high[k]
        outer = [(*a, waist), (*b, waist), (*c, roof), (*d, roof)]
        mesh.quad(outer, paintwork, key=_ORIGIN)
        inner = _shrunk(np.array(outer), 0.12 if k % 2 else 0.1)
        if van and k != 1:
            inner = _shrunk(np.array(outer), 0.3)
        mesh.quad(inner, glass, key=_ORIGIN)
    mesh.quad([(*p, roof) for p in high], paintwork, key=_ORIGIN)


def _shrunk(corners: np.ndarray, by: float) -> np.ndarray:
    middle = corners.mean(axis=0)
    smaller: np.ndarray = middle + (corners - middle) * (1 - by)
    return smaller


def _wheels(mesh: MeshBuilder, x0: float, x1: float, y: float) -> None:
    rubber = plain(TILES.flat, paint.linear(24, 24, 26), CAR)
    hub = plain(TILES.flat, paint.linear(120, 122, 126), CAR)
    for x in (x0 + 0.8, x1 - 0.8):
        for side in (1.0, -1.0):
            for radius, surface in ((0.33, rubber), (0.15, hub)):
                _octagon(mesh, (x, side * (y + 0.01)), radius, surface)


def _octagon(mesh: MeshBuilder, at: tuple[float, float], radius: float, surface: Surface) -> None:
    """A wheel's outer face, in three slices."""
    x, y = at
    hand = -1.0 if y > 0 else 1.0
    long, short = radius * np.cos(np.pi / 8), radius * np.sin(np.pi / 8)
    levels = [(-long, short), (-short, long), (short, long), (long, short)]
    for (low, below), (high, above) in itertools.pairwise(levels):
        a, b, c, d = -hand * below, hand * below, hand * above, -hand * above
        lower, upper = 0.33 + low, 0.33 + high
        corners = [(x + a, y, lower), (x + b, y, lower), (x + c, y, upper), (x + d, y, upper)]
        mesh.quad(corners, surface, key=_ORIGIN)


def _lamps(
    mesh: MeshBuilder, ends: tuple[float, float], y: float, z: float, label: int, lights: bool
) -> None:
    off = (0.0, 0.0, 0.0)
    white = plain(TILES.flat, (0.7, 0.7, 0.7), label, glow=HEADLIGHT if lights else off)
    red = plain(TILES.flat, (0.4, 0.02, 0.02), label, glow=TAILLIGHT if lights else off)
    plate = plain(TILES.flat, (0.6, 0.6, 0.55), label)
    for x, surface, hand in ((ends[1], white, 1.0), (ends[0], red, -1.0)):
        edge = x + 0.01 * hand
        for middle in (-y + 0.25, y - 0.25):
            a, b = middle - 0.16 * hand, middle + 0.16 * hand
            corners = [(edge, a, z - 0.09), (edge, b, z - 0.09), (edge, b, z + 0.1)]
            mesh.quad([*corners, (edge, a, z + 0.1)], surface, key=_ORIGIN)
        a, b = -0.26 * hand, 0.26 * hand
        corners = [(edge, a, 0.42), (edge, b, 0.42), (edge, b, 0.54), (edge, a, 0.54)]
        mesh.quad(corners, plate, key=_ORIGIN)
