"""People on foot, in a few phases of a stride."""

from __future__ import annotations

import numpy as np

from saane_ros.simulation import palettes as paint
from saane_ros.simulation.labels import PERSON
from saane_ros.simulation.mesh import Faces, MeshBuilder, plain
from saane_ros.simulation.textures import TILES

PHASES = 4
STRIDE_M = 1.4


def person(rng: np.random.Generator) -> list[Faces]:
    """One walker in PHASES phases, x forward, origin on the ground."""
    height = float(rng.uniform(1.5, 1.9))
    coat = plain(TILES.cloth, paint.pick(rng, paint.CLOTHES), PERSON)
    trousers = plain(TILES.cloth, paint.pick(rng, paint.CLOTHES), PERSON)
    skin = plain(TILES.flat, paint.pick(rng, paint.SKIN), PERSON)
    hair = plain(TILES.flat, paint.pick(rng, paint.BARK + paint.CLOTHES), PERSON)
    umbrella_free = [(coat, trousers, skin, hair)]
    return [
        _posed(height, *umbrella_free[0], float(np.sin(2 * np.pi * k / PHASES)))
        for k in range(PHASES)
    ]


def _posed(height: float, coat, trousers, skin, hair, swing: float) -> Faces:  # type: ignore[no-untyped-def]
    mesh = MeshBuilder()
    hip, neck = 0.48 * height, 0.84 * height
    step = 0.28 * swing
    key = (0.0, 0.0)
    for y, forward in ((0.09, step), (-0.09, -step)):
        mesh.strip((forward, y, 0.0), (0.0, y, hip), (0.07, 0.1), trousers, key=key)
    for y, forward in ((0.24, -step), (-0.24, step)):
        mesh.strip((forward, y, 0.95 * hip), (0.0, y, 0.96 * neck), (0.05, 0.07), coat, key=key)
    mesh.strip((0.0, 0.0, 0.9 * hip), (0.0, 0.0, neck), (0.19, 0.23), coat, key=key)
    mesh.disc((0.0, 0.0, 0.93 * height), (0.1, 0.13), skin, key=key)
    mesh.disc((0.0, 0.0, 0.965 * height), (0.11, 0.08), hair, key=key)
    return mesh.build()
