"""The static town: everything that two traverses of it share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation import palettes as paint
from saane_ros.simulation.blocks import add_blocks
from saane_ros.simulation.furniture import add_furniture
from saane_ros.simulation.labels import TERRAIN
from saane_ros.simulation.mesh import TERRAIN_LAYER, Faces, MeshBuilder, plain
from saane_ros.simulation.route import Route
from saane_ros.simulation.streets import Street, add_ground
from saane_ros.simulation.textures import TILES, build_atlas

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StaticContent:
    """What is drawn, and what lights and shades it.

    lamps: (n, 3).  walls: (m, 5), x0 y0 x1 y1 height.  crowns: (k, 4), x y z radius.
    """

    faces: Faces
    lamps: Array
    walls: Array
    crowns: Array


class Town:
    """A town with one route through it, determined by its seed; cheap until first rendered."""

    def __init__(self, seed: int, length_m: float = 500.0) -> None:
        self.seed = int(seed)
        self.length_m = float(length_m)
        self.route = Route(self.seed, self.length_m)
        self.street = Street(self.seed, self.route)

    def prepare(self) -> tuple[StaticContent, NDArray[np.uint8]]:
        """Build content and textures now, so that copies for other processes need not."""
        return self.content, self.atlas

    @cached_property
    def content(self) -> StaticContent:
        """Everything that stands and lies in the town."""
        mesh = MeshBuilder()
        _add_base(mesh, self.route)
        add_ground(mesh, self.street, self.seed)
        walls = add_blocks(mesh, self.street, self.seed)
        lamps, crowns = add_furniture(mesh, self.street, self.seed)
        return StaticContent(mesh.build(), lamps, walls, crowns)

    @cached_property
    def atlas(self) -> NDArray[np.uint8]:
        """The town's own textures."""
        return build_atlas(self.seed)


def _add_base(mesh: MeshBuilder, route: Route) -> None:
    """The plane below everything: always face 0, drawn wherever a pixel looks down."""
    (x0, y0), (x1, y1) = route.points.min(axis=0) - 300, route.points.max(axis=0) + 300
    corners = [(x0, y0, 0), (x1, y0, 0), (x1, y1, 0), (x0, y1, 0)]
    surface = plain(TILES.grass, paint.scaled(paint.GRASS, 0.8), TERRAIN, snow=0.95)
    repeat = ((x1 - x0) / 5, (y1 - y0) / 5)
    mesh.quad(corners, surface, layer=TERRAIN_LAYER, repeat=repeat)
