"""Colours of the town, linear RGB."""

from __future__ import annotations

import numpy as np

from saane_ros.simulation.mesh import Colour


def linear(r: int, g: int, b: int) -> Colour:
    """From 8-bit display values; the renderer's display curve is a square root."""
    return ((r / 255) ** 2, (g / 255) ** 2, (b / 255) ** 2)


def scaled(colour: Colour, factor: float) -> Colour:
    """The colour, brighter or darker."""
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def pick(rng: np.random.Generator, colours: tuple[Colour, ...], spread: float = 0.08) -> Colour:
    """One of the colours, a little off."""
    base = np.asarray(colours[int(rng.integers(len(colours)))])
    r, g, b = np.clip(base * (1 + rng.normal(0, spread, 3)) * (1 + rng.normal(0, spread)), 0, 1)
    return (float(r), float(g), float(b))


WALLS = {
    "old": (
        linear(214, 186, 140),
        linear(196, 150, 110),
        linear(222, 208, 180),
        linear(170, 96, 74),
        linear(186, 176, 150),
        linear(204, 160, 150),
        linear(150, 165, 160),
    ),
    "suburb": (
        linear(225, 220, 208),
        linear(160, 90, 70),
        linear(200, 190, 160),
        linear(178, 128, 96),
        linear(150, 165, 178),
        linear(210, 200, 120),
        linear(130, 80, 66),
    ),
    "shops": (
        linear(180, 170, 155),
        linear(150, 80, 64),
        linear(205, 195, 180),
        linear(120, 115, 110),
        linear(190, 150, 95),
        linear(110, 60, 50),
    ),
    "modern": (
        linear(190, 192, 195),
        linear(120, 125, 130),
        linear(225, 225, 222),
        linear(150, 120, 95),
        linear(90, 95, 102),
        linear(165, 175, 180),
    ),
}
TRIMS = (
    linear(232, 230, 222),
    linear(205, 195, 175),
    linear(90, 80, 70),
    linear(60, 64, 66),
    linear(150, 140, 125),
)
GLASS = (linear(70, 84, 98), linear(86, 100, 108), linear(52, 62, 72), linear(100, 122, 134))
ACCENTS = (
    linear(60, 96, 70),
    linear(120, 40, 36),
    linear(50, 70, 110),
    linear(100, 74, 50),
    linear(60, 60, 60),
    linear(180, 150, 90),
    linear(70, 120, 130),
)
ROOFS = (
    linear(150, 76, 56),
    linear(122, 66, 52),
    linear(86, 84, 86),
    linear(70, 74, 80),
    linear(110, 100, 88),
    linear(96, 110, 100),
)
BOARDS = (
    linear(170, 30, 34),
    linear(30, 60, 130),
    linear(24, 100, 60),
    linear(225, 180, 40),
    linear(30, 30, 34),
    linear(230, 226, 215),
    linear(200, 90, 30),
    linear(110, 40, 110),
)
LEAVES = (
    linear(84, 118, 52),
    linear(66, 100, 46),
    linear(104, 128, 60),
    linear(72, 96, 62),
    linear(118, 132, 58),
)
BARK = (linear(92, 76, 60), linear(74, 66, 56), linear(130, 124, 112))
CARS = (
    linear(200, 200, 204),
    linear(38, 40, 44),
    linear(228, 228, 226),
    linear(150, 24, 28),
    linear(30, 56, 110),
    linear(110, 114, 118),
    linear(80, 96, 78),
    linear(196, 160, 60),
)
CLOTHES = (
    linear(40, 46, 70),
    linear(150, 40, 40),
    linear(70, 74, 70),
    linear(200, 196, 186),
    linear(60, 90, 110),
    linear(30, 30, 32),
    linear(190, 150, 60),
    linear(90, 60, 80),
)
SKIN = (linear(224, 180, 150), linear(150, 104, 78), linear(96, 66, 52), linear(236, 196, 170))
ASPHALT = linear(104, 104, 106)
PAVING = linear(160, 154, 146)
KERB = linear(182, 178, 172)
PAINT = linear(232, 230, 222)
GRASS = linear(96, 116, 62)
STEEL = linear(96, 100, 104)
