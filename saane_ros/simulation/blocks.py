"""Where buildings stand: rows along the route and its side streets, and what rises behind them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation import palettes as paint
from saane_ros.simulation.buildings import (
    BuildingSite,
    BuildingStyle,
    draw_style,
    fashionable_facades,
)
from saane_ros.simulation.labels import BUILDING
from saane_ros.simulation.mesh import MeshBuilder, plain
from saane_ros.simulation.route import AHEAD_M, BEHIND_M
from saane_ros.simulation.seeds import stream
from saane_ros.simulation.streets import DISTRICTS, SideStreet, Street, side_point
from saane_ros.simulation.textures import TILES

Array = NDArray[np.float64]

_WIDTHS = {"old": (6, 13), "suburb": (8, 14), "shops": (8, 20), "modern": (16, 34)}


class _Plot:
    """Puts buildings on the ground unless they would stand in the street."""

    def __init__(self, mesh: MeshBuilder, street: Street) -> None:
        self.mesh, self.street = mesh, street
        self.walls: list[tuple[float, float, float, float, float]] = []

    def place(
        self,
        left: Array,
        right: Array,
        depth: float,
        style: BuildingStyle,
        rng: np.random.Generator,
        clearance: float,
    ) -> bool:
        """Build between two front corners; False where there is no room."""
        if np.linalg.norm(right - left) < 3.0:
            return False
        u = (right - left) / np.linalg.norm(right - left)
        back = np.array([-u[1], u[0]])
        outline = np.array([left, right, right + back * depth, left + back * depth])
        if self.street.route.clearance(outline) < clearance or self._in_side_street(outline):
            return False
        site = BuildingSite(self.mesh, left, right, depth, style, rng)
        site.build()
        for a, b in ((0, 1), (1, 2), (3, 0)):
            self.walls.append((*outline[a], *outline[b], site.eave))
        return True

    def _in_side_street(self, outline: Array) -> bool:
        """Whether a corner lies in a side street's carriageway or pavement."""
        for side in self.street.side_streets:
            heading = float(self.street.route.heading(side.s))
            offset = outline - self.street.route.point(side.s)
            along = offset @ np.array([np.cos(heading), np.sin(heading)])
            away = offset @ np.array([-np.sin(heading), np.cos(heading)]) * side.side
            inside = (np.abs(along) < side.half_width + 1.0) & (away > 4) & (away < side.length)
            straddles = (
                along.min() < 0 < along.max() and away.max() > 4 and away.min() < side.length
            )
            if bool(inside.any()) or (straddles and away.min() > -4):
                return True
        return False


def add_blocks(mesh: MeshBuilder, street: Street, seed: int) -> Array:
    """All buildings. Returns their walls (n, 5): x0 y0 x1 y1 height."""
    plot = _Plot(mesh, street)
    fashion = {d: fashionable_facades(stream(seed, "fashion", d)) for d in DISTRICTS}
    for side in (1, -1):
        _first_row(plot, side, fashion, stream(seed, "first row", side))
        _second_row(plot, side, fashion, stream(seed, "second row", side))
    for k, side_street in enumerate(street.side_streets):
        _along_side_street(plot, side_street, fashion, stream(seed, "side row", k))
    _landmarks(mesh, street, stream(seed, "landmarks"))
    return np.array(plot.walls)


def _first_row(
    plot: _Plot, side: int, fashion: dict[str, NDArray[np.int64]], rng: np.random.Generator
) -> None:
    street = plot.street
    s, end = -float(BEHIND_M), street.route.length + AHEAD_M - 5
    style, terrace, kind_before = None, 0, ""
    while s < end:
        kind = street.district(s)
        if kind == "park":
            s += 6.0
            continue
        low, high = _WIDTHS[kind]
        width = float(rng.uniform(low, high))
        if style is None or terrace <= 0 or kind != kind_before:
            style = draw_style(rng, kind, fashion[kind])
            terrace = int(rng.choice([1, 1, 1, 2, 3, 4]))
        terrace -= 1
        kind_before = kind
        mouth = street.side_street_at(s + width / 2, side, width / 2 + 1.8)
        if mouth is not None:
            width = mouth.s - mouth.half_width - 2.0 - s
        if width > 4.0:
            _front_building(plot, side, s, width, style, kind, rng)
        s = mouth.s + mouth.half_width + 2.0 if mouth is not None else s + width
        s += _gap(kind, rng)


def _gap(kind: str, rng: np.random.Generator) -> float:
    if kind == "suburb":
        return float(rng.uniform(3, 8))
    if kind == "modern":
        return float(rng.uniform(2, 7))
    return float(rng.uniform(2, 4)) if rng.random() < 0.08 else 0.0


def _front_building(
    plot: _Plot,
    side: int,
    s: float,
    width: float,
    style: BuildingStyle,
    kind: str,
    rng: np.random.Generator,
) -> None:
    street = plot.street
    line = float(street.frontage(s + width / 2)) + (rng.uniform(-1, 2.5) if kind == "suburb" else 0)
    ends = np.array([s, s + width])
    left, right = street.route.point(ends, side * line)
    if side < 0:
        left, right = right, left
    depth = float(rng.uniform(8, 13))
    clearance = float(street.half_road(s)) + 1.5
    if not plot.place(left, right, depth, style, rng, clearance):
        plot.place(left, right, 5.0, style, rng, clearance)


def _second_row(
    plot: _Plot, side: int, fashion: dict[str, NDArray[np.int64]], rng: np.random.Generator
) -> None:
    """Higher blocks behind, seen above roofs and through gaps."""
    street = plot.street
    s = -float(BEHIND_M)
    while s < street.route.length + AHEAD_M - 30:
        width = float(rng.uniform(12, 26))
        kind = str(rng.choice(["old", "modern", "shops"]))
        base = draw_style(rng, kind, fashion[kind])
        floors = int(rng.integers(2, 6)) + (4 if rng.random() < 0.2 else 0)
        style = BuildingStyle(**{**vars(base), "floors": floors, "shop": False, "balconies": False})
        line = float(street.frontage(s)) + float(rng.uniform(17, 30))
        left, right = street.route.point(np.array([s, s + width]), side * line)
        if side < 0:
            left, right = right, left
        plot.place(left, right, float(rng.uniform(9, 14)), style, rng, line - 9)
        s += width + float(rng.uniform(2, 20))


def _along_side_street(
    plot: _Plot, side: SideStreet, fashion: dict[str, NDArray[np.int64]], rng: np.random.Generator
) -> None:
    """Both rows of a side street behind the corner houses, and the house that closes it."""
    street = plot.street
    kind = street.district(side.s)
    kind = "suburb" if kind == "park" else kind
    for hand in (1, -1):
        away = float(street.frontage(side.s)) + 14.0
        while away < side.length - 8:
            width = float(rng.uniform(8, 16))
            line = hand * (side.half_width + 2.0)
            near = side_point(street.route, side, line, away)
            far = side_point(street.route, side, line, away + width)
            left, right = (near, far) if hand * side.side < 0 else (far, near)
            style = draw_style(rng, kind, fashion[kind])
            plot.place(left, right, 8.0, style, rng, 16.0)
            away += width + _gap(kind, rng)
    a = side_point(street.route, side, -12.0, side.length + 4)
    b = side_point(street.route, side, 12.0, side.length + 4)
    left, right = (a, b) if side.side > 0 else (b, a)
    plot.place(left, right, 10.0, draw_style(rng, kind, fashion[kind]), rng, 16.0)


def _landmarks(mesh: MeshBuilder, street: Street, rng: np.random.Generator) -> None:
    """Towers, spires and chimneys that show above the roofs."""
    s = float(rng.uniform(0, 40))
    while s < street.route.length + AHEAD_M - 20:
        side = float(rng.choice([-1, 1]))
        xy = street.route.point(s, side * float(rng.uniform(36, 60)))
        if street.route.clearance(xy[None, :]) > 24:
            _tower(mesh, xy, rng)
        s += float(rng.uniform(45, 110))


def _tower(mesh: MeshBuilder, xy: Array, rng: np.random.Generator) -> None:
    kind = int(rng.integers(3))
    wall = paint.pick(rng, paint.WALLS["old"])
    stone = plain(TILES.facade + int(rng.integers(8)), wall, BUILDING)
    x, y = float(xy[0]), float(xy[1])
    if kind == 0:
        r, h = float(rng.uniform(2.5, 4)), float(rng.uniform(22, 32))
        mesh.box((x - r, y - r, 0), (x + r, y + r, h), stone, repeat=(2, 7))
        slate = plain(TILES.roof, paint.pick(rng, paint.ROOFS), BUILDING, snow=0.8)
        mesh.strip((x, y, h), (x, y, h + 4 * r), (1.2 * r, 0.05), slate, key=xy, bias=0.1)
    elif kind == 1:
        h = float(rng.uniform(28, 42))
        brick = plain(TILES.plaster, paint.WALLS["suburb"][1], BUILDING)
        mesh.strip((x, y, 0), (x, y, h), (2.0, 1.2), brick, key=xy)
    else:
        r, h = float(rng.uniform(7, 10)), float(rng.uniform(28, 45))
        mesh.box((x - r, y - r, 0), (x + r, y + r, h), stone, repeat=(5, 12))
