"""Class names of public label sets in the order of their indices, and which of them move.

The moving classes follow the partition of the static/dynamic filters: vehicles, people, animals,
clothes, flags and the sky.
"""

from __future__ import annotations

_ADE20K = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person,
earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea,
mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion,
base, box, column, signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace,
refrigerator, grandstand, path, stairs, runway, case, pool table, pillow, screen door, stairway,
river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench, countertop, stove,
palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus, towel, light,
truck, tower, chandelier, awning, streetlight, booth, television receiver, airplane, dirt track,
apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship,
fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall,
tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal,
bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag
"""

_CITYSCAPES = """
road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky,
person, rider, car, truck, bus, train, motorcycle, bicycle
"""

_ADE20K_DYNAMIC = """
sky, person, car, boat, bus, truck, airplane, apparel, van, ship, minibike, animal, bicycle, flag
"""

_CITYSCAPES_DYNAMIC = "sky, person, rider, car, truck, bus, train, motorcycle, bicycle"


def _names(text: str) -> tuple[str, ...]:
    return tuple(" ".join(text.split()).split(", "))


CLASS_LISTS = {
    "ade20k": _names(_ADE20K),
    "ade20k_top31": ("other", *_names(_ADE20K)[:31]),
    "cityscapes": _names(_CITYSCAPES),
    "cityscapes_background": (*_names(_CITYSCAPES), "background"),
}
"""ade20k_top31: the most frequent ones, as MLPerf Mobile has them; their order is ADE20K's own."""

DYNAMIC_CLASSES = {
    "ade20k": _names(_ADE20K_DYNAMIC),
    "ade20k_top31": ("sky", "person", "car"),
    "cityscapes": _names(_CITYSCAPES_DYNAMIC),
    "cityscapes_background": _names(_CITYSCAPES_DYNAMIC),
}
