"""Districts and cross-section of the street, and the ground: carriageway, pavement, markings."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation import palettes as paint
from saane_ros.simulation.labels import LANE_MARKING, ROAD, SIDEWALK, TERRAIN
from saane_ros.simulation.mesh import (
    PAINT_LAYER,
    PAVEMENT_LAYER,
    ROAD_LAYER,
    SIDE_LAYER,
    TERRAIN_LAYER,
    MeshBuilder,
    Surface,
    plain,
)
from saane_ros.simulation.route import AHEAD_M, BEHIND_M, Route
from saane_ros.simulation.seeds import stream
from saane_ros.simulation.textures import TILES

Array = NDArray[np.float64]

DISTRICTS = ("old", "suburb", "shops", "modern", "park")
LANE_M = 1.75
"""The middle of either lane lies this far from the centreline; traffic keeps to the right."""

_HALF_ROAD = {"old": 4.4, "suburb": 5.2, "shops": 6.0, "modern": 6.4, "park": 5.0}
_PAVEMENT = {"old": 2.6, "suburb": 3.6, "shops": 3.8, "modern": 4.2, "park": 4.4}
_VERGE = {"suburb": 1.5, "park": 1.8}
"""Grass between kerb and pavement, part of the pavement's width."""

_SETBACK = {"old": 0.0, "suburb": 5.0, "shops": 0.0, "modern": 1.5, "park": 4.0}


@dataclass(frozen=True)
class SideStreet:
    """A street that leaves the route at right angles. side: +1 left, -1 right."""

    s: float
    side: int
    half_width: float
    length: float


class Street:
    """What lies where across and along the route."""

    def __init__(self, seed: int, route: Route) -> None:
        self.route = route
        self._starts, self._kinds = _districts(stream(seed, "districts"), route)
        self.side_streets = _side_streets(stream(seed, "side streets"), route, self)

    def district(self, s: float) -> str:
        """The district at s."""
        at = int(np.searchsorted(self._starts, s, side="right")) - 1
        return self._kinds[max(0, at)]

    def half_road(self, s: float | Array) -> Array:
        """Half the width of the carriageway, easing over between districts."""
        return self._blend(s, _HALF_ROAD)

    def pavement(self, s: float | Array) -> Array:
        """Width of the pavement."""
        return self._blend(s, _PAVEMENT)

    def frontage(self, s: float | Array) -> Array:
        """Distance of the building line from the centreline."""
        return self.half_road(s) + self.pavement(s) + self._blend(s, _SETBACK)

    def side_street_at(self, s: float, side: int, margin: float = 0.0) -> SideStreet | None:
        """The side street whose mouth spans s on that side."""
        for street in self.side_streets:
            if street.side == side and abs(street.s - s) < street.half_width + margin:
                return street
        return None

    def _blend(self, s: float | Array, widths: dict[str, float]) -> Array:
        knots, values = [], []
        for k, (start, kind) in enumerate(zip(self._starts, self._kinds, strict=True)):
            end = self._starts[k + 1] if k + 1 < len(self._starts) else start + 1000.0
            knots += [start + 5.0, end - 5.0]
            values += [widths[kind]] * 2
        return np.asarray(np.interp(s, knots, values))


def add_ground(mesh: MeshBuilder, street: Street, seed: int) -> None:
    """Gardens, pavements, carriageway, side streets and markings."""
    rng = stream(seed, "ground")
    _add_strips(mesh, street, rng)
    for side_street in street.side_streets:
        _add_side_street(mesh, street.route, side_street)
    _add_markings(mesh, street)
    _add_crossings(mesh, street, rng)


def _districts(rng: np.random.Generator, route: Route) -> tuple[list[float], list[str]]:
    starts: list[float] = []
    kinds: list[str] = []
    at, end = -float(BEHIND_M), route.length + AHEAD_M
    while at < end:
        choices = [d for d in DISTRICTS if not kinds or d != kinds[-1]]
        weights = np.array([0.6 if d == "park" else 1.0 for d in choices])
        kind = str(rng.choice(choices, p=weights / weights.sum()))
        starts.append(at)
        kinds.append(kind)
        at += float(rng.uniform(35, 60) if kind == "park" else rng.uniform(60, 130))
    return starts, kinds


def _side_streets(rng: np.random.Generator, route: Route, street: Street) -> list[SideStreet]:
    found: list[SideStreet] = []
    s = float(rng.uniform(20, 60))
    while s < route.length + AHEAD_M - 40:
        for side in rng.permutation([1, -1])[: 2 if rng.random() < 0.3 else 1]:
            half = float(rng.uniform(3.0, 4.5))
            length = _clear_length(route, s, int(side), half)
            if length > 20:
                found.append(SideStreet(s, int(side), half, length))
        s += float(rng.uniform(45, 110))
    return found


def _clear_length(route: Route, s: float, side: int, half: float) -> float:
    """How far a side street may go without coming near another part of the route."""
    far = np.abs(route.s - s) > 30
    for length in np.arange(20.0, 85.0, 5.0):
        tip = route.point(s, side * length)
        gap = np.sqrt(((route.points[far] - tip) ** 2).sum(axis=1)).min()
        if gap < 22 + half:
            return float(length - 5.0)
    return 80.0


def _add_strips(mesh: MeshBuilder, street: Street, rng: np.random.Generator) -> None:
    route = street.route
    cuts = np.arange(-BEHIND_M, route.length + AHEAD_M, 4.0)
    for a, b in itertools.pairwise(cuts):
        kind = street.district(float(a))
        ends = np.array([a, b])
        road, walk = street.half_road(ends), street.half_road(ends) + street.pavement(ends)
        garden = street.frontage(ends) + 14.0
        lawn = kind in ("suburb", "park")
        tone = paint.scaled(paint.GRASS if lawn else paint.PAVING, float(rng.uniform(0.7, 0.9)))
        yard = plain(TILES.grass if lawn else TILES.paving, tone, TERRAIN, snow=0.95)
        slabs = TILES.cobbles if kind == "old" else TILES.paving
        pave = plain(slabs, paint.scaled(paint.PAVING, _tone(kind)), SIDEWALK, snow=0.85)
        kerb = plain(TILES.flat, paint.KERB, SIDEWALK, snow=0.85)
        asphalt = plain(TILES.asphalt, paint.scaled(paint.ASPHALT, _tone(kind)), ROAD, snow=0.7)
        _band(mesh, route, ends, -garden, garden, yard, TERRAIN_LAYER, 4.0)
        _band(mesh, route, ends, -walk, walk, pave, PAVEMENT_LAYER, 2.0)
        if kind in _VERGE and street.district(float(b)) == kind:
            verge = np.minimum(road + _VERGE[kind], walk - 1.0)
            _band(mesh, route, ends, -verge, verge, yard, PAVEMENT_LAYER, 4.0)
        _band(mesh, route, ends, -road - 0.18, road + 0.18, kerb, PAVEMENT_LAYER, 2.0)
        _band(mesh, route, ends, -road, road, asphalt, ROAD_LAYER, 8.0)


def _tone(kind: str) -> float:
    return {"old": 0.85, "suburb": 1.0, "shops": 0.95, "modern": 1.1, "park": 0.8}[kind]


def _band(
    mesh: MeshBuilder,
    route: Route,
    ends: Array,
    right: Array,
    left: Array,
    surface: Surface,
    layer: int,
    tile_m: float,
) -> None:
    """A piece of ground between two laterals; texture u runs across, v along."""
    r, le = route.point(ends, right), route.point(ends, left)
    flat = [(*le[0], 0.0), (*r[0], 0.0), (*r[1], 0.0), (*le[1], 0.0)]
    across = float(np.linalg.norm(r[0] - le[0]))
    along = float(ends[1] - ends[0])
    repeat = (across / tile_m, along / tile_m)
    mesh.quad(flat, surface, layer=layer, repeat=repeat, two_sided=True)


def _add_side_street(mesh: MeshBuilder, route: Route, side: SideStreet) -> None:
    half = side.half_width
    asphalt = plain(TILES.asphalt, paint.scaled(paint.ASPHALT, 0.9), ROAD, snow=0.8)
    pave = plain(TILES.paving, paint.scaled(paint.PAVING, 0.9), SIDEWALK, snow=0.85)
    for half_width, surface, layer in ((half + 1.8, pave, SIDE_LAYER), (half, asphalt, ROAD_LAYER)):
        for a in np.arange(2.0, side.length, 10.0):
            b = min(a + 10.0, side.length)
            p = side_point(route, side, -half_width, a), side_point(route, side, half_width, a)
            q = side_point(route, side, -half_width, b), side_point(route, side, half_width, b)
            flat = [(*p[0], 0.0), (*p[1], 0.0), (*q[1], 0.0), (*q[0], 0.0)]
            repeat = (half_width / 4, 1.2)
            mesh.quad(flat, surface, layer=layer, repeat=repeat, two_sided=True)


def side_point(route: Route, side: SideStreet, along: float, away: float) -> Array:
    """Map position `away` metres up a side street, `along` metres off its middle."""
    heading = route.heading(side.s)
    direction = np.array([np.cos(heading), np.sin(heading)])
    return np.asarray(route.point(side.s, side.side * away) + direction * along)


def _add_markings(mesh: MeshBuilder, street: Street) -> None:
    route = street.route
    white = plain(TILES.plaster, paint.PAINT, LANE_MARKING, snow=0.75)
    for a in np.arange(-BEHIND_M + 2.0, route.length + AHEAD_M - 6, 6.0):
        kind = street.district(float(a))
        if kind != "old":
            half = np.array([0.07, 0.07])
            end = 6.0 if kind == "modern" else 3.0
            _band(mesh, route, np.array([a, a + end]), -half, half, white, PAINT_LAYER, 4.0)
        if kind in ("shops", "modern", "suburb"):
            for side in (1, -1):
                if street.side_street_at(float(a), side, 4.0):
                    continue
                ends = np.array([a, a + 6.0])
                edge = side * (street.half_road(ends) - (0.25 if kind == "modern" else 2.2))
                _band(mesh, route, ends, edge - 0.05, edge + 0.05, white, PAINT_LAYER, 4.0)


def _add_crossings(mesh: MeshBuilder, street: Street, rng: np.random.Generator) -> None:
    """Zebra stripes and a stop line at some side streets and between."""
    white = plain(TILES.plaster, paint.PAINT, LANE_MARKING, snow=0.75)
    places = [s.s + s.half_width + 3.0 for s in street.side_streets if rng.random() < 0.6]
    for s in places:
        half = float(street.half_road(s))
        ends = np.array([s, s + 3.0])
        for lateral in np.arange(-half + 0.5, half - 0.4, 1.0):
            low, high = np.full(2, lateral), np.full(2, lateral + 0.5)
            _band(mesh, street.route, ends, low, high, white, PAINT_LAYER, 4.0)
