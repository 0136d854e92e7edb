"""Conversions on the Earth against an independent program (PROJ) and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.geodesy import from_enu, from_utm, to_enu, to_utm, utm_zone

# latitude, longitude, zone, band, easting, northing: PROJ +proj=utm +ellps=WGS84.
UTM = [
    (52.2, 0.1, 31, "U", 301822.8626, 5787247.5320),
    (-27.504, 153.00236, 56, "J", 500233.0949, 6957740.1131),
    (60.4, 5.3, 32, "V", 296191.5470, 6701684.4752),
    (78.2, 15.6, 33, "X", 513696.9454, 8680760.0532),
    (-33.9, 18.4, 34, "H", 259583.2217, 6245888.0454),
    (0.0, 0.0, 31, "N", 166021.4431, 0.0),
    (83.9, -179.9, 1, "X", 465609.1687, 9317795.7533),
]


@pytest.mark.parametrize(("latitude", "longitude", "zone", "band", "easting", "northing"), UTM)
def test_utm_to_the_millimetre(
    latitude: float, longitude: float, zone: int, band: str, easting: float, northing: float
) -> None:
    found = to_utm(latitude, longitude)
    assert found[2:] == (zone, band)
    assert found[0] == pytest.approx(easting, abs=1e-3)
    assert found[1] == pytest.approx(northing, abs=1e-3)


def test_utm_in_a_neighbouring_zone_goes_on_without_a_step() -> None:
    west, east = to_utm(52.0, 5.999999, zone=31), to_utm(52.0, 6.000001, zone=31)
    assert east[0] - west[0] == pytest.approx(0.1373, abs=1e-3)
    assert east[2] == 31


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"),
    [
        (56.0, 3.0, (32, "V")),
        (55.999, 3.0, (31, "U")),
        (72.0, 8.9, (31, "X")),
        (72.0, 9.0, (33, "X")),
        (72.0, 41.9, (37, "X")),
        (84.0, 42.0, (38, "X")),
        (-80.0, 180.0, (1, "C")),
        (10.0, 359.0, (30, "P")),
    ],
)
def test_zones_and_their_exceptions(
    latitude: float, longitude: float, expected: tuple[int, str]
) -> None:
    assert utm_zone(latitude, longitude) == expected


def test_utm_ends_near_the_poles() -> None:
    with pytest.raises(ValueError, match=r"not defined at latitude 84\.1"):
        to_utm(84.1, 0.0)


def test_enu_to_the_millimetre() -> None:
    # PROJ +proj=cart then +proj=topocentric.
    found = to_enu(np.array([[52.21, 0.13, 80.0]]), (52.2, 0.1, 30.0))
    np.testing.assert_allclose(found, [[2050.7112, 1113.1506, 49.5738]], atol=1e-3)


@given(
    st.floats(-89, 89),
    st.floats(-180, 180),
    st.floats(-100, 3000),
    st.tuples(*[st.floats(-30_000, 30_000)] * 2, st.floats(-500, 500)),
)
def test_enu_and_back(
    latitude: float, longitude: float, altitude: float, offset: tuple[float, float, float]
) -> None:
    origin = (latitude, longitude, altitude)
    there = from_enu(np.array([offset]), origin)
    np.testing.assert_allclose(to_enu(there, origin), [offset], atol=1e-5)


def test_utm_and_enu_agree_on_distances() -> None:
    """Over 100 m they differ by the scale of UTM, 0.9996 on the zone's middle."""
    origin = (-27.5, 153.0, 0.0)
    here, there = to_utm(*origin[:2]), to_utm(-27.4991, 153.0)
    metres = to_enu(np.array([[-27.4991, 153.0, 0.0]]), origin)[0, 1]
    assert (there[1] - here[1]) / metres == pytest.approx(0.9996, abs=1e-6)


@given(
    latitude=st.floats(-79, 83),
    beside=st.floats(-4, 4),
    zone=st.integers(1, 60),
)
def test_utm_there_and_back_is_below_a_millimetre(
    latitude: float, beside: float, zone: int
) -> None:
    longitude = (6 * zone - 183 + beside + 180) % 360 - 180
    easting, northing, *_ = to_utm(latitude, longitude, zone)
    back = from_utm(easting, northing, zone, southern=latitude < 0)
    assert back[0] == pytest.approx(latitude, abs=1e-8)
    assert (back[1] - longitude + 180) % 360 - 180 == pytest.approx(0, abs=1e-8 * 12)
