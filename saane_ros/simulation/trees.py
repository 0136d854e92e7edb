"""Trees, hedges and shrubs, in leaf and bare."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation import palettes as paint
from saane_ros.simulation.labels import VEGETATION
from saane_ros.simulation.mesh import BARE, IN_LEAF, MeshBuilder, plain
from saane_ros.simulation.textures import TILES

Array = NDArray[np.float64]

OUTLINES = 8
"""Number of disc outlines that the rasterizer knows."""


Crown = tuple[float, float, float, float]
"""x, y, height of the middle, radius: what casts a tree's shadow."""


def add_tree(mesh: MeshBuilder, xy: Array, rng: np.random.Generator) -> Crown:
    """A deciduous tree or a conifer of random size at `xy`."""
    if rng.random() < 0.15:
        return _conifer(mesh, xy, rng)
    return _deciduous(mesh, xy, rng)


def add_shrub(mesh: MeshBuilder, xy: Array, rng: np.random.Generator) -> None:
    """A low evergreen bush."""
    size = float(rng.uniform(0.4, 0.9))
    leaf = plain(TILES.hedge, paint.pick(rng, paint.LEAVES), VEGETATION, snow=0.55)
    outline = int(rng.integers(OUTLINES))
    mesh.disc((xy[0], xy[1], size * 0.8), (size, size), leaf, outline=outline)


def _deciduous(mesh: MeshBuilder, xy: Array, rng: np.random.Generator) -> Crown:
    height = float(rng.uniform(5.0, 11.0))
    radius = float(rng.uniform(0.2, 0.34)) * height
    fork = height * float(rng.uniform(0.3, 0.42))
    bark = plain(TILES.plaster, paint.pick(rng, paint.BARK), VEGETATION)
    foot, top = np.array([*xy, 0.0]), np.array([*xy, fork])
    thick = 0.022 * height
    mesh.strip(foot, top, (thick, 0.75 * thick), bark, key=xy)
    _branches(mesh, top, height - fork, radius, thick, xy, rng)
    base = paint.pick(rng, paint.LEAVES, 0.12)
    middle = np.array([*xy, (fork + height) / 2])
    count = 11
    for k in range(count):
        direction = rng.normal(0, 1, 3)
        direction /= np.linalg.norm(direction)
        spread = 0.62 if k else 0.0
        stretch = np.array([radius, radius, (height - fork) / 2])
        centre = middle + direction * stretch * spread
        size = radius * float(rng.uniform(0.5, 0.7)) * (1.25 if k == 0 else 1.0)
        rise = (centre[2] - fork) / max(height - fork, 0.1)
        leaf = plain(
            TILES.leaves,
            paint.scaled(base, 0.55 + 0.65 * rise + float(rng.uniform(-0.1, 0.1))),
            VEGETATION,
            snow=0.25 + 0.5 * rise,
            season=IN_LEAF,
        )
        outline = int(rng.integers(OUTLINES))
        bias = 0.01 * (1 + k) + 0.02
        mesh.disc(centre, (size, size * 0.9), leaf, outline=outline, key=xy, bias=bias)
    return (float(xy[0]), float(xy[1]), (fork + height) / 2, radius)


def _branches(
    mesh: MeshBuilder,
    fork: Array,
    reach: float,
    radius: float,
    thick: float,
    xy: Array,
    rng: np.random.Generator,
) -> None:
    """Boughs, branches and twigs, seen when the leaves are off."""
    bark = plain(TILES.plaster, paint.pick(rng, paint.BARK), VEGETATION, snow=0.25, season=BARE)
    turn = float(rng.uniform(0, 2 * np.pi))
    for bough in range(6):
        angle = turn + bough * 2.4
        lean = float(rng.uniform(0.35, 1.0)) * radius
        rise = float(rng.uniform(0.55, 1.0)) * reach
        tip = fork + np.array([lean * np.cos(angle), lean * np.sin(angle), rise])
        mesh.strip(fork, tip, (0.5 * thick, 0.1 * thick), bark, key=xy, bias=0.01)
        for _ in range(5):
            start = fork + (tip - fork) * float(rng.uniform(0.3, 0.95))
            way = rng.normal(0, 1, 3) * np.array([1, 1, 0.6]) + np.array([0, 0, 0.7])
            way *= radius * float(rng.uniform(0.35, 0.6)) / np.linalg.norm(way)
            mesh.strip(start, start + way, (0.2 * thick, 0.05), bark, key=xy, bias=0.01)
            twig = start + way * float(rng.uniform(0.4, 0.8))
            side = rng.normal(0, 0.28, 3) * radius + np.array([0, 0, 0.2])
            mesh.strip(twig, twig + side, (0.03, 0.015), bark, key=xy, bias=0.01)


def _conifer(mesh: MeshBuilder, xy: Array, rng: np.random.Generator) -> Crown:
    height = float(rng.uniform(6.0, 12.0))
    radius = 0.2 * height
    bark = plain(TILES.plaster, paint.BARK[1], VEGETATION)
    mesh.strip((*xy, 0.0), (*xy, 0.3 * height), (0.16, 0.14), bark, key=xy)
    base = paint.scaled(paint.pick(rng, paint.LEAVES, 0.1), 0.55)
    for tier in range(5):
        low = height * (0.12 + 0.16 * tier)
        wide = radius * (1 - 0.17 * tier)
        green = paint.scaled(base, 0.8 + 0.1 * tier)
        leaf = plain(TILES.leaves, green, VEGETATION, snow=0.6)
        top = low + 0.34 * height
        mesh.strip((*xy, low), (*xy, top), (wide, 0.03), leaf, key=xy, bias=0.01 * (tier + 1))
    return (float(xy[0]), float(xy[1]), height / 2, radius)
