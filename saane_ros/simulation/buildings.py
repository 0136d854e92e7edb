"""One building: storeys of bays, a ground floor of its own, a roof line, and what hangs on it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation import palettes as paint
from saane_ros.simulation.labels import BUILDING, SIGN, STREET_FURNITURE
from saane_ros.simulation.mesh import Colour, MeshBuilder, Surface, plain
from saane_ros.simulation.textures import DOORS, FACADES, LETTERINGS, SHOPS, TILES

Array = NDArray[np.float64]

PANEL_M = 4.5
"""Walls are cut into panels no wider than this, so that painting by distance comes out right."""


@dataclass(frozen=True)
class BuildingStyle:
    """How a building looks; a terrace repeats one style."""

    facade: int
    ground: int
    shop: bool
    palette: tuple[Colour, Colour, Colour, Colour]
    ground_palette: tuple[Colour, Colour, Colour, Colour]
    roof: str
    roof_colour: Colour
    floors: int
    floor_m: float
    bay_m: float
    cornice: float
    balconies: bool


def draw_style(
    rng: np.random.Generator, district: str, facades: NDArray[np.int64]
) -> BuildingStyle:
    """A style of the district; `facades` are the tiles in fashion there."""
    shop = rng.random() < {"old": 0.4, "shops": 0.9, "modern": 0.5}.get(district, 0.04)
    wall = paint.pick(rng, paint.WALLS[district])
    trim = paint.pick(rng, paint.TRIMS)
    accent = paint.pick(rng, paint.ACCENTS)
    glass = paint.pick(rng, paint.GLASS)
    low, high = {"old": (2, 5), "suburb": (1, 3), "shops": (2, 5), "modern": (3, 9)}[district]
    roofs = {
        "old": ["gable", "gable", "front", "mansard", "flat"],
        "suburb": ["gable", "hip", "front", "hip"],
        "shops": ["flat", "flat", "gable", "mansard"],
        "modern": ["flat", "flat", "flat", "shed"],
    }[district]
    return BuildingStyle(
        facade=TILES.facade + int(rng.choice(facades)),
        ground=TILES.shop + int(rng.integers(SHOPS))
        if shop
        else TILES.door + int(rng.integers(DOORS)),
        shop=shop,
        palette=(wall, trim, glass, accent),
        ground_palette=(
            paint.scaled(wall, float(rng.uniform(0.6, 1.0))),
            paint.pick(rng, paint.ACCENTS) if shop else trim,
            glass,
            paint.pick(rng, paint.ACCENTS + paint.BOARDS),
        ),
        roof=str(rng.choice(roofs)),
        roof_colour=paint.pick(rng, paint.ROOFS),
        floors=int(rng.integers(low, high + 1)),
        floor_m=float(rng.uniform(2.8, 3.6)),
        bay_m=float(rng.uniform(2.2, 4.2)),
        cornice=float(rng.choice([0.0, 0.25, 0.5, 0.7])),
        balconies=bool(rng.random() < 0.25),
    )


def fashionable_facades(rng: np.random.Generator) -> NDArray[np.int64]:
    """The few facade tiles that a district repeats."""
    return rng.choice(FACADES, size=9, replace=False)


class BuildingSite:
    """Adds one building to a mesh: front edge from `left` to `right` as seen from the street."""

    def __init__(
        self,
        mesh: MeshBuilder,
        left: Array,
        right: Array,
        depth: float,
        style: BuildingStyle,
        rng: np.random.Generator,
    ) -> None:
        along = right - left
        self.width = float(np.linalg.norm(along))
        self.u = along / self.width
        self.back = np.array([-self.u[1], self.u[0]])
        self.mesh, self.left, self.depth, self.style, self.rng = mesh, left, depth, style, rng
        self.seed = int(rng.integers(1 << 31))
        self.ground_m = 3.8 if style.shop else style.floor_m
        self.eave = self.ground_m + style.floor_m * (style.floors - 1)
        self.wall = Surface(style.facade, style.palette, BUILDING, self.seed, windows=0.35)
        lit = 0.75 if style.shop else 0.3
        self.base = Surface(
            style.ground, style.ground_palette, BUILDING, self.seed + 1, windows=lit
        )
        self.blank = plain(TILES.plaster, style.palette[0], BUILDING)

    def at(self, across: float, inward: float, z: float) -> Array:
        """A point `across` metres from the left corner, `inward` behind the front."""
        xy = self.left + self.u * across + self.back * inward
        return np.array([xy[0], xy[1], z])

    def build(self) -> None:
        """Add every face."""
        w, d = self.width, self.depth
        blind = self.rng.random(2) < 0.4
        self._wall(self.at(0, 0, 0), self.at(w, 0, 0), front=True)
        self._wall(self.at(w, 0, 0), self.at(w, d, 0), blank=bool(blind[0]))
        self._wall(self.at(0, d, 0), self.at(0, 0, 0), blank=bool(blind[1]))
        self._wall(self.at(w, d, 0), self.at(0, d, 0), blank=True)
        self._roof()
        if self.style.cornice > 0:
            self._cornice()
        if self.style.shop:
            self._shop_sign()
        if self.style.balconies and self.style.floors > 1:
            self._balconies()

    def _wall(self, a: Array, b: Array, front: bool = False, blank: bool = False) -> None:
        length = float(np.linalg.norm(b - a))
        bays = max(1, round(length / self.style.bay_m))
        panels = max(1, int(np.ceil(length / PANEL_M)))
        panels = min(panels, bays)
        cuts = np.round(np.linspace(0, bays, panels + 1)).astype(int)
        for first, last in itertools.pairwise(cuts):
            p, q = a + (b - a) * first / bays, a + (b - a) * last / bays
            count = int(last - first)
            if blank:
                self._upright(p, q, 0.0, self.eave, self.blank, (count, self.style.floors))
                continue
            ground = self.base if front else self.wall
            cell = 1 if front and not self.style.shop else count
            self._upright(p, q, 0.0, self.ground_m, self._shifted(ground, first), (cell, 1))
            if self.style.floors > 1:
                upper = self._shifted(self.wall, first)
                repeat = (count, self.style.floors - 1)
                self._upright(p, q, self.ground_m, self.eave, upper, repeat)

    def _shifted(self, surface: Surface, first: int) -> Surface:
        """The same surface whose window cells differ from those of the panels beside it."""
        seed = surface.seed + 7919 * int(first)
        return Surface(surface.tile, surface.colours, surface.label, seed, windows=surface.windows)

    def _upright(
        self, p: Array, q: Array, z0: float, z1: float, surface: Surface, repeat: tuple[int, int]
    ) -> None:
        corners = [(*p[:2], z0), (*q[:2], z0), (*q[:2], z1), (*p[:2], z1)]
        self.mesh.quad(corners, surface, repeat=repeat)

    def _roof(self) -> None:
        w, d, eave, kind = self.width, self.depth, self.eave, self.style.roof
        if kind == "flat":
            self._roof_clutter(eave)
            return
        pitch = float(self.rng.uniform(0.5, 1.0))
        surface = plain(TILES.roof, self.style.roof_colour, BUILDING, snow=0.95)
        if kind == "front":
            rise = pitch * w / 2
            self._slope((0, 0), (0, d), (w / 2, d), (w / 2, 0), eave, rise, surface, flip=True)
            self._slope((w, 0), (w, d), (w / 2, d), (w / 2, 0), eave, rise, surface)
            self._gable((0, 0), (w, 0), (w / 2, 0), eave, rise, self.wall)
        elif kind == "shed":
            rise = pitch * 2.5
            self._slope((0, 0), (w, 0), (w, d), (0, d), eave, rise, surface)
        else:
            steep = kind == "mansard"
            inset = 1.4 if steep else d / 2
            side = 0.0 if kind == "gable" else min(inset, w / 2 - 0.2)
            rise = 2.8 if steep else pitch * d / 2
            self._slope((0, 0), (w, 0), (w - side, inset), (side, inset), eave, rise, surface)
            if kind == "gable":
                self._gable((w, 0), (w, d), (w, d / 2), eave, rise, self.blank)
                self._gable((0, d), (0, 0), (0, d / 2), eave, rise, self.blank)
            else:
                end = (d - inset) if steep else d / 2
                self._slope((w, 0), (w, d), (w - side, end), (w - side, inset), eave, rise, surface)
                self._slope((0, d), (0, 0), (side, inset), (side, end), eave, rise, surface)
            if steep or self.rng.random() < 0.35:
                self._dormers(inset, rise)
        if self.rng.random() < 0.6:
            self._chimney(eave)

    def _slope(
        self,
        a: tuple[float, float],
        b: tuple[float, float],
        c: tuple[float, float],
        e: tuple[float, float],
        eave: float,
        rise: float,
        surface: Surface,
        flip: bool = False,
    ) -> None:
        """A roof plane with its eave a-b and its ridge c-e."""
        corners = [self.at(*a, eave), self.at(*b, eave), self.at(*c, eave + rise)]
        corners.append(self.at(*e, eave + rise))
        if flip:
            corners = [corners[1], corners[0], corners[3], corners[2]]
        size = float(np.linalg.norm(corners[1] - corners[0]))
        up = (corners[2] + corners[3] - corners[0] - corners[1]) / 2
        repeat = (max(1.0, size / 3), max(1.0, float(np.linalg.norm(up)) / 3))
        self.mesh.quad(corners, surface, repeat=repeat, up=list(up), two_sided=True)

    def _gable(
        self,
        a: tuple[float, float],
        b: tuple[float, float],
        top: tuple[float, float],
        eave: float,
        rise: float,
        surface: Surface,
    ) -> None:
        p, q, apex = self.at(*a, eave), self.at(*b, eave), self.at(*top, eave + rise)
        bays = max(1, round(float(np.linalg.norm(q - p)) / self.style.bay_m))
        repeat = (bays, max(1, round(rise / self.style.floor_m)))
        self.mesh.quad([p, q, apex, apex], surface, repeat=repeat, up=[0, 0, rise], bias=0.02)

    def _dormers(self, inset: float, rise: float) -> None:
        count = max(1, int(self.width / (2 * self.style.bay_m)))
        forward = 0.35 * inset
        z = self.eave + 0.2 * rise
        for k in range(count):
            middle = self.width * (k + 0.5) / count
            p, q = self.at(middle - 0.7, forward, z), self.at(middle + 0.7, forward, z)
            top = np.array([0, 0, 1.5])
            face = self._shifted(self.wall, 50 + k)
            self.mesh.quad([p, q, q + top, p + top], face, bias=inset * 0.5 + 0.3)
            roof = plain(TILES.roof, self.style.roof_colour, BUILDING, snow=0.95)
            lip = np.array([0, 0, 1.9])
            self.mesh.quad([p + top, q + top, q + lip, p + lip], roof, bias=inset * 0.5 + 0.3)

    def _chimney(self, eave: float) -> None:
        across = float(self.rng.uniform(0.15, 0.85)) * self.width
        xy = self.at(across, self.depth * 0.3, 0)
        height = eave + self.depth * 0.25 + float(self.rng.uniform(1.5, 3.0))
        surface = plain(TILES.plaster, paint.pick(self.rng, paint.WALLS["old"]), BUILDING)
        self.mesh.box((xy[0] - 0.4, xy[1] - 0.4, eave), (xy[0] + 0.4, xy[1] + 0.4, height), surface)

    def _roof_clutter(self, eave: float) -> None:
        if self.rng.random() < 0.5:
            xy = self.at(float(self.rng.uniform(0.2, 0.8)) * self.width, self.depth * 0.4, 0)
            r, h = float(self.rng.uniform(1.0, 2.0)), float(self.rng.uniform(1.5, 3.0))
            low, high = (xy[0] - r, xy[1] - r, eave), (xy[0] + r, xy[1] + r, eave + h)
            self.mesh.box(low, high, self.blank)
        if self.rng.random() < 0.3:
            xy = self.at(float(self.rng.uniform(0.2, 0.8)) * self.width, 2.0, eave)
            steel = plain(TILES.flat, paint.STEEL, BUILDING)
            self.mesh.strip(xy, xy + np.array([0, 0, 4.0]), (0.06, 0.04), steel)

    def _cornice(self) -> None:
        band = self.style.cornice
        surface = plain(TILES.plaster, self.style.palette[1], BUILDING, snow=0.7)
        panels = max(1, int(np.ceil(self.width / PANEL_M)))
        cuts = np.linspace(0, self.width, panels + 1)
        for a, b in itertools.pairwise(cuts):
            p, q = self.at(a, -band / 2, self.eave - 0.1), self.at(b, -band / 2, self.eave - 0.1)
            top = np.array([0, 0, band])
            self.mesh.quad([p, q, q + top, p + top], surface, bias=0.05)

    def _shop_sign(self) -> None:
        colour, ink = paint.pick(self.rng, paint.BOARDS), paint.pick(self.rng, paint.TRIMS)
        tile = TILES.lettering + int(self.rng.integers(LETTERINGS))
        glow = paint.scaled(colour, 1.5) if self.rng.random() < 0.6 else (0.0, 0.0, 0.0)
        board = Surface(tile, (colour, ink, ink, ink), SIGN, glow=glow)
        a = float(self.rng.uniform(0, 0.3)) * self.width
        b = float(self.rng.uniform(0.7, 1.0)) * self.width
        cuts = np.linspace(a, b, max(1, round((b - a) / PANEL_M)) + 1)
        for left, right in itertools.pairwise(cuts):
            p, q = self.at(left, -0.12, 3.0), self.at(right, -0.12, 3.0)
            top = np.array([0, 0, 0.75])
            self.mesh.quad([p, q, q + top, p + top], board, bias=0.1)
        if self.rng.random() < 0.4:
            self._awning(a, b)
        if self.rng.random() < 0.35:
            self._hanging_sign(board)

    def _awning(self, a: float, b: float) -> None:
        cloth = plain(TILES.cloth, paint.pick(self.rng, paint.BOARDS), STREET_FURNITURE, snow=0.6)
        p, q = self.at(a, -1.3, 2.4), self.at(b, -1.3, 2.4)
        r, s = self.at(b, -0.1, 3.0), self.at(a, -0.1, 3.0)
        self.mesh.quad([p, q, r, s], cloth, two_sided=True, bias=0.2, repeat=(3, 1))

    def _hanging_sign(self, board: Surface) -> None:
        across = float(self.rng.uniform(0.1, 0.9)) * self.width
        p, q = self.at(across, -0.1, 3.4), self.at(across, -1.1, 3.4)
        top = np.array([0, 0, 0.9])
        self.mesh.quad([q, p, p + top, q + top], board, two_sided=True, bias=0.3)

    def _balconies(self) -> None:
        rail = plain(TILES.railing, self.style.palette[3], BUILDING, snow=0.2)
        for floor in range(1, self.style.floors):
            z = self.ground_m + self.style.floor_m * (floor - 1)
            for k in range(max(1, int(self.width / 7))):
                left = self.width * (k + 0.3) / max(1, int(self.width / 7))
                p, q = self.at(left, -1.0, z), self.at(min(left + 2.6, self.width), -1.0, z)
                top = np.array([0, 0, 1.0])
                self.mesh.quad([p, q, q + top, p + top], rail, bias=0.2, repeat=(2, 1))
