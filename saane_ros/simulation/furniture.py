"""What stands along the street: lamps, signs, fences, hedges, benches, bins, shelters, trees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation import palettes as paint
from saane_ros.simulation.labels import FENCE, POLE, SIGN, STREET_FURNITURE, VEGETATION
from saane_ros.simulation.mesh import MeshBuilder, Surface, plain
from saane_ros.simulation.route import AHEAD_M, BEHIND_M
from saane_ros.simulation.seeds import stream
from saane_ros.simulation.streets import Street
from saane_ros.simulation.textures import SIGN_FACES, TILES
from saane_ros.simulation.trees import Crown, add_shrub, add_tree

Array = NDArray[np.float64]

LAMP_HEIGHT_M = 6.0


def add_furniture(mesh: MeshBuilder, street: Street, seed: int) -> tuple[Array, Array]:
    """Everything beside the carriageway. Returns lamps (n, 3) and tree crowns (m, 4)."""
    lamps = _add_lamps(mesh, street, stream(seed, "lamps"))
    crowns = _add_trees(mesh, street, stream(seed, "trees"))
    _add_signs(mesh, street, stream(seed, "signs"))
    _add_fences(mesh, street, stream(seed, "fences"))
    _add_small_things(mesh, street, stream(seed, "small things"))
    return lamps, crowns


def _spots(street: Street, rng: np.random.Generator, low: float, high: float) -> list[float]:
    spots, s = [], -BEHIND_M + float(rng.uniform(low, high))
    while s < street.route.length + AHEAD_M - 10:
        spots.append(s)
        s += float(rng.uniform(low, high))
    return spots


def _add_lamps(mesh: MeshBuilder, street: Street, rng: np.random.Generator) -> Array:
    steel = plain(TILES.flat, paint.scaled(paint.STEEL, float(rng.uniform(0.3, 1.0))), POLE)
    lamps, side = [], 1
    for s in _spots(street, rng, 24, 30):
        side = -side
        if street.side_street_at(s, side, 1.0):
            continue
        kind = street.district(s)
        lateral = side * (float(street.half_road(s)) + 0.6)
        foot = street.route.point(s, lateral)
        reach = 0.3 if kind in ("old", "park") else 1.8
        height = 4.2 if kind in ("old", "park") else LAMP_HEIGHT_M + 1.0
        head = street.route.point(s, lateral - side * reach)
        top = np.array([*foot, height])
        lamp = np.array([*head, height + 0.1])
        mesh.strip((*foot, 0.0), top, (0.09, 0.06), steel, key=foot)
        mesh.strip(top, lamp, (0.05, 0.05), steel, key=foot, bias=0.01)
        warm = (9.0, 6.2, 3.0)
        glass = plain(TILES.flat, paint.TRIMS[0], POLE, glow=warm)
        mesh.disc(lamp, (0.28, 0.14), glass, key=foot, bias=0.02)
        lamps.append(lamp)
    return np.array(lamps)


def _add_trees(mesh: MeshBuilder, street: Street, rng: np.random.Generator) -> Array:
    route = street.route
    crowns: list[Crown] = []
    for side in (1, -1):
        for s in _spots(street, rng, 6, 13):
            kind = street.district(s)
            chance = {"old": 0.06, "suburb": 0.35, "shops": 0.3, "modern": 0.45, "park": 0.95}[kind]
            if rng.random() > chance or street.side_street_at(s, side, 2.5):
                continue
            edge = float(street.half_road(s))
            if kind == "park":
                lateral = edge + float(street.pavement(s)) + float(rng.uniform(1, 14))
            elif kind == "suburb":
                lateral = edge + float(street.pavement(s)) + float(rng.uniform(1.2, 3.5))
            else:
                lateral = edge + 0.9
            crowns.append(add_tree(mesh, route.point(s, side * lateral), rng))
            if kind == "park" and rng.random() < 0.6:
                behind = side * (lateral + float(rng.uniform(8, 20)))
                crowns.append(add_tree(mesh, route.point(s + 3, behind), rng))
    return np.array(crowns).reshape(-1, 4)


def _add_signs(mesh: MeshBuilder, street: Street, rng: np.random.Generator) -> None:
    steel = plain(TILES.flat, paint.STEEL, POLE)
    for side in (1, -1):
        for s in _spots(street, rng, 18, 60):
            if street.side_street_at(s, side, 1.0):
                continue
            lateral = side * (float(street.half_road(s)) + float(rng.uniform(0.35, 0.7)))
            foot = street.route.point(s, lateral)
            height = float(rng.uniform(2.3, 3.0))
            mesh.strip((*foot, 0.0), (*foot, height + 0.4), (0.04, 0.04), steel, key=foot)
            toward = 1 if side < 0 else -1
            _sign_plate(mesh, street, s, foot, height, toward, rng)


def _sign_plate(
    mesh: MeshBuilder,
    street: Street,
    s: float,
    foot: Array,
    height: float,
    toward: int,
    rng: np.random.Generator,
) -> None:
    """A plate facing the traffic that passes it on this side."""
    heading = float(street.route.heading(s))
    across = np.array([np.sin(heading), -np.cos(heading)]) * toward
    wide, tall = float(rng.uniform(0.3, 0.5)), float(rng.uniform(0.3, 0.5))
    if rng.random() < 0.2:
        wide, tall = 0.9, 0.45
    tile = TILES.sign + int(rng.integers(SIGN_FACES))
    ground = paint.pick(rng, (paint.PAINT, paint.BOARDS[1], paint.BOARDS[3], paint.PAINT))
    rim = paint.pick(rng, (paint.BOARDS[0], paint.PAINT, paint.BOARDS[4]))
    symbol = paint.BOARDS[4] if sum(ground) > 1 else paint.PAINT
    face = Surface(tile, (ground, rim, ground, symbol), SIGN, snow=0.15)
    p, q = foot - across * wide, foot + across * wide
    corners = [(*p, height - tall), (*q, height - tall), (*q, height + tall), (*p, height + tall)]
    mesh.quad(corners, face, key=foot, bias=0.03)
    back = plain(TILES.flat, paint.scaled(paint.STEEL, 0.7), SIGN)
    mesh.quad([corners[1], corners[0], corners[3], corners[2]], back, key=foot, bias=0.02)


def _add_fences(mesh: MeshBuilder, street: Street, rng: np.random.Generator) -> None:
    """Garden fences, walls and hedges where houses stand back."""
    route = street.route
    for side in (1, -1):
        s = -float(BEHIND_M)
        while s < route.length + AHEAD_M - 20:
            length = float(rng.uniform(10, 22))
            kind = street.district(s)
            if kind in ("suburb", "park") and rng.random() < (0.6 if kind == "suburb" else 0.3):
                _fence_run(mesh, street, s, length - 2.5, side, rng)
            s += length


def _fence_run(
    mesh: MeshBuilder, street: Street, s: float, length: float, side: int, rng: np.random.Generator
) -> None:
    style = int(rng.integers(4))
    colour = paint.pick(rng, paint.TRIMS + paint.ACCENTS)
    height = float(rng.uniform(0.8, 1.3))
    if style == 0:
        height = float(rng.uniform(1.0, 1.9))
        surface = plain(TILES.hedge, paint.pick(rng, paint.LEAVES), VEGETATION, snow=0.5)
    elif style == 1:
        wall = paint.pick(rng, paint.WALLS["suburb"])
        surface = plain(TILES.plaster, wall, FENCE, snow=0.2)
    else:
        tile = TILES.pickets if style == 2 else TILES.railing
        surface = plain(tile, colour, FENCE, snow=0.15)
    for a in np.arange(s, s + length, 2.5):
        ends = np.array([a, min(a + 2.5, s + length)])
        if street.side_street_at(float(ends.mean()), side, 3.5):
            continue
        lateral = side * (street.half_road(ends) + street.pavement(ends) + 0.25)
        p, q = street.route.point(ends, lateral)
        if side < 0:
            p, q = q, p
        corners = [(*p, 0.0), (*q, 0.0), (*q, height), (*p, height)]
        mesh.quad(corners, surface, two_sided=True, repeat=(2, 1))


def _add_small_things(mesh: MeshBuilder, street: Street, rng: np.random.Generator) -> None:
    for side in (1, -1):
        for s in _spots(street, rng, 7, 22):
            if street.side_street_at(s, side, 3.0):
                continue
            walk, edge = float(street.pavement(s)), float(street.half_road(s))
            at_kerb = rng.random() < 0.5
            lateral = side * (edge + (0.6 if at_kerb else walk - 0.5))
            xy = street.route.point(s, lateral)
            heading = float(street.route.heading(s))
            _small_thing(mesh, xy, heading, street.district(s), rng)


def _small_thing(
    mesh: MeshBuilder, xy: Array, heading: float, kind: str, rng: np.random.Generator
) -> None:
    colour = paint.pick(rng, paint.ACCENTS + paint.BOARDS)
    thing = plain(TILES.flat, colour, STREET_FURNITURE, snow=0.3)
    choice = int(rng.integers(7))
    if choice == 0:
        mesh.strip((*xy, 0.0), (*xy, 1.0), (0.28, 0.3), thing)
    elif choice == 1:
        along = np.array([np.cos(heading), np.sin(heading)])
        p, q = xy - along * 0.8, xy + along * 0.8
        slats = plain(TILES.grille, paint.ACCENTS[3], STREET_FURNITURE, snow=0.7)
        back = [(*p, 0.4), (*q, 0.4), (*q, 0.95), (*p, 0.95)]
        mesh.quad(back, slats, key=xy, two_sided=True)
    elif choice == 2:
        mesh.strip((*xy, 0.0), (*xy, 0.75), (0.14, 0.12), thing)
        mesh.disc((*xy, 0.8), (0.16, 0.14), thing, bias=0.01)
    elif choice == 3:
        cabinet = plain(TILES.grille, paint.scaled(paint.STEEL, 1.4), STREET_FURNITURE, snow=0.4)
        mesh.box((xy[0] - 0.35, xy[1] - 0.35, 0), (xy[0] + 0.35, xy[1] + 0.35, 1.3), cabinet)
    elif choice == 4 and kind in ("shops", "modern"):
        _bus_shelter(mesh, xy, heading, colour)
    elif choice == 5:
        add_shrub(mesh, xy, rng)
    else:
        for k in range(3):
            along = np.array([np.cos(heading), np.sin(heading)]) * 1.5 * k
            mesh.strip((*(xy + along), 0.0), (*(xy + along), 0.9), (0.06, 0.06), thing)


def _bus_shelter(
    mesh: MeshBuilder, xy: Array, heading: float, colour: tuple[float, float, float]
) -> None:
    along = np.array([np.cos(heading), np.sin(heading)])
    across = np.array([-along[1], along[0]])
    steel = plain(TILES.flat, paint.scaled(paint.STEEL, 0.5), STREET_FURNITURE, snow=0.9)
    poster = plain(TILES.cloth, colour, STREET_FURNITURE, glow=paint.scaled(colour, 2.0))
    p, q = xy - along * 1.8, xy + along * 1.8
    for end in (p, q):
        mesh.strip((*end, 0.0), (*end, 2.5), (0.05, 0.05), steel, key=end)
    low, high = p - across * 0.5, p + across * 0.5
    panel = [(*low, 0.4), (*high, 0.4), (*high, 2.3), (*low, 2.3)]
    mesh.quad(panel, poster, key=p, bias=0.05, two_sided=True)
    roof = [(*(p - across), 2.5), (*(q - across), 2.5), (*(q + across), 2.7), (*(p + across), 2.7)]
    mesh.quad(roof, steel, key=xy, bias=0.1, two_sided=True)
