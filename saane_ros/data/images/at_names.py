"""Image names that carry a position: @E@N@zone@letter@lat@lon@pano@tile@heading@pitch@roll@...

The convention of the public VPR-datasets-downloader. Only easting and northing are mandatory; a
name splits on '@' into 16 tokens, the first empty and the last the extension.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timezone

from saane_ros.errors import SaaneError

TOKENS = 16
_STAMP = re.compile(r"(\d{4})(\d{2})?(\d{2})?(?:_(\d{2})(\d{2})?(\d{2})?)?")


@dataclass(frozen=True)
class AtName:
    """What a name says; None or empty where it is silent.

    easting, northing: UTM metres.  heading: degrees clockwise from north.  extension: with dot.
    timestamp: YYYYMMDD_hhmmss or a beginning of it.
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
    if len(tokens) != TOKENS or tokens[0]:
        raise SaaneError(
            f"{name} has {len(tokens)} fields where the '@' convention has {TOKENS}: "
            "rename it to @easting@northing@...@.jpg."
        )
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
