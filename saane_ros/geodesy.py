"""Positions on the Earth (WGS84) as metres: local east-north-up, and UTM."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SEMI_MAJOR = 6378137.0
FLATTENING = 1 / 298.257223563
ECCENTRICITY_SQUARED = FLATTENING * (2 - FLATTENING)
UTM_SCALE = 0.9996
UTM_FALSE_EASTING = 500_000.0
UTM_FALSE_NORTHING = 10_000_000.0
BANDS = "CDEFGHJKLMNPQRSTUVWX"

PLANE = "enu"
"""How a map's frame lies on the Earth where it is no UTM grid: the plane that touches there."""

LatLonAlt = tuple[float, float, float]
"""Degrees, degrees, metres above the ellipsoid."""


def to_enu(points: NDArray[np.float64], origin: LatLonAlt) -> NDArray[np.float64]:
    """Latitude, longitude, altitude (n, 3) as metres east, north, up (n, 3) of the origin.

    Exact, by way of Earth-centred coordinates: the plane touches the ellipsoid at the origin.
    """
    base = np.array([origin], dtype=np.float64)
    offset = _earth_centred(np.asarray(points, dtype=np.float64)) - _earth_centred(base)
    return offset @ enu_axes(origin).T


def from_enu(points: NDArray[np.float64], origin: LatLonAlt) -> NDArray[np.float64]:
    """Metres east, north, up (n, 3) of the origin as latitude, longitude, altitude (n, 3)."""
    base = np.array([origin], dtype=np.float64)
    return _geodetic(np.asarray(points, dtype=np.float64) @ enu_axes(origin) + _earth_centred(base))


def _earth_centred(points: NDArray[np.float64]) -> NDArray[np.float64]:
    latitude, longitude = np.radians(points[:, 0]), np.radians(points[:, 1])
    sine, cosine = np.sin(latitude), np.cos(latitude)
    radius = SEMI_MAJOR / np.sqrt(1 - ECCENTRICITY_SQUARED * sine**2)
    across = (radius + points[:, 2]) * cosine
    up = (radius * (1 - ECCENTRICITY_SQUARED) + points[:, 2]) * sine
    return np.stack((across * np.cos(longitude), across * np.sin(longitude), up), axis=1)


def _geodetic(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of `_earth_centred`: the latitude as a fixed point, two digits better a round."""
    x, y, z = points.T
    across = np.hypot(x, y)
    latitude = np.arctan2(z, across * (1 - ECCENTRICITY_SQUARED))
    for _ in range(8):
        sine = np.sin(latitude)
        radius = SEMI_MAJOR / np.sqrt(1 - ECCENTRICITY_SQUARED * sine**2)
        latitude = np.arctan2(z + ECCENTRICITY_SQUARED * radius * sine, across)
    sine, cosine = np.sin(latitude), np.cos(latitude)
    altitude = across * cosine + z * sine - SEMI_MAJOR * np.sqrt(1 - ECCENTRICITY_SQUARED * sine**2)
    return np.stack((np.degrees(latitude), np.degrees(np.arctan2(y, x)), altitude), axis=1)


def enu_axes(origin: LatLonAlt) -> NDArray[np.float64]:
    """Rows: east, north and up at the origin in Earth-centred axes."""
    latitude, longitude = math.radians(origin[0]), math.radians(origin[1])
    sine, cosine = math.sin(latitude), math.cos(latitude)
    east = (-math.sin(longitude), math.cos(longitude), 0.0)
    north = (-sine * math.cos(longitude), -sine * math.sin(longitude), cosine)
    up = (cosine * math.cos(longitude), cosine * math.sin(longitude), sine)
    return np.array((east, north, up))


def utm_zone(latitude: float, longitude: float) -> tuple[int, str]:
    """Zone number and latitude band, with the exceptions of Norway and Svalbard.

    Raises ValueError outside 80 S to 84 N, where UTM is not defined.
    """
    if not (-80 <= latitude <= 84 and math.isfinite(longitude)):
        raise ValueError(f"UTM is not defined at latitude {latitude}")
    longitude = (longitude + 180) % 360 - 180
    # The sum of 80 and next to nothing south of the equator is 80.
    highest = BANDS.index("M") if latitude < 0 else len(BANDS) - 1
    band = BANDS[min(int((latitude + 80) // 8), highest)]
    zone = min(int((longitude + 180) // 6) + 1, 60)
    if band == "V" and 3 <= longitude < 12:
        zone = 32
    elif band == "X" and 0 <= longitude < 42:
        zone = 31 + 2 * int((longitude + 3) // 12)
    return zone, band


def to_utm(
    latitude: float, longitude: float, zone: int | None = None
) -> tuple[float, float, int, str]:
    """UTM easting and northing in metres, zone and band; `zone` forces a neighbouring zone.

    Krueger's series to the third order in the third flattening (Karney 2011, Eq. 35): below a
    millimetre in and beside the zone.
    """
    own, band = utm_zone(latitude, longitude)
    zone = own if zone is None else zone
    n = FLATTENING / (2 - FLATTENING)
    alpha = (
        n / 2 - 2 * n**2 / 3 + 5 * n**3 / 16,
        13 * n**2 / 48 - 3 * n**3 / 5,
        61 * n**3 / 240,
    )
    meridian_radius = SEMI_MAJOR / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    phi = math.radians(latitude)
    offset = math.radians((longitude - (6 * zone - 183) + 180) % 360 - 180)
    eccentricity = math.sqrt(ECCENTRICITY_SQUARED)
    sine = math.sin(phi)
    conformal = math.sinh(math.atanh(sine) - eccentricity * math.atanh(eccentricity * sine))
    xi = math.atan2(conformal, math.cos(offset))
    eta = math.asinh(math.sin(offset) / math.hypot(conformal, math.cos(offset)))
    north, east = xi, eta
    for order, coefficient in enumerate(alpha, start=1):
        north += coefficient * math.sin(2 * order * xi) * math.cosh(2 * order * eta)
        east += coefficient * math.cos(2 * order * xi) * math.sinh(2 * order * eta)
    easting = UTM_FALSE_EASTING + UTM_SCALE * meridian_radius * east
    northing = UTM_SCALE * meridian_radius * north
    if band < "N":
        northing += UTM_FALSE_NORTHING
    return easting, northing, zone, band


def from_utm(
    easting: float, northing: float, zone: int, southern: bool = False
) -> tuple[float, float]:
    """Latitude and longitude in degrees of UTM metres; the inverse of `to_utm`.

    Krueger's series to the third order in the third flattening (Karney 2011, Eq. 36), and the
    conformal latitude undone as a fixed point, two digits better a round.
    """
    n = FLATTENING / (2 - FLATTENING)
    beta = (
        n / 2 - 2 * n**2 / 3 + 37 * n**3 / 96,
        n**2 / 48 + n**3 / 15,
        17 * n**3 / 480,
    )
    scale = UTM_SCALE * SEMI_MAJOR / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    xi = (northing - UTM_FALSE_NORTHING * southern) / scale
    eta = (easting - UTM_FALSE_EASTING) / scale
    north, east = xi, eta
    for order, coefficient in enumerate(beta, start=1):
        north -= coefficient * math.sin(2 * order * xi) * math.cosh(2 * order * eta)
        east -= coefficient * math.cos(2 * order * xi) * math.sinh(2 * order * eta)
    conformal = math.asinh(math.sin(north) / math.hypot(math.sinh(east), math.cos(north)))
    eccentricity = math.sqrt(ECCENTRICITY_SQUARED)
    latitude = math.atan(math.sinh(conformal))
    for _ in range(8):
        sine = math.sin(latitude)
        latitude = math.atan(math.sinh(conformal + eccentricity * math.atanh(eccentricity * sine)))
    longitude = 6 * zone - 183 + math.degrees(math.atan2(math.sinh(east), math.cos(north)))
    return math.degrees(latitude), (longitude + 180) % 360 - 180


def on_grid(
    latitude: float, longitude: float, zone: int | None, southern: bool = False
) -> tuple[float, float]:
    """Easting and northing in metres on the grid of a zone, beyond its borders and the equator.

    zone: None takes the position's own.
    """
    easting, northing, _, band = to_utm(latitude, longitude, zone)
    return easting, northing + UTM_FALSE_NORTHING * (int(southern) - int(band < "N"))


def geographic(
    points: NDArray[np.float64], origin: LatLonAlt, grid: str = PLANE
) -> NDArray[np.float64]:
    """Latitude, longitude, altitude (n, 3) of metres (n, 3) from an origin along a grid."""
    if grid == PLANE:
        return from_enu(points, origin)
    zone, southern = grid_zone(grid)
    zero = (*on_grid(origin[0], origin[1], zone, southern), origin[2])
    east, north, up = (points + zero).T.tolist()
    rows = [from_utm(e, n, zone, southern) for e, n in zip(east, north, strict=True)]
    return np.column_stack([np.array(rows).reshape(-1, 2), up])


def local(points: NDArray[np.float64], origin: LatLonAlt, grid: str = PLANE) -> NDArray[np.float64]:
    """The inverse of `geographic`: metres (n, 3) from an origin along a grid."""
    if grid == PLANE:
        return to_enu(points, origin)
    zone, southern = grid_zone(grid)
    zero = (*on_grid(origin[0], origin[1], zone, southern), origin[2])
    rows = [
        on_grid(latitude, longitude, zone, southern) for latitude, longitude, _ in points.tolist()
    ]
    return np.column_stack([np.array(rows).reshape(-1, 2), points[:, 2]]) - zero


def grid_zone(grid: str) -> tuple[int, bool]:
    """Zone and whether it is the southern one of a UTM grid such as "utm_30N"."""
    return int(grid.removeprefix("utm_")[:-1]), grid.endswith("S")
