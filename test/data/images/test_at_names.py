"""The '@' convention: parsing, formatting, and both together."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.data.images.at_names import AtName, format_at_name, on_one_grid, parse_at_name
from saane_ros.errors import SaaneError
from saane_ros.geodesy import to_utm

FULL = (
    "@0584744.96@4477439.68@17@T@040.44228@-080.00094@000829@13@123@-15@@@20140203_101112@note@.jpg"
)


def test_a_full_name_is_read() -> None:
    name = parse_at_name(FULL)
    assert (name.easting, name.northing, name.zone, name.letter) == (584744.96, 4477439.68, 17, "T")
    assert (name.latitude, name.longitude) == (40.44228, -80.00094)
    assert (name.pano_id, name.tile, name.heading, name.pitch) == ("000829", 13, 123.0, -15.0)
    assert (name.roll, name.height, name.note, name.extension) == (None, None, "note", ".jpg")
    assert name.stamp_ns() == 1_391_422_272_000_000_000
    assert name.yaw == pytest.approx(math.radians(-33))
    assert format_at_name(name) == FULL


def test_only_the_position_is_mandatory() -> None:
    name = parse_at_name("@0000000.00@0000002.38@@@@@@@@@@@@@.png")
    assert (name.easting, name.northing, name.extension) == (0.0, 2.38, ".png")
    assert (name.zone, name.latitude, name.heading, name.stamp_ns()) == (None, None, None, None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("image.jpg", "no two fields between '@'"),
        ("@1.jpg", "no two fields between '@'"),
        ("@1@east@.jpg", "'east' as position"),
        ("@@5@.jpg", "no easting or northing"),
        ("@@5@@@@@@@@@@@@@.jpg", "no easting or northing"),
        ("@abc@5@@@@@@@@@@@@@.jpg", "'abc' as UTM position"),
        ("@1@2@@@nan@@@@@@@@@@.jpg", "'nan' as latitude"),
    ],
)
def test_wrong_names_are_told(name: str, message: str) -> None:
    with pytest.raises(SaaneError, match=message):
        parse_at_name(name)


@pytest.mark.parametrize(
    ("timestamp", "seconds"),
    [
        ("2014", 1_388_534_400),
        ("20140203", 1_391_385_600),
        ("20140203_10", 1_391_421_600),
        ("20141399", None),
        ("dusk", None),
        ("", None),
    ],
)
def test_timestamps_may_be_cut_short(timestamp: str, seconds: int | None) -> None:
    expected = None if seconds is None else seconds * 10**9
    assert AtName(1.0, 2.0, timestamp=timestamp).stamp_ns() == expected


WORDS = st.text("abcXYZ019_-", max_size=8)


@given(
    st.builds(
        AtName,
        st.integers(-(10**8), 10**8).map(lambda v: v / 100),
        st.integers(0, 10**9).map(lambda v: v / 100),
        st.none() | st.integers(1, 60),
        st.sampled_from(["", "C", "T", "X"]),
        st.none() | st.integers(-90 * 10**5, 90 * 10**5).map(lambda v: v / 1e5),
        st.none() | st.integers(-180 * 10**5, 180 * 10**5).map(lambda v: v / 1e5),
        WORDS,
        st.none() | st.integers(0, 47),
        st.none() | st.integers(-180, 360).map(float),
        st.none() | st.integers(-90, 90).map(float),
        st.none() | st.integers(-90, 90).map(float),
        st.none() | st.integers(0, 500).map(float),
        WORDS,
        WORDS,
        st.sampled_from([".jpg", ".png"]),
    )
)
def test_names_round_trip(fields: AtName) -> None:
    text = format_at_name(fields)
    assert len(text.split("@")) == 16
    assert parse_at_name(text) == fields
    assert format_at_name(parse_at_name(text)) == text


def test_fields_that_would_break_the_name_are_told() -> None:
    with pytest.raises(SaaneError, match="holds '@' or '/'"):
        format_at_name(AtName(1.0, 2.0, note="a@b"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("@583960.00@4477000.50@.jpg", (583960.0, 4477000.5)),
        ("@0@2.4.jpg", (0.0, 2.4)),
        ("@-3.5@7.png", (-3.5, 7.0)),
        ("@583960.00@4477000.50@12@T@spare@.jpeg", (583960.0, 4477000.5)),
    ],
)
def test_short_names_hold_metres(name: str, expected: tuple[float, float]) -> None:
    found = parse_at_name(name)
    assert (found.easting, found.northing) == expected
    assert found.latitude is None
    assert found.extension == name[name.rindex(".") :]


def test_short_names_hold_degrees_where_the_decimals_say_so() -> None:
    found = parse_at_name("@51.75012@-1.25034@.jpg")
    assert (found.latitude, found.longitude, found.zone) == (51.75012, -1.25034, 30)
    assert (found.easting, found.northing) == pytest.approx(to_utm(51.75012, -1.25034)[:2])
    far = [parse_at_name(name) for name in ("@1.2345@2.3456.jpg", "@70.2345@2.3456.jpg")]
    with pytest.raises(SaaneError, match=r"span 69\.0 degrees"):
        on_one_grid(far)


@given(
    latitude=st.floats(-70, -1e-3) | st.floats(1e-3, 70),
    border=st.integers(-28, 28).map(lambda zone: 6 * zone),
    metres=st.floats(1, 500),
)
def test_a_drive_over_a_border_of_zones_stays_in_one_grid(
    latitude: float, border: int, metres: float
) -> None:
    """Against the distance along the parallel; the projection's scale may be off by 0.2 %."""
    if 55 < latitude < 65:
        return  # Norway's zones are wider
    phi = math.radians(latitude)
    radius = 6_378_137 / math.sqrt(1 - 0.00669438 * math.sin(phi) ** 2) * math.cos(phi)
    half = math.degrees(metres / radius) / 2
    points = [to_utm(latitude, border + side * half) for side in (-1, 1)]
    names = [AtName(e, n, zone, letter) for e, n, zone, letter in points]
    assert names[0].zone != names[1].zone
    found, grid = on_one_grid(names)
    assert math.dist(*found.tolist()) == pytest.approx(metres, rel=2e-3, abs=1e-3)
    assert grid == f"utm_{names[0].zone}{'S' if latitude < 0 else 'N'}"


def test_the_equator_is_no_jump() -> None:
    south, north = (to_utm(latitude, 10.0) for latitude in (-1e-5, 1e-5))
    for first, second in ((south, north), (north, south)):
        found, _ = on_one_grid([AtName(*first), AtName(*second)])
        assert math.dist(*found.tolist()) == pytest.approx(2.21, abs=0.01)


def test_names_with_and_without_a_zone_are_refused() -> None:
    names = [AtName(732289.0, 5098424.0, 32, "T"), AtName(267706.0, 5098424.0)]
    with pytest.raises(SaaneError, match=r"1 of 2 .* no UTM zone and others are of 32"):
        on_one_grid(names)
    assert on_one_grid([AtName(1.0, 2.0), AtName(3.0, 4.0)])[1] == ""
