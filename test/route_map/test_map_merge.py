"""Maps cut and joined: places along one route, several conditions per place, one frame."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.errors import SaaneError
from saane_ros.geodesy import from_enu, from_utm, to_enu, to_utm
from saane_ros.localization.localizer import Localizer
from saane_ros.route_map.alignment import route_of, travelled_along
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.crop import crop_map
from saane_ros.route_map.merge import merge_maps
from saane_ros.route_map.plot import COLOURS, route_plot
from saane_ros.route_map.statistics import statistics
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, Pose

NIGHT = 1000
"""Seed of what is seen by night, which has nothing to do with what is seen by day."""


def bend(s: float, aside: float = 0.0) -> tuple[float, float]:
    """A road: 60 m east, then a quarter circle of 40 m radius to the north, then north."""
    if s < 60:
        return s, aside
    angle = min((s - 60) / 40, math.pi / 2)
    r = 40 - aside
    beyond = max(0.0, s - 60 - 20 * math.pi)
    return 60 + r * math.sin(angle), 40 - r * math.cos(angle) + beyond


def drive(
    folder: Path,
    name: str,
    s: np.ndarray,
    seed: int,
    aside: float = 0.0,
    origin: tuple[float, float, float] | None = None,
    step: float = 2.0,
) -> RouteMap:
    """A map whose place at s shows the scene of its seed and of the metres driven."""
    frames = [
        Frame(
            smooth_scene(seed + round(metres / step), 48, 64),
            (i + 1) * 10**9,
            f"{i:03d}",
            Pose((*bend(metres, aside), 0.0)),
        )
        for i, metres in enumerate(s)
    ]
    return build_map(frames, ColourGridEmbedder(), folder / f"{name}.routemap", origin=origin)


@pytest.fixture
def both(tmp_path: Path) -> tuple[RouteMap, RouteMap, RouteMap]:
    """Day over all of the road, night from 30 m on in the other half of the lane, and merged."""
    day = drive(tmp_path, "day", np.arange(0, 160, 2.0), 0)
    night = drive(tmp_path, "night", np.arange(30, 200, 2.0), NIGHT, aside=1.5)
    return day, night, merge_maps([day, night], tmp_path / "both.routemap")


def test_two_conditions_lie_side_by_side(both: tuple[RouteMap, RouteMap, RouteMap]) -> None:
    day, night, merged = both
    assert merged.info.count == day.info.count + night.info.count
    along = merged.arc_length
    assert along[0] == 0
    assert (np.diff(along) >= 0).all()
    for row, (place, metres) in enumerate(zip(merged.places, along, strict=True)):
        source, name = place.name.split("/")
        own = {"day": day, "night": night}[source]
        original = own.places[int(name)]
        assert place.pose == original.pose
        assert place.stamp_ns == original.stamp_ns
        np.testing.assert_array_equal(merged.descriptors[row], own.descriptors[int(name)])
        assert place.thumbnail.read_bytes() == original.thumbnail.read_bytes()
        truth = 2.0 * int(name) + (30 if source == "night" else 0)
        # The curve is 1.5 m shorter a radian in the inner half of the lane.
        assert metres == pytest.approx(truth, abs=2.5), place.name


def test_the_filter_follows_whichever_condition_fits(
    both: tuple[RouteMap, RouteMap, RouteMap],
) -> None:
    day, _, merged = both
    road = np.arange(40, 150, 2.0)

    def seen(k: int) -> np.ndarray:
        dark = 15 <= k < 35  # night falls on the way, and the sun rises
        noise = np.random.default_rng(k).normal(0, 25, (48, 64, 3))
        scene = smooth_scene((NIGHT if dark else 0) + round(road[k] / 2), 48, 64)
        return np.clip(scene + noise, 0, 255).astype(np.uint8)

    def errors(route_map: RouteMap) -> list[float]:
        localizer = Localizer(ColourGridEmbedder(), route_map, Settings())
        found = []
        for k, metres in enumerate(road):
            match = localizer.localize(Frame(seen(k), (k + 1) * 10**8)).match
            away = (
                math.inf if match.pose is None else math.dist(match.pose.position[:2], bend(metres))
            )
            found.append(away)
        return found

    in_both = errors(merged)
    assert sum(error < 3 for error in in_both) >= len(road) - 6
    assert max(in_both[8:14] + in_both[20:34] + in_both[40:]) < 3
    # By day's places alone the filter can only go on at the pace that it has learned.
    assert max(errors(day)[16:36]) > 5


def test_drives_that_meet_nowhere_are_joined(tmp_path: Path) -> None:
    first = drive(tmp_path, "first", np.arange(0, 40, 2.0), 0)
    second = drive(tmp_path, "second", np.arange(100, 140, 2.0), 0)
    merged = merge_maps([first, second], tmp_path / "m.routemap")
    assert [place.name.split("/")[0] for place in merged.places] == ["first"] * 20 + ["second"] * 20
    gap = math.dist(bend(38), bend(100))
    assert merged.arc_length[20] - merged.arc_length[19] == pytest.approx(gap)


def test_a_merged_map_keeps_its_drives_in_another_merge(
    both: tuple[RouteMap, RouteMap, RouteMap], tmp_path: Path
) -> None:
    merged = both[2]
    noon = drive(tmp_path / "other", "day", np.arange(10, 120, 2.0), 2 * NIGHT, aside=-1.5)
    three = merge_maps([merged, noon], tmp_path / "three.routemap")
    before = {p.name: along for p, along in zip(merged.places, merged.arc_length, strict=True)}
    after = {p.name: along for p, along in zip(three.places, three.arc_length, strict=True)}
    added = {f"day-2/{place.name}": 10 + 2.0 * i for i, place in enumerate(noon.places)}
    assert after.keys() == before.keys() | added.keys()
    for name, along in (before | added).items():
        assert after[name] == pytest.approx(along, abs=2.5), name
    steps = {name: text for name, text in statistics(three) if name in ("day", "night", "day-2")}
    assert all("usually 2.0" in text or "usually 1.9" in text for text in steps.values()), steps
    # The other way round the merged map is laid along the new one, drive by drive.
    three = merge_maps([noon, merged], tmp_path / "three.routemap")
    names = {p.name.split("/")[0] for p in three.places}
    assert names == {"day", "day-2", "night"}
    for place, along in zip(three.places, three.arc_length, strict=True):
        season, number = place.name.split("/")
        truth = 2.0 * int(number) + {"day": 10, "day-2": 0, "night": 30}[season]
        assert along == pytest.approx(truth, abs=4.5), place.name


def test_opposite_directions_are_not_one_place(tmp_path: Path) -> None:
    there = drive(tmp_path, "there", np.arange(0, 60, 2.0), 0)
    back = drive(tmp_path, "back", np.arange(58, -2, -2.0), NIGHT, aside=-3.0)
    merged = merge_maps([there, back], tmp_path / "m.routemap")
    assert [p.name.split("/")[0] for p in merged.places] == ["there"] * 30 + ["back"] * 30


@given(
    start=st.floats(0, 40),
    count=st.integers(3, 60),
    step=st.floats(0.7, 4.0),
    aside=st.floats(-3, 3),
)
def test_along_the_road_within_the_lane(
    start: float, count: int, step: float, aside: float
) -> None:
    base = np.array([bend(s) for s in np.arange(0, 200, 1.5)])
    route = route_of(base, travelled_along(base))
    s = start + step * np.arange(count)
    s = s[s < 195]
    along = route.add(np.array([bend(metres, aside) for metres in s]))
    np.testing.assert_allclose(along, s, atol=1.0 + abs(aside))
    assert len(route.along) == len(base) + len(s)


def test_frames_are_brought_together(tmp_path: Path) -> None:
    origin = (51.75, -1.26, 110.0)
    other = tuple(from_enu(np.array([[300.0, -200.0, 5.0]]), origin)[0].tolist())
    first = drive(tmp_path, "first", np.arange(0, 40, 2.0), 0, origin=origin)
    second = drive(tmp_path, "second", np.arange(0, 40, 2.0), NIGHT, origin=other)
    merged = merge_maps([first, second], tmp_path / "m.routemap")
    assert merged.info.origin == origin
    moved = {p.name: p.pose.position for p in merged.places}
    for place in second.places:
        there = from_enu(np.array([place.pose.position]), other)
        expected = to_enu(there, origin)[0]
        np.testing.assert_allclose(moved[f"second/{place.name}"], expected, atol=1e-6)
        assert math.dist(expected, np.add(place.pose.position, (300, -200, 5))) < 0.05

    zone = "utm_30N"
    shift = np.array([1500.0, -700.0, 12.0])
    east, north, *_ = to_utm(origin[0], origin[1])
    far = (*from_utm(east + shift[0], north + shift[1], 30), origin[2] + shift[2])
    a = RouteMap(
        first.path,
        replace(first.info, grid=zone),
        first.places,
        first.descriptors,
        None,
        first.bearings,
    )
    b_info = replace(second.info, grid=zone, origin=far)
    b = RouteMap(second.path, b_info, second.places, second.descriptors, None, second.bearings)
    merged = merge_maps([a, b], tmp_path / "n.routemap")
    assert merged.info.grid == zone
    moved = {p.name: p.pose.position for p in merged.places}
    for place in second.places:
        expected = np.add(place.pose.position, shift)
        np.testing.assert_allclose(moved[f"second/{place.name}"], expected, atol=1e-4)
    with pytest.raises(SaaneError, match="do not lie alike on the Earth"):
        merge_maps([a, second], tmp_path / "o.routemap")


def test_maps_that_cannot_be_merged_are_told(tmp_path: Path) -> None:
    day = drive(tmp_path, "day", np.arange(0, 40, 2.0), 0)
    other = RouteMap(day.path, replace(day.info, fingerprint="x"), day.places, day.descriptors)
    with pytest.raises(SaaneError, match="build both with one model"):
        merge_maps([day, other], tmp_path / "m")
    frames = [Frame(smooth_scene(i), i, f"{i}") for i in range(3)]
    bare = build_map(frames, ColourGridEmbedder(), tmp_path / "bare")
    for pair in ([day, bare], [bare, day]):
        with pytest.raises(SaaneError, match="has no poses"):
            merge_maps(pair, tmp_path / "m")
    with pytest.raises(SaaneError, match="crop it by places"):
        crop_map(bare, tmp_path / "m", metres=(0, 1))
    with pytest.raises(SaaneError, match="has no poses to draw"):
        route_plot(bare)
    assert not (tmp_path / "m").exists()


def test_a_crop_is_the_part(both: tuple[RouteMap, RouteMap, RouteMap], tmp_path: Path) -> None:
    day, _, merged = both
    part = crop_map(day, tmp_path / "part.routemap", places=(10, 30))
    assert [place.name for place in part.places] == [place.name for place in day.places[10:30]]
    assert [place.id for place in part.places] == list(range(20))
    np.testing.assert_array_equal(part.descriptors, day.descriptors[10:30])
    part = crop_map(merged, tmp_path / "part.routemap", metres=(50.0, 80.0))
    inside = [
        p.name for p, s in zip(merged.places, merged.arc_length, strict=True) if 50 <= s <= 80
    ]
    assert [place.name for place in part.places] == inside
    assert 29 < part.arc_length[-1] - part.arc_length[0] <= 30
    with pytest.raises(SaaneError, match="nothing lies within places 90 to 95 of 80"):
        crop_map(day, tmp_path / "none.routemap", places=(90, 95))
    assert not (tmp_path / "none.routemap").exists()


def test_the_plot_shows_both_drives_where_they_are(
    both: tuple[RouteMap, RouteMap, RouteMap],
) -> None:
    picture = route_plot(both[2])
    assert picture.shape == (900, 1200, 3)
    for number, route_map in enumerate(both[:2]):
        drawn = (picture == COLOURS[number]).all(axis=2)
        drawn[:100] &= np.arange(1200) > 400  # the caption
        rows, columns = np.nonzero(drawn)
        points = np.array([place.pose.position[:2] for place in route_map.places])
        everything = np.array([p.pose.position[:2] for p in both[2].places])
        scale = (900 - 160) / np.ptp(everything[:, 1])
        assert np.ptp(rows) == pytest.approx(scale * np.ptp(points[:, 1]), abs=14)
        assert np.ptp(columns) == pytest.approx(scale * np.ptp(points[:, 0]), abs=14)


def test_statistics_name_each_drive(both: tuple[RouteMap, RouteMap, RouteMap]) -> None:
    told = dict(statistics(both[2]))
    assert told["day"].startswith("80 places, 15")
    assert "usually 2.00 m apart, at most 2.00 m" in told["day"]
    assert told["extent"].startswith("east 0.0 to 100.0 m")
    assert "drive" in dict(statistics(both[0]))
