"""The Localizer on images: embed, search, filter, and what comes out of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.data.poses.files import yaw_quaternion
from saane_ros.errors import SaaneError
from saane_ros.localization.localizer import Localizer
from saane_ros.localization.pose_estimate import ANGLE_FLOOR, POSITION_FLOOR, estimate_pose
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Calibration, Frame, MatchState, Place, Pose, Rgb

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
        frame = Frame(place_image(place, seed=step), step, f"{step}")
        match = localizer.localize(frame).match
        assert match.stamp_ns == step
        assert match.candidates.places[0] == place
        assert len(match.candidates.places) == len(match.probabilities) == 4
        assert set(match.timings_ms) == {"embed", "search", "filter"}
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
    frames = [Frame(place_image(5 + i, seed=i), i, travelled=SPACING * i) for i in range(15)]
    localizer = Localizer(colour_grid, route_map, Settings())

    def matches(one: Localizer) -> list[tuple[object, ...]]:
        found = [one.localize(frame).match for frame in frames]
        return [(m.state, m.place.id, m.distance, m.ratio, m.confidence, m.pose) for m in found]

    first = matches(localizer)
    localizer.reset()
    assert matches(localizer) == first
    assert matches(Localizer(colour_grid, route_map, Settings())) == first


def test_without_the_filter_the_ratio_decides(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    localizer = Localizer(colour_grid, route_map, Settings(sequence_filter=False, min_ratio=1.5))
    clear = localizer.localize(Frame(place_image(30, seed=1), 0)).match
    assert clear.ratio > 1.5
    assert clear.confidence == pytest.approx(1 - 1 / clear.ratio)
    assert clear.state is MatchState.LOCALIZED
    assert clear.pose == Pose((SPACING * 30, 1.0, 0.0))
    exact = localizer.localize(Frame(place_image(30), 1)).match
    assert (exact.ratio, exact.confidence) == (np.inf, 1.0)
    unknown = localizer.localize(Frame(smooth_scene(999), 2)).match
    assert unknown.ratio < 1.5
    assert (unknown.state, unknown.pose) == (MatchState.UNCERTAIN, None)
    localizer.settings = replace(localizer.settings, min_ratio=1.0, candidates=1)
    assert localizer.localize(Frame(smooth_scene(999), 2)).match.state is MatchState.LOCALIZED


def test_strange_places_are_off_route_where_distances_are_calibrated(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    colour_grid.calibration = Calibration(slope=8.0, offset=-6.0)
    localizer = Localizer(colour_grid, route_map, Settings())
    states = []
    for step in range(40):
        scene = place_image(step, seed=step) if step < 15 else smooth_scene(1000 + step)
        match = localizer.localize(Frame(scene, step)).match
        states.append(match.state)
        assert (match.pose is None) == (match.state is not MatchState.LOCALIZED)
    assert set(states[3:15]) == {MatchState.LOCALIZED}
    assert set(states[25:]) == {MatchState.OFF_ROUTE}


def test_thresholds_take_effect_at_the_next_frame(
    route_map: RouteMap, colour_grid: ColourGridEmbedder
) -> None:
    localizer = Localizer(colour_grid, route_map, Settings())
    for step in range(8):
        match = localizer.localize(Frame(place_image(20 + step, seed=step), step)).match
    assert match.state is MatchState.LOCALIZED
    localizer.settings = Settings(localized_confidence=1.0, lost_confidence=1.0)
    match = localizer.localize(Frame(place_image(28, seed=8), 8)).match
    assert match.confidence < 1
    assert match.state is MatchState.LOST


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
    frames = [Frame(place_image(5 + i, seed=i), i) for i in range(6)]
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
        localizer.localize(Frame(place_image(step, step), step, travelled=SPACING * step))
    for step in range(10, 20):  # a wall of grey noise, while standing at place 9
        noise = np.random.default_rng(step).integers(90, 110, (120, 160, 3)).astype(np.uint8)
        match = localizer.localize(Frame(noise, step, travelled=SPACING * 9)).match
    assert abs(match.place.id - 9) <= 1
    # Odometry that starts anew says nothing rather than something false.
    match = localizer.localize(Frame(place_image(10, 50), 30, travelled=0.0)).match
    assert match.place.id == 10


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
    frames = [Frame(place_image(i), i, str(i)) for i in range(20)]
    bare = build_map(frames, colour_grid, tmp_path / "bare")
    localizer = Localizer(colour_grid, bare, Settings(sequence_filter=False))
    match = localizer.localize(frames[3]).match
    assert (match.state, match.pose, match.covariance) == (MatchState.LOCALIZED, None, None)


YAWS = st.lists(st.floats(-0.6, 0.6), min_size=1, max_size=6)


@given(YAWS, st.floats(-3.1, 3.1), st.integers(0, 2**31))
def test_the_pose_is_the_weighted_mean(yaws: list[float], base: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.1, 1, len(yaws))
    points = rng.uniform(-10, 10, (len(yaws), 3))
    places = []
    for i, yaw in enumerate(yaws):
        sign = 1 if i % 2 else -1  # q and -q are one rotation
        quaternion = tuple(sign * value for value in yaw_quaternion(base + yaw))
        places.append(Place(i, "", 0, Pose(tuple(points[i]), quaternion)))
    estimate = estimate_pose(places, weights, spacing=6.0)
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
    assert estimate_pose([Place(0, "", 0)], np.ones(1), 1.0) is None
