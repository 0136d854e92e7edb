"""The classes of the town's per-pixel labels."""

from __future__ import annotations

CLASS_NAMES: tuple[str, ...] = (
    "sky",
    "road",
    "sidewalk",
    "lane_marking",
    "terrain",
    "building",
    "fence",
    "vegetation",
    "pole",
    "sign",
    "street_furniture",
    "car",
    "bus",
    "person",
)

DYNAMIC_CLASSES: frozenset[str] = frozenset({"car", "bus", "person"})

(
    SKY,
    ROAD,
    SIDEWALK,
    LANE_MARKING,
    TERRAIN,
    BUILDING,
    FENCE,
    VEGETATION,
    POLE,
    SIGN,
    STREET_FURNITURE,
    CAR,
    BUS,
    PERSON,
) = range(len(CLASS_NAMES))
