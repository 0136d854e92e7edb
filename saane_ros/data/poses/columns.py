"""The columns of a table of poses, as many programs call them, and their units."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from saane_ros.errors import SaaneError

STAMP_SCALES = {"s": 9, "sec": 9, "ms": 6, "us": 3, "ns": 0}
"""Decimals of a unit in nanoseconds."""
_COLUMNS = {
    "name": r"name|file_?name|file|image|image_?name",
    "stamp": r"(time_?)?stamp|time|t",
    "x": r"x|t_?x|p(os(ition)?)?(_\w+)?_?x|east(ing)?",
    "y": r"y|t_?y|p(os(ition)?)?(_\w+)?_?y|north(ing)?",
    "z": r"z|t_?z|p(os(ition)?)?(_\w+)?_?z|up",
    "lat": r"lat(itude)?",
    "lon": r"lon(gitude)?|lng|long",
    "alt": r"alt(itude)?",
    "yaw": r"yaw",
    "heading": r"heading|bearing|course|azimuth",
    **{f"q{axis}": rf"(q|rot|orientation)(_\w+)?_?{axis}" for axis in "xyzw"},
}
_LENGTHS = {"m": 1.0, "mm": 1e-3, "cm": 1e-2, "km": 1e3, "ft": 0.3048}
_RADIANS = {"rad": 1.0, "radians": 1.0}
_DEGREES = {"deg": 1.0, "degree": 1.0, "degrees": 1.0, "\u00b0": 1.0}
TURNS = {**_RADIANS, **{unit: math.pi / 180 for unit in _DEGREES}}
UNITS = {
    "stamp": dict.fromkeys(STAMP_SCALES, 1.0),
    **dict.fromkeys(("x", "y", "z", "alt"), _LENGTHS),
    **dict.fromkeys(("lat", "lon"), _DEGREES),
    **dict.fromkeys(("yaw", "heading"), TURNS),
}
"""Factors of the units that columns are read in; lengths become metres, turns radians."""


class Column(NamedTuple):
    """name: as this package has it, empty of others.  unit: as the header tells it."""

    name: str
    unit: str = ""


def unnamed(*names: str) -> list[Column]:
    """The columns of a file that has no header."""
    return [Column(name) for name in names]


def column_names(cells: list[str]) -> list[Column]:
    """The columns of a header; units stand in brackets or behind an underline."""
    found = []
    for cell in cells:
        bare, _, rest = re.sub(r"[\[(]", "[", cell.lower()).partition("[")
        bare, unit = re.sub(r"[\s.]+", "_", bare.strip()), rest.strip(" ])")
        base, _, ending = re.sub(r"(?<=stamp)_?(?=[mun]s$)", "_", bare).rpartition("_")
        known = _known(bare)
        if not known and ending in UNITS.get(_known(base), {}):
            known, unit = _known(base), ending
        if any(unit in units for units in UNITS.values()) and unit not in UNITS.get(known, unit):
            raise SaaneError(
                f"The column {cell.strip()!r} is in a unit that {known} is not read in: give "
                f"{' or '.join(UNITS[known])}."
            )
        found.append(Column(known, unit))
    return found


def _known(bare: str) -> str:
    return next((name for name, form in _COLUMNS.items() if re.fullmatch(form, bare)), "")
