"""People on foot, in a few phases of a stride."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from saane_ros.simulation import palettes as paint
from saane_ros.simulation.labels import PERSON
from saane_ros.simulation.mesh import Faces, MeshBuilder, Surface, plain
from saane_ros.simulation.textures import TILES

PHASES = 4
STRIDE_M = 1.4


@dataclass(frozen=True)
class _Outfit:
    coat: Surface
    trousers: Surface
    skin: Surface
    hair: Surface


def person(rng: np.random.Generator) -> list[Faces]:
    """One walker in PHASES phases, x forward, origin on the ground."""
    height = float(rng.uniform(1.5, 1.9))
    coat = plain(TILES.cloth, paint.pick(rng, paint.CLOTHES), PERSON)
    trousers = plain(TILES.cloth, paint.pick(rng, paint.CLOTHES), PERSON)
    skin = plain(TILES.flat, paint.pick(rng, paint.SKIN), PERSON)
    hair = plain(TILES.flat, paint.pick(rng, paint.BARK + paint.CLOTHES), PERSON)
    outfit = _Outfit(coat, trousers, skin, hair)
    swings = np.sin(2 * np.pi * np.arange(PHASES) / PHASES)
    return [_posed(height, outfit, float(swing)) for swing in swings]


def _posed(height: float, wears: _Outfit, swing: float) -> Faces:
    mesh = MeshBuilder()
    hip, neck = 0.48 * height, 0.84 * height
    step = 0.28 * swing
    key = (0.0, 0.0)
    for y, forward in ((0.09, step), (-0.09, -step)):
        mesh.strip((forward, y, 0.0), (0.0, y, hip), (0.07, 0.1), wears.trousers, key=key)
    for y, forward in ((0.24, -step), (-0.24, step)):
        mesh.strip(
            (forward, y, 0.95 * hip), (0.0, y, 0.96 * neck), (0.05, 0.07), wears.coat, key=key
        )
    mesh.strip((0.0, 0.0, 0.9 * hip), (0.0, 0.0, neck), (0.19, 0.23), wears.coat, key=key)
    mesh.disc((0.0, 0.0, 0.93 * height), (0.1, 0.13), wears.skin, key=key)
    mesh.disc((0.0, 0.0, 0.965 * height), (0.11, 0.08), wears.hair, key=key)
    return mesh.build()
