"""A pose that somebody told: what it makes of the belief, and that images decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import ColourGridEmbedder, line_graph, smooth_scene

from saane_ros.data.poses.files import yaw_quaternion
from saane_ros.errors import SaaneError
from saane_ros.localization.belief import TOLD, Belief
from saane_ros.localization.localizer import Localizer
from saane_ros.localization.pose_estimate import ANGLE_FLOOR
from saane_ros.localization.pose_prior import SLACK_M, PosePrior
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, MatchState, Pose, Rgb

COUNT, SPACING = 60, 2.0
MAP_FRAME = "site"


def prior(
    x: float,
    y: float = 1.0,
    sigma: float = 0.5,
    yaw: float = 0.0,
    frame_id: str = MAP_FRAME,
    yaw_sigma: float = 0.26,
) -> PosePrior:
    covariance = np.zeros((6, 6))
    covariance[0, 0] = covariance[1, 1] = sigma**2
    covariance[5, 5] = yaw_sigma**2
    flat = tuple(float(value) for value in covariance.ravel())
    return PosePrior(Pose((x, y, 0.0), yaw_quaternion(yaw)), flat, frame_id)


SECTION = 20


def corridor_scene(place: int) -> Rgb:
    """A place of a corridor whose sections are alike but for a tenth of what they show."""
    mixed = 0.9 * smooth_scene(place % SECTION) + 0.1 * smooth_scene(1000 + place)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def corridor_view(place: int, seed: int) -> Rgb:
    """The same with something in front of it, and noise."""
    mixed = 0.75 * corridor_scene(place) + 0.25 * smooth_scene(7000 + seed)
    noise = np.random.default_rng(seed).normal(0, 20, mixed.shape)
    return np.clip(mixed + noise, 0, 255).astype(np.uint8)


def there_and_back(folder: Path) -> RouteMap:
    """East along y = 1 m and back west along y = 3 m: two directions of one road."""
    frames = [
        Frame(smooth_scene(i), i * 10**9, f"{i}", Pose((SPACING * i, 1.0, 0.0), yaw_quaternion(0)))
        for i in range(COUNT)
    ]
    frames += [
        Frame(
            smooth_scene(100 + i),
            (COUNT + i) * 10**9,
            f"back {i}",
            Pose((SPACING * (COUNT - 1 - i), 3.0, 0.0), yaw_quaternion(np.pi)),
        )
        for i in range(COUNT)
    ]
    return build_map(frames, ColourGridEmbedder(), folder / "road.routemap", frame_id=MAP_FRAME)


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    return there_and_back(tmp_path_factory.mktemp("road"))


@given(st.floats(-2.0, 2 * COUNT), st.floats(0.5, 3.5), st.floats(0.1, 20.0), st.floats(-3.1, 3.1))
def test_the_prior_is_the_gaussian_of_position_and_yaw_over_the_spots(
    road: RouteMap, x: float, y: float, sigma: float, yaw: float
) -> None:
    localizer = Localizer(ColourGridEmbedder(), road, Settings())
    spots, shares = localizer.spots_at(prior(x, y, sigma, yaw))
    graph = road.localizable().graph
    expected = np.zeros(graph.count)
    variance = sigma**2 + SLACK_M**2 + graph.step**2 / 12
    for row, place in enumerate(road.places):
        assert place.pose is not None
        heading = 0.0 if row < COUNT else np.pi
        turned = abs(np.angle(np.exp(1j * (heading - yaw))))
        metres = np.hypot(place.pose.position[0] - x, place.pose.position[1] - y)
        density = np.exp(-0.5 * (metres**2 / variance + turned**2 / (0.26**2 + ANGLE_FLOOR**2)))
        expected[graph.spot[row]] = max(expected[graph.spot[row]], density)
    assert (np.diff(spots) > 0).all()
    if expected.max() > 1e-250:
        expected /= expected.sum()
        assert shares.sum() == pytest.approx(1.0)
        np.testing.assert_allclose(shares, expected[spots], atol=1e-6)
        assert expected.sum() - expected[spots].sum() < 1e-6


def test_what_is_told_is_likelier_by_a_bounded_factor_and_the_rest_as_before() -> None:
    belief = Belief(line_graph(50), 5.0)
    off, each = belief.off, belief.rest / 50
    belief.assume(np.array([10, 11]), np.array([0.75, 0.25]))
    assert belief.rest + belief.off + belief.masses.sum() == pytest.approx(1.0)
    expected = np.array([1 + TOLD, 1 + TOLD / 3, 1.0])
    masses = belief.masses_of(np.array([10, 11, 30]))
    np.testing.assert_allclose(masses / masses[2], expected)
    assert belief.off / masses[2] == pytest.approx(off / each)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (prior(20.0, frame_id="odom"), "in frame odom and map road in frame site: give it in site"),
        (prior(20.0, 61.0), r"58 m \(19 standard deviations\) from the nearest place of map road"),
        (prior(float("nan")), "no finite position"),
        (prior(1.0, yaw_sigma=float("inf")), "no finite position"),
        (PosePrior(Pose((1.0, 1.0, 0.0), (0.0,) * 4), (0.0,) * 36, "site"), "unit quaternion"),
        (PosePrior(Pose((1.0, 1.0, 0.0)), (-1.0,) * 36, "site"), "and a covariance"),
    ],
)
def test_a_pose_that_cannot_be_is_refused(road: RouteMap, told: PosePrior, why: str) -> None:
    localizer = Localizer(ColourGridEmbedder(), road, Settings())
    before = localizer.belief
    with pytest.raises(SaaneError, match=why):
        localizer.spots_at(told)
    assert localizer.belief[2:] == before[2:]


def test_a_wide_covariance_is_believed_where_a_narrow_one_is_refused(road: RouteMap) -> None:
    localizer = Localizer(ColourGridEmbedder(), road, Settings())
    spots, shares = localizer.spots_at(prior(20.0, 61.0, sigma=30.0))
    assert len(spots) == len(shares) == road.localizable().graph.count // 2


def test_maps_without_poses_and_no_filter_refuse_a_pose(tmp_path: Path, road: RouteMap) -> None:
    frames = [Frame(smooth_scene(i), i * 10**9, str(i)) for i in range(8)]
    bare = build_map(frames, ColourGridEmbedder(), tmp_path / "bare.routemap")
    with pytest.raises(SaaneError, match="Map bare has no poses"):
        Localizer(ColourGridEmbedder(), bare, Settings()).spots_at(prior(1.0, frame_id="map"))
    alone = Localizer(ColourGridEmbedder(), road, Settings(sequence_filter=False))
    with pytest.raises(SaaneError, match="Without the sequence filter"):
        alone.spots_at(prior(1.0))


def drive(localizer: Localizer, first: int, count: int) -> list[tuple[bool, bool]]:
    """Drive on from a place; for each frame whether it is localized, and wrongly so."""
    found = []
    for step in range(count):
        frame = Frame(corridor_view(first + step, 50 * first + step), step * 10**9)
        match = localizer.localize(frame).match
        sure = match.state is MatchState.LOCALIZED
        found.append((sure, sure and abs(match.place.id - first - step) > 5))
    return found


def first_sure(found: list[tuple[bool, bool]]) -> int:
    return next((n for n, (sure, _) in enumerate(found) if sure), len(found))


def test_a_right_click_localizes_earlier_and_a_wrong_one_never_wrongly(tmp_path: Path) -> None:
    frames = [
        Frame(corridor_scene(i), i * 10**9, f"{i}", Pose((SPACING * i, 1.0, 0.0)))
        for i in range(COUNT)
    ]
    embedder = ColourGridEmbedder()
    corridor = build_map(frames, embedder, tmp_path / "corridor.routemap", frame_id=MAP_FRAME)
    localizer = Localizer(embedder, corridor, Settings())
    rng = np.random.default_rng(0)
    unaided, right, wrong = [], [], []
    for first in range(0, 36, 4):
        localizer.reset()
        unaided.append(first_sure(drive(localizer, first, 20)))
        # Metres beside it, into the same place of another section, and where nothing is alike.
        for place, firsts in (
            (first + rng.normal(0, 0.75), right),
            ((first + SECTION) % COUNT, wrong),
            ((first + 2 * SECTION) % COUNT, wrong),
            ((first + 30) % COUNT, wrong),
        ):
            localizer.assume(*localizer.spots_at(prior(SPACING * place)))
            found = drive(localizer, first, 20)
            assert not any(mistaken for _, mistaken in found)
            assert found[-1][0]
            firsts.append(first_sure(found))
    assert np.mean(right) < np.mean(unaided) - 0.5
    assert max(wrong) <= max(unaided) + 5


def test_a_click_on_the_map_while_the_robot_is_elsewhere_localizes_nobody(road: RouteMap) -> None:
    localizer = Localizer(ColourGridEmbedder(), road, Settings())
    localizer.assume(*localizer.spots_at(prior(40.0)))
    states = [
        localizer.localize(Frame(smooth_scene(3000 + step), step * 10**9)).match.state
        for step in range(20)
    ]
    assert MatchState.LOCALIZED not in states


def test_yaw_tells_the_two_directions_of_a_road_apart(road: RouteMap) -> None:
    localizer = Localizer(ColourGridEmbedder(), road, Settings())
    spot = road.localizable().graph.spot
    for yaw, ahead in ((0.0, True), (np.pi, False)):
        spots, shares = localizer.spots_at(prior(60.0, 2.0, yaw=yaw))
        eastward = np.isin(spots, spot[:COUNT])
        assert shares[eastward].sum() == pytest.approx(float(ahead), abs=1e-6)
