"""Where a vehicle is or will be: positions and a radius around each, and which places lie there."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.fleet.engine import Box
from saane_ros.fleet.manifest import Manifest
from saane_ros.geodesy import geographic, local
from saane_ros.reading import read_named_rows

_METRES_A_DEGREE = 111_000.0
_SPARE = 1e-9
"""Degrees: a box is rounded otherwise than what it stands for."""
_THINNED = 4
"""Positions of a route closer than this part of the radius are left out."""


@dataclass(frozen=True, eq=False)
class Region:
    """positions: latitude, longitude in degrees (n, 2); x, y of a map without an origin.

    radius: metres around each.
    """

    positions: NDArray[np.float64]
    radius: float

    @property
    def box(self) -> Box:
        """What lies around all of it, of latitudes and longitudes."""
        up, beside = self._margins()
        (south, west), (north, east) = self.positions.min(axis=0), self.positions.max(axis=0)
        wide = float(beside.max()) + _SPARE
        return (
            *(float(south) - up - _SPARE, float(west) - wide),
            *(float(north) + up + _SPARE, float(east) + wide),
        )

    def _margins(self) -> tuple[float, NDArray[np.float64]]:
        """The radius in degrees of latitude, and at each position in those of longitude."""
        up = self.radius / _METRES_A_DEGREE
        return up, up / np.maximum(np.cos(np.radians(self.positions[:, 0])), 0.01)

    def touches(self, manifest: Manifest) -> bool:
        """Whether a map with an origin may have places here: its box tells, a little too often."""
        if manifest.box is None or manifest.origin is None:
            return False
        south, west, north, east = manifest.box
        latitude, longitude = self.positions.T
        up, beside = self._margins()
        inside = (latitude >= south - up) & (latitude <= north + up)
        inside &= (longitude >= west - beside) & (longitude <= east + beside)
        return bool(inside.any())

    def rows(self, manifest: Manifest, places: NDArray[np.float64]) -> NDArray[np.int64]:
        """The places (N, 3 in the frame of their map) within the radius of a position."""
        around = self.positions
        if manifest.origin is not None:
            height = np.full((len(around), 1), manifest.origin[2])
            around = local(np.hstack([around, height]), manifest.origin, manifest.grid)[:, :2]
        wanted = np.zeros(len(places), bool)
        last = np.full(2, np.inf)
        for number, point in enumerate(around):
            ends = number in (0, len(around) - 1)
            if not ends and np.linalg.norm(point - last) < self.radius / _THINNED:
                continue
            last = point
            # A place between two that were left out is still within the radius and a quarter.
            reach = self.radius if len(around) == 1 else self.radius * (1 + 1 / _THINNED)
            wanted |= np.hypot(*(places[:, :2] - point).T) <= reach
        return np.flatnonzero(wanted)


def region_of_text(text: str, radius: float) -> Region:
    """A region around `LATITUDE,LONGITUDE`."""
    try:
        first, second = (float(part) for part in text.split(","))
        if not (math.isfinite(first) and math.isfinite(second)):
            raise ValueError
    except ValueError:
        raise SaaneError(f"--near is {text[:40]!r}: give LATITUDE,LONGITUDE.") from None
    return Region(np.array([[first, second]]), radius)


def region_of_route(path: Path, radius: float) -> Region:
    """A region along a route: a CSV file with columns lat and lon, or x and y."""
    rows = read_named_rows(path, "The route")
    for names in (("lat", "lon"), ("x", "y")):
        try:
            points = np.array([[float(row[name]) for name in names] for _, row in rows])
        except (KeyError, ValueError):
            continue
        if len(points) and np.isfinite(points).all():
            return Region(points.reshape(-1, 2), radius)
    raise SaaneError(
        f"The route {path} has no columns lat and lon, or x and y, of numbers: name those columns "
        "in its first line."
    )


def kept_position(path: Path) -> tuple[str, tuple[float, float, float]]:
    """The map and position that a localizer kept in a file (its parameter `keep_pose`)."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        x, y, z = (float(value) for value in values["position"])
        if not all(map(math.isfinite, (x, y, z))):
            raise ValueError
        return str(values["map"]), (x, y, z)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SaaneError(f"{path} holds no pose of a localizer: give --near instead.") from error


def around_kept(manifest: Manifest, position: tuple[float, float, float], radius: float) -> Region:
    """A region around a position in the frame of a map."""
    if manifest.origin is None:
        return Region(np.array([position[:2]]), radius)
    there = geographic(np.array([position]), manifest.origin, manifest.grid)
    return Region(there[:, :2], radius)
