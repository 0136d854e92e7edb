"""One colour per semantic class, the same in every picture."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence

import numpy as np

from saane_ros.types import Rgb

Colour = tuple[int, int, int]

_ROAD, _PAVEMENT, _BUILDING, _VEGETATION = (
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (107, 142, 35),
)
_SKY, _PERSON, _CAR, _LARGE_VEHICLE = (70, 130, 180), (220, 20, 60), (0, 0, 142), (0, 60, 100)
_POLE, _SIGN, _CYCLE, _TERRAIN = (153, 153, 153), (220, 220, 0), (119, 11, 32), (152, 251, 152)

# The colours in which street scenes are usually shown (Cordts et al. 2016, Cityscapes).
CONVENTIONAL: dict[str, Colour] = {
    "road": _ROAD,
    "pavement": _PAVEMENT,
    "sidewalk": _PAVEMENT,
    "building": _BUILDING,
    "house": (95, 80, 75),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": _POLE,
    "sign": _SIGN,
    "signsymbol": _SIGN,
    "trafficsign": _SIGN,
    "trafficlight": (250, 170, 30),
    "lamp": (250, 170, 30),
    "tree": _VEGETATION,
    "vegetation": _VEGETATION,
    "grass": _TERRAIN,
    "terrain": _TERRAIN,
    "sky": _SKY,
    "person": _PERSON,
    "pedestrian": _PERSON,
    "car": _CAR,
    "truck": (0, 0, 70),
    "bus": _LARGE_VEHICLE,
    "bicycle": _CYCLE,
    "bicyclist": (255, 0, 0),
    "marking": (255, 255, 255),
    "lanemarking": (255, 255, 255),
    "unlabelled": (0, 0, 0),
    "void": (0, 0, 0),
}
_GOLDEN_RATIO = 0.61803398875


def class_colours(class_names: Sequence[str]) -> Rgb:
    """The colour of every class, uint8 (classes, 3): conventional where the street name is known.

    Other classes walk round the colour circle by the golden ratio (by their index), which keeps
    neighbouring indices far apart and any two classes distinct.
    """
    colours: list[Colour] = []
    taken = set(CONVENTIONAL.values())
    for index, name in enumerate(class_names):
        colour = CONVENTIONAL.get(_key(name))
        if colour is None or colour in colours:
            colour = _generated(index, taken)
        taken.add(colour)
        colours.append(colour)
    return np.array(colours, np.uint8).reshape(-1, 3)


def _key(name: str) -> str:
    """`"Lane marking;line"` and `"lane_marking"` are both "lanemarking"."""
    return re.sub(r"[^a-z]", "", re.split(r"[;,/]", name.lower())[0])


def _generated(index: int, taken: set[Colour]) -> Colour:
    """The first free colour on the golden-ratio walk that starts at this index."""
    step = index
    while True:
        hue = (0.1 + step * _GOLDEN_RATIO) % 1.0
        value = (0.95, 0.75, 0.55)[step % 3]
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.65, value))
        if (red, green, blue) not in taken:
            return red, green, blue
        step += 1
