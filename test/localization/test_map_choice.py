"""Several maps: the one that the robot is on is found by its images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scenes import ColourGridEmbedder, smooth_scene
from test_pose_prior import prior

from saane_ros.errors import SaaneError
from saane_ros.localization.localizer import Localizer
from saane_ros.localization.map_choice import ASTRAY_FRAMES, MapChoice, check_choice, open_choice
from saane_ros.route_map.builder import build_map
from saane_ros.settings import Settings
from saane_ros.types import Embedding, Frame, Match, MatchState, Pose, Rgb

PLACES = 40
FIRST = {"a": 0, "b": 100, "c": 200}


class Counting(ColourGridEmbedder):
    """Counts the images that it embeds."""

    seen = 0

    def embed(self, images: object, *wanted: object, **more: object) -> list[Embedding]:
        self.seen += len(images)  # type: ignore[arg-type]
        return super().embed(images, *wanted, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three maps, of one frame."""
    path = tmp_path_factory.mktemp("maps")
    for name, first in FIRST.items():
        frames = [
            Frame(smooth_scene(first + i), i * 10**9, f"{i}", Pose((2.0 * i, 1.0, 0.0)))
            for i in range(PLACES)
        ]
        build_map(frames, ColourGridEmbedder(), path / f"{name}.routemap", frame_id="site")
    return path


def view(scene: int, seed: int) -> Rgb:
    noise = np.random.default_rng(seed).normal(0, 20, (120, 160, 3))
    mixed = 0.6 * smooth_scene(scene) + 0.25 * smooth_scene(5000 + seed) + 15 + noise
    return np.clip(mixed, 0, 255).astype(np.uint8)


class Robot:
    """Drives; `found` has the name of the map and the match of every frame."""

    def __init__(self, choice: MapChoice) -> None:
        self.choice, self.found = choice, list[tuple[str, Match]]()

    def drive(self, scenes: range) -> list[tuple[str, Match]]:
        new = []
        for scene in scenes:
            step = len(self.found)
            found = self.choice.localize(Frame(view(scene, step), step * 10**9))
            new.append((found.route_map.info.name, found.match))
            self.found.append(new[-1])
        return new


def sure(found: list[tuple[str, Match]]) -> list[str]:
    return [name for name, match in found if match.state is MatchState.LOCALIZED]


def test_the_map_is_found_kept_and_changed_for_the_next_road(folder: Path) -> None:
    embedder = Counting()
    choice, left_out = open_choice(str(folder), embedder, Settings())
    assert left_out == []
    assert [one.info.name for one in choice.maps] == ["a", "b", "c"]
    assert choice.current is None
    robot = Robot(choice)
    on_b = robot.drive(range(105, 130))
    assert set(sure(on_b)) == {"b"}
    assert len(sure(on_b)) >= 20
    assert choice.current is not None
    assert choice.current.route_map.info.name == "b"
    for scene, (name, match) in zip(range(105, 130), on_b, strict=True):
        if match.state is MatchState.LOCALIZED:
            assert (name, match.place.id) == ("b", scene - 100)
    on_a = robot.drive(range(3, 38))
    # Nobody is on b any more, and a is sure soon after the other maps are searched again.
    assert "b" not in sure(on_a)[2:]
    assert sure(on_a)[-1] == "a"
    assert [name for name, _ in on_a[ASTRAY_FRAMES + 8 :]] == ["a"] * (
        len(on_a) - ASTRAY_FRAMES - 8
    )
    assert on_a[-1][1].place.id == 37
    assert "c" not in sure(robot.found)
    assert embedder.seen == len(robot.found)


def test_while_maps_are_searched_each_has_its_share_of_the_error_rate(folder: Path) -> None:
    embedder = ColourGridEmbedder()
    choice, _ = open_choice(str(folder), embedder, Settings(error_rate=0.03))
    (one,) = [m for m in choice.maps if m.info.name == "b"]
    alone = Localizer(embedder, one, Settings(error_rate=0.03))
    trust = one.localizable().calibration.weights.trust
    for step in range(8):
        frame = Frame(view(110 + step, step), step * 10**9)
        searching = choice.current is None
        match, expected = choice.localize(frame).match, alone.localize(frame).match
        if match.place.name == expected.place.name:
            assert match.confidence == expected.confidence
        threshold = trust.threshold(0.01 if searching else 0.03)
        assert (match.state is MatchState.LOCALIZED) == (match.confidence >= threshold)
    assert choice.current is not None


def test_one_map_is_localized_as_by_its_localizer(folder: Path) -> None:
    path = folder / "a.routemap"
    choice, _ = open_choice(str(path), ColourGridEmbedder(), Settings())
    assert choice.current is not None
    alone = Localizer(ColourGridEmbedder(), choice.maps[0], Settings())
    for step in range(20):
        scene = 5 + step if step < 12 else 900 + step
        frame = Frame(view(scene, step), step * 10**9)
        match, expected = choice.localize(frame).match, alone.localize(frame).match
        assert (match.state, match.place, match.confidence, match.pose) == (
            expected.state,
            expected.place,
            expected.confidence,
            expected.pose,
        )
    assert choice.current is not None


def test_off_all_maps_is_off_the_route_and_on_none(folder: Path) -> None:
    choice, _ = open_choice(str(folder), ColourGridEmbedder(), Settings())
    found = Robot(choice).drive(range(3000, 3040))
    assert sure(found) == []
    assert choice.current is None


def test_a_pose_is_told_to_every_map_of_its_frame_or_to_one_by_name(folder: Path) -> None:
    choice, _ = open_choice(str(folder), ColourGridEmbedder(), Settings())
    Robot(choice).drive(range(105, 120))
    assert choice.current is not None
    begin = choice.prepare(prior(40.0))
    assert choice.current is not None  # nothing has changed yet
    begin()
    assert choice.current is None
    told = [len(one.belief[0]) for one in choice._localizers]
    assert min(told) > 0
    named = prior(40.0)
    object.__setattr__(named, "map_name", "c")
    choice.prepare(named)()
    assert [len(one.belief[0]) > 0 for one in choice._localizers] == [False, False, True]
    object.__setattr__(named, "map_name", "d")
    with pytest.raises(SaaneError, match="The pose is of map d and the map here is a, b, c"):
        choice.prepare(named)
    with pytest.raises(SaaneError, match="in frame odom and map a in frame site"):
        choice.prepare(prior(40.0, frame_id="odom"))


def test_maps_that_do_not_fit_are_left_out_with_a_sentence(folder: Path, tmp_path: Path) -> None:
    class Other(ColourGridEmbedder):
        fingerprint = "other-weights"

    shutil.copytree(folder / "a.routemap", tmp_path / "a.routemap")
    frames = [Frame(smooth_scene(i), i * 10**9, str(i)) for i in range(10)]
    build_map(frames, Other(), tmp_path / "o.routemap")
    (tmp_path / "z.routemap").mkdir()
    choice, left_out = open_choice(str(tmp_path), ColourGridEmbedder(), Settings())
    assert [one.info.name for one in choice.maps] == ["a"]
    assert "other-weights" in left_out[0]
    assert "z.routemap is no route map" in left_out[1]
    for opening in (
        lambda: open_choice(str(tmp_path / "o.routemap"), ColourGridEmbedder(), Settings()),
        lambda: check_choice(str(tmp_path / "o.routemap"), ColourGridEmbedder()),
    ):
        with pytest.raises(SaaneError, match="other-weights"):
            opening()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "No map is named: set the parameter map"),
        ("/no/such/place", "There is no route map at /no/such/place"),
    ],
)
def test_no_map_is_said_in_a_sentence(path: str, why: str) -> None:
    with pytest.raises(SaaneError, match=why):
        open_choice(path, ColourGridEmbedder(), Settings())
    with pytest.raises(SaaneError, match=why):
        check_choice(path, ColourGridEmbedder())
