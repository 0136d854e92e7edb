"""Image names that carry a position: @E@N@zone@letter@lat@lon@pano@tile@heading@pitch@roll@...

The convention of the public VPR-datasets-downloader. Only easting and northing are mandatory; a
name splits on '@' into 16 tokens, the first empty and the last the extension. Of names with fewer
the first two fields are read, as everywhere: metres, or degrees where both have four decimals.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.geodesy import from_utm, on_grid, to_utm

TOKENS = 16
DEGREE_DECIMALS = 4
"""Decimals of a latitude that tells streets apart; metres have two."""
WIDEST_DEG = 2.0
"""No folder of one town is wider."""
_STAMP = re.compile(r"(\d{4})(\d{2})?(\d{2})?(?:_(\d{2})(\d{2})?(\d{2})?)?")


@dataclass(frozen=True)
class AtName:
    """What a name says; None or empty where it is silent.

    easting, northing: UTM metres.  heading: degrees clockwise from north.  extension: with dot.
    timestamp: YYYYMMDD_hhmmss or a beginning of it.  by_decimals: only their decimals say that the
    fields were latitude and longitude.
    """

    easting: float
    northing: float
    zone: int | None = None
    letter: str = ""
    latitude: float | None = None
    longitude: float | None = None
    pano_id: str = ""
    tile: int | None = None
    heading: float | None = None
    pitch: float | None = None
    roll: float | None = None
    height: float | None = None
    timestamp: str = ""
    note: str = ""
    extension: str = ".jpg"
    by_decimals: bool = False

    def stamp_ns(self) -> int | None:
        """The timestamp, taken as UTC, in nanoseconds since 1970; None where there is none."""
        match = _STAMP.fullmatch(self.timestamp)
        if match is None:
            return None
        year, *rest = match.groups()
        month, day, hour, minute, second = (
            int(part) if part else low for part, low in zip(rest, (1, 1, 0, 0, 0), strict=True)
        )
        try:
            moment = datetime(int(year), month, day, hour, minute, second, tzinfo=timezone.utc)
        except ValueError:
            return None
        return int(moment.timestamp()) * 1_000_000_000

    @property
    def yaw(self) -> float | None:
        """The heading as yaw in radians, counter-clockwise from east."""
        return None if self.heading is None else math.radians(90 - self.heading)


def is_at_name(name: str) -> bool:
    """Whether a file name begins like the convention."""
    return name.startswith("@")


def parse_at_name(name: str) -> AtName:
    """Read a file name; SaaneError says which field is wrong."""
    tokens = name.split("@")
    if len(tokens) < 3 or tokens[0]:
        raise SaaneError(
            f"{name} has no two fields between '@': rename it to @easting@northing@.jpg."
        )
    if len(tokens) != TOKENS:
        return _short(name, tokens)
    easting, northing = (_number(name, "UTM position", token) for token in tokens[1:3])
    if easting is None or northing is None:
        raise SaaneError(f"{name} has no easting or northing: fill the first two fields.")
    tile, zone = (_number(name, what, tokens[i]) for what, i in (("tile", 8), ("zone", 3)))
    latitude, longitude, heading, pitch, roll, height = (
        _number(name, what, tokens[index])
        for what, index in (
            ("latitude", 5),
            ("longitude", 6),
            ("heading", 9),
            ("pitch", 10),
            ("roll", 11),
            ("height", 12),
        )
    )
    return AtName(
        easting,
        northing,
        zone=None if zone is None else int(zone),
        letter=tokens[4],
        latitude=latitude,
        longitude=longitude,
        pano_id=tokens[7],
        tile=None if tile is None else int(tile),
        heading=heading,
        pitch=pitch,
        roll=roll,
        height=height,
        timestamp=tokens[13],
        note=tokens[14],
        extension=tokens[15],
    )


def _short(name: str, tokens: list[str]) -> AtName:
    *first, suffix = (*tokens[1:3], PurePath(name).suffix)
    texts = [text.removesuffix(suffix) for text in first]
    x, y = (_number(name, "position", text) for text in texts)
    if x is None or y is None:
        raise SaaneError(f"{name} has no easting or northing: fill the first two fields.")
    exact = all(len(text.partition(".")[2]) >= DEGREE_DECIMALS for text in texts)
    if not (exact and abs(x) <= 80 and abs(y) <= 180):
        return AtName(x, y, extension=suffix)
    easting, northing, zone, letter = to_utm(x, y)
    return AtName(easting, northing, zone, letter, x, y, extension=suffix, by_decimals=True)


def on_one_grid(names: Sequence[AtName]) -> tuple[NDArray[np.float64], str]:
    """UTM metres (n, 2) of names in the zone of the first, and that grid, "utm_32N"; "" unknown.

    Names of other zones are taken over into it by what they say. Raises SaaneError where some
    tell a zone and some do not, so that nobody knows how they lie to each other, and where names
    of degrees lie too far apart to be that.
    """
    points = np.array([(name.easting, name.northing) for name in names]).reshape(-1, 2)
    zones = Counter(name.zone for name in names)
    if len(zones) > 1 and None in zones:
        raise SaaneError(
            f"{zones[None]} of {len(names)} '@' names have no UTM zone and others are of "
            f"{', '.join(str(zone) for zone in zones if zone)}: give all their zone."
        )
    degrees = [(name.latitude or 0, name.longitude or 0) for name in names if name.by_decimals]
    spread = float(np.ptp(np.array(degrees), axis=0).max()) if degrees else 0.0
    if spread > WIDEST_DEG:
        raise SaaneError(
            f"The '@' names span {spread:.1f} degrees if they are latitudes and longitudes: "
            "write metres with two decimals, or names with all 16 fields."
        )
    zone = names[0].zone if names else None
    if zone is None:
        return points, ""
    southern = _southern(names[0])
    for row, name in enumerate(names):
        if name.zone != zone or _southern(name) != southern:
            points[row] = _taken_over(name, zone, southern)
    return points, f"utm_{zone}{'S' if southern else 'N'}"


def _southern(name: AtName) -> bool:
    if name.latitude is not None:
        return name.latitude < 0
    return "A" < name.letter.upper() < "N"


def _taken_over(name: AtName, zone: int, southern: bool) -> tuple[float, float]:
    if not (name.zone and 1 <= name.zone <= 60):
        raise SaaneError(f"An '@' name is of UTM zone {name.zone}: zones are 1 to 60.")
    latitude, longitude = from_utm(name.easting, name.northing, name.zone, _southern(name))
    try:
        return on_grid(latitude, longitude, zone, southern)
    except ValueError as error:
        raise SaaneError(f"'@' names of UTM zones {zone} and {name.zone}: {error}.") from error


def format_at_name(fields: AtName) -> str:
    """Write a file name, numbers padded as the convention has them."""
    tokens = (
        "",
        f"{fields.easting:010.2f}",
        f"{fields.northing:010.2f}",
        _padded(fields.zone, "02d"),
        fields.letter,
        _padded(fields.latitude, "09.5f"),
        _padded(fields.longitude, "010.5f"),
        fields.pano_id,
        _padded(fields.tile, "02d"),
        _padded(fields.heading, "03.0f"),
        _padded(fields.pitch, "03.0f"),
        _padded(fields.roll, "g"),
        _padded(fields.height, "g"),
        fields.timestamp,
        fields.note,
        fields.extension,
    )
    if any("@" in token or "/" in token for token in tokens):
        raise SaaneError(f"A field of {tokens} holds '@' or '/': leave those out of names.")
    return "@".join(tokens)


def _number(name: str, what: str, token: str) -> float | None:
    if not token:
        return None
    try:
        value = float(token)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SaaneError(f"{name} gives {token!r} as {what}: write a number or nothing.")
    return value


def _padded(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
