"""The Localizer on images: embed, search, filter, and what comes out of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import ColourGridEmbedder, smooth_scene, strange_scene

from saane_ros.data.poses.files import yaw_quaternion
from saane_ros.errors import SaaneError
from saane_ros.localization.localizer import Localizer
from saane_ros.localization.pose_estimate import ANGLE_FLOOR, POSITION_FLOOR, estimate_pose
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, MatchState, Pose, Rgb

COUNT = 60
SPACING = 2.0


def place_image(place: int, seed: int | None = None) -> Rgb:
    """What a place looks like; with a seed, under other light and with noise."""
    image = smooth_scene(place)
    if seed is None:
        return image
    noise = np.random.default_rng(seed).normal(0, 25, image.shape)
    return np.clip(0.6 * image + 20 + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def route_map(tmp_path: Path, colour_grid: ColourGridEmbedder) -> RouteMap:
    frames = [
        Frame(place_image(i), i * 10**9, f"{i}.jpg", Pose((SPACING * i, 1.0, 0.0)))
        for i in range(COUNT)
    ]
    return build_map(frames, colour_grid, tmp_path / "m.routemap")


def test_a_drive_is_localized_with_pose_and_candidates(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    localizer = Localizer(colour_grid, route_map, Settings(candidates=4))
    for step in range(30):
        place = 10 + step
        frame = Frame(place_image(place, seed=step), step * 10**8, f"{step}")
        match = localizer.localize(frame).match
        assert match.stamp_ns == step * 10**8
        assert match.candidates.places[0] == place
        assert len(match.candidates.places) == len(match.probabilities) == 4
        assert set(match.timings_ms) == {"embed", "search", "filter", "rerank"}
        if step < 5:
            continue
        assert match.state is MatchState.LOCALIZED
        assert match.place == route_map.places[place]
        query = colour_grid.embed([frame.image])[0].descriptor.astype(np.float64)
        all_distances = np.linalg.norm(route_map.descriptors - query, axis=1)
        assert match.distance == pytest.approx(all_distances[place], rel=1e-5)
        others = np.delete(all_distances, range(place - 5, place + 6))
        assert match.ratio == pytest.approx(others.min() / all_distances[place], rel=1e-5)
        assert match.pose is not None
        assert match.pose.position[0] == pytest.approx(SPACING * place, abs=1.0)
        covariance = np.array(match.covariance).reshape(6, 6)
        np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
        assert np.linalg.eigvalsh(covariance).min() > 0
        assert covariance[0, 0] >= POSITION_FLOOR**2


def test_the_same_frames_give_the_same_matches(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    frames = [
        Frame(place_image(5 + i, seed=i), i * 10**8, travelled=SPACING * i) for i in range(15)
    ]
    localizer = Localizer(colour_grid, route_map, Settings())

    def matches(one: Localizer) -> list[tuple[object, ...]]:
        found = [one.localize(frame).match for frame in frames]
        return [(m.state, m.place.id, m.distance, m.ratio, m.confidence, m.pose) for m in found]

    first = matches(localizer)
    localizer.reset()
    assert matches(localizer) == first
    assert matches(Localizer(colour_grid, route_map, Settings())) == first


def test_without_the_filter_a_frame_stands_for_itself(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    settings = Settings(sequence_filter=False, error_rate=0.2)
    localizer = Localizer(colour_grid, route_map, settings)
    clear = localizer.localize(Frame(place_image(30, seed=1), 0)).match
    assert (clear.state, clear.place.id) == (MatchState.LOCALIZED, 30)
    assert clear.confidence > 0.8
    assert clear.confidence + clear.off_route <= 1
    assert clear.pose is not None
    assert clear.pose.position[0] == pytest.approx(SPACING * 30, abs=SPACING)
    # What came before says nothing: the same frame again is the same match.
    again = localizer.localize(Frame(place_image(30, seed=1), 1)).match
    assert (again.place, again.confidence) == (clear.place, clear.confidence)
    unknown = localizer.localize(Frame(smooth_scene(999), 2)).match
    assert unknown.state is not MatchState.LOCALIZED
    assert (unknown.pose, unknown.covariance) == (None, None)
    assert unknown.confidence < 0.5 < clear.confidence
    assert unknown.off_route > clear.off_route


def test_strange_places_are_off_the_route(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    localizer = Localizer(colour_grid, route_map, Settings())
    states = []
    for step in range(100):
        scene = place_image(step, seed=step) if step < 15 else strange_scene(1000 + step)
        match = localizer.localize(Frame(scene, step * 10**8)).match
        states.append(match.state)
        assert (match.pose is None) == (match.state is not MatchState.LOCALIZED)
    assert set(states[5:15]) == {MatchState.LOCALIZED}
    assert MatchState.LOCALIZED not in states[17:]
    assert MatchState.OFF_ROUTE in states[20:]


def test_a_view_from_elsewhere_that_stays_is_never_a_place(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    localizer = Localizer(colour_grid, route_map, Settings())
    for scene in range(777, 785):
        localizer.reset()
        for step in range(40):
            view = smooth_scene(scene)
            noise = np.random.default_rng(step).normal(0, 2, view.shape)
            frame = Frame(np.clip(view + noise, 0, 255).astype(np.uint8), step * 10**8)
            assert localizer.localize(frame).match.state is not MatchState.LOCALIZED


def test_a_place_that_was_wrong_for_a_day_is_forgotten(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    localizer = Localizer(colour_grid, route_map, Settings())
    for step in range(15):
        match = localizer.localize(Frame(place_image(step, step), step * 10**8)).match
    assert match.state is MatchState.LOCALIZED
    later = 28 * 3600 * 10**9
    for step in range(10):
        match = localizer.localize(Frame(place_image(45 + step, step), later + step * 10**8)).match
        assert match.state is not MatchState.LOCALIZED or match.place.id >= 44
    assert (match.state, match.place.id) == (MatchState.LOCALIZED, 54)


def test_settings_take_effect_at_the_next_frame(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    localizer = Localizer(colour_grid, route_map, Settings())
    for step in range(8):
        match = localizer.localize(Frame(place_image(20 + step, step), step * 10**8)).match
    assert match.state is MatchState.LOCALIZED
    assert match.pose is not None
    localizer.settings = Settings(max_deviation=0.1)
    match = localizer.localize(Frame(place_image(28, 8), 8 * 10**8)).match
    # Nobody is to gate on a pose that is too uncertain to be published.
    assert (match.state, match.pose) == (MatchState.LOCALIZED, None)
    trust = route_map.localizable().calibration.weights.trust
    for step, rate in enumerate((0.0001, 0.01, 0.3)):
        localizer.settings = Settings(error_rate=rate)
        frame = Frame(place_image(29 + step, 9 + step), (9 + step) * 10**8)
        match = localizer.localize(frame).match
        accepted = match.confidence >= trust.threshold(rate)
        assert (match.state is MatchState.LOCALIZED) == accepted
    localizer.settings = Settings(error_rate=0.01)
    unlike = localizer.localize(Frame(smooth_scene(4000), 13 * 10**8)).match
    assert unlike.confidence < trust.threshold(0.01)
    assert unlike.state is not MatchState.LOCALIZED


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (np.zeros((0, 0, 3), np.uint8), "empty"),
        (np.zeros((40, 60, 3), np.uint8), "black"),
        (np.zeros((40, 60), np.uint8), "not uint8 height x width x 3"),
    ],
)
def test_a_bad_image_is_told_and_leaves_the_belief(
    route_map: RouteMap, colour_grid: ColourGridEmbedder, image: Rgb, why: str
) -> None:
    frames = [Frame(place_image(5 + i, seed=i), i * 10**8) for i in range(6)]
    plain = Localizer(colour_grid, route_map, Settings())
    expected = [plain.localize(frame).match.confidence for frame in frames]
    localizer = Localizer(colour_grid, route_map, Settings())
    for frame, confidence in zip(frames, expected, strict=True):
        with pytest.raises(SaaneError, match=f"bad.png cannot be matched, as the image is .*{why}"):
            localizer.localize(Frame(image, 0, "bad.png"))
        assert localizer.localize(frame).match.confidence == confidence


def test_a_map_of_another_model_is_refused(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    colour_grid.fingerprint = "other"
    with pytest.raises(SaaneError, match=r"colour-grid-4x6, .* other"):
        Localizer(colour_grid, route_map, Settings())


def test_odometry_holds_the_place_while_standing(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    localizer = Localizer(colour_grid, route_map, Settings())
    for step in range(10):
        frame = Frame(place_image(step, step), step * 10**8, travelled=SPACING * step)
        known = localizer.localize(frame).match
    assert (known.state, known.place.id) == (MatchState.LOCALIZED, 9)
    for step in range(10, 15):  # lorries pass while the robot stands
        frame = Frame(smooth_scene(500 + step), step * 10**8, travelled=SPACING * 9)
        match = localizer.localize(frame).match
        assert (match.place.id, match.confidence) == (9, known.confidence)
    assert localizer.odometry_fault == ""
    for step in range(15, 30):  # so many new views are no lorries
        frame = Frame(place_image(step, step), step * 10**8, travelled=SPACING * 9)
        match = localizer.localize(frame).match
    assert "odometry stands while the camera showed" in localizer.odometry_fault


def test_reversing_with_odometry_is_followed(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    localizer = Localizer(colour_grid, route_map, Settings())
    for step in range(30):
        place = 40 - step
        frame = Frame(place_image(place, step), step * 10**8, travelled=-SPACING * step)
        match = localizer.localize(frame).match
        if step >= 6:
            assert match.state is MatchState.LOCALIZED
            assert abs(match.place.id - place) <= 1


def test_attention_and_labels_come_along_where_asked_for(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    localizer = Localizer(colour_grid, route_map, Settings())
    frame = Frame(place_image(1), 0)
    full = localizer.localize(frame, attention=True, labels=True).embedding
    assert set(full.attention) == {"appearance", "semantic"}
    assert full.labels is not None
    plain = localizer.localize(frame).embedding
    assert (plain.attention, plain.labels) == ({}, None)


def test_places_without_poses_give_no_pose(tmp_path: Path, colour_grid: ColourGridEmbedder) -> None:
    frames = [Frame(place_image(i), i * 10**8, str(i)) for i in range(20)]
    bare = build_map(frames, colour_grid, tmp_path / "bare")
    localizer = Localizer(colour_grid, bare, Settings())
    for frame in frames:
        match = localizer.localize(frame).match
    assert (match.state, match.pose, match.covariance) == (MatchState.LOCALIZED, None, None)


YAWS = st.lists(st.floats(-0.6, 0.6), min_size=1, max_size=6)


@given(YAWS, st.floats(-3.1, 3.1), st.integers(0, 2**31))
def test_the_pose_is_the_weighted_mean(yaws: list[float], base: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.1, 1, len(yaws))
    points = rng.uniform(-10, 10, (len(yaws), 3))
    turns = []
    for i, yaw in enumerate(yaws):
        sign = 1 if i % 2 else -1  # q and -q are one rotation
        quaternion = tuple(sign * value for value in yaw_quaternion(base + yaw))
        turns.append(quaternion)
    # A place without a pose has no say.
    positions, orientations = (np.insert(np.array(a), 0, np.nan, axis=0) for a in (points, turns))
    estimate = estimate_pose(positions, orientations, np.insert(weights, 0, 3.0), spacing=6.0)
    assert estimate is not None
    pose, flat = estimate
    share = weights / weights.sum()
    mean = (share[:, None] * points).sum(axis=0)
    np.testing.assert_allclose(pose.position, mean, atol=1e-9)
    # For turns about one axis the mean quaternion is half the angle of sum w exp(i theta).
    turn = np.angle(np.sum(share * np.exp(1j * np.array(yaws)))) + base
    expected = np.array(yaw_quaternion(turn))
    assert abs(np.dot(expected, pose.orientation)) == pytest.approx(1.0, abs=1e-9)
    covariance = np.array(flat).reshape(6, 6)
    spread = sum(w * np.outer(p - mean, p - mean) for w, p in zip(share, points, strict=True))
    np.testing.assert_allclose(
        covariance[:3, :3], spread + (POSITION_FLOOR**2 + 6.0**2 / 12) * np.eye(3), atol=1e-9
    )
    off = (np.array(yaws) + base - turn + np.pi) % (2 * np.pi) - np.pi
    assert covariance[5, 5] == pytest.approx((share * off**2).sum() + ANGLE_FLOOR**2, abs=1e-9)
    np.testing.assert_allclose(np.diag(covariance)[3:5], ANGLE_FLOOR**2, atol=1e-9)
    np.testing.assert_array_equal(covariance[:3, 3:], np.zeros((3, 3)))


def test_no_pose_in_the_window_is_no_estimate() -> None:
    nowhere = np.full((1, 7), np.nan)
    assert estimate_pose(nowhere[:, :3], nowhere[:, 3:], np.ones(1), 1.0) is None
