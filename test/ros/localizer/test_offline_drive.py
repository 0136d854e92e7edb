"""Bags through the node's path without a node: deterministic, and with a simulated pace."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.cli import main
from saane_ros.data.bags import BagReader, BagWriter
from saane_ros.embedding import loading
from saane_ros.errors import SaaneError
from saane_ros.localization.localizer import Localizer
from saane_ros.ros.localizer.offline import DROPPED, UNUSABLE, OfflineDrive, Pace
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, Pose

START = 1_700_000_000_000_000_000
STEP = 62_500_000
PLACES, FRAMES = 30, 40


def place_image(position: float) -> np.ndarray:
    """What is seen at a place number, halfway places mixed."""
    before = int(position)
    share = position - before
    mixed = (1 - share) * smooth_scene(before, 48, 64) + share * smooth_scene(before + 1, 48, 64)
    return mixed.astype(np.uint8)


@pytest.fixture(scope="module")
def route_map(tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    frames = [
        Frame(smooth_scene(i, 48, 64), i * 10**9, f"day{i}", Pose((2.0 * i, 5.0, 0.0)))
        for i in range(PLACES)
    ]
    path = tmp_path_factory.mktemp("map") / "m.routemap"
    return build_map(frames, ColourGridEmbedder(), path)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 Hz images of a drive from place 5 at half a place a frame; true poses, 1 m a frame."""
    path = tmp_path_factory.mktemp("bag") / "drive"
    with BagWriter(path) as writer:
        for k in range(FRAMES):
            stamp = START + k * STEP
            writer.write_odometry("/truth", stamp, Pose((10.0 + k, 5.0, 0.0)))
            writer.write_image("/image", place_image(5 + k / 2), stamp)
    return path


def localizer(route_map: RouteMap) -> Localizer:
    return Localizer(ColourGridEmbedder(), route_map, Settings())


def outcomes(bag: Path, route_map: RouteMap, pace: Pace | None = None, odometry: str = ""):
    with BagReader(bag) as reader:
        drive = OfflineDrive(reader, localizer(route_map), "/image", odometry, pace or Pace())
        return list(drive.outcomes())


def test_every_image_is_matched_as_by_hand(bag: Path, route_map: RouteMap) -> None:
    found = outcomes(bag, route_map)
    naive = localizer(route_map)
    assert len(found) == FRAMES
    for k, outcome in enumerate(found):
        match = naive.localize(Frame(place_image(5 + k / 2), START + k * STEP)).match
        assert outcome.stamp_ns == START + k * STEP
        assert (outcome.state, outcome.match.place.id) == (match.state.value, match.place.id)
        assert outcome.match.confidence == match.confidence
        assert outcome.match.pose == match.pose


def test_odometry_is_summed_as_in_the_node(bag: Path, route_map: RouteMap) -> None:
    found = outcomes(bag, route_map, odometry="/truth")
    naive = localizer(route_map)
    for k, outcome in enumerate(found):
        frame = Frame(place_image(5 + k / 2), START + k * STEP, travelled=float(k))
        assert outcome.match.confidence == naive.localize(frame).match.confidence
    without = outcomes(bag, route_map)
    assert [o.match.confidence for o in found] != [o.match.confidence for o in without]
    with pytest.raises(SaaneError, match="/absent is not in"):
        outcomes(bag, route_map, odometry="/absent")


def test_stamps_are_judged_as_in_the_node(tmp_path: Path, route_map: RouteMap) -> None:
    stamps = [0, 1, 1, 0, 2, 3]  # one repeated, one older by less than a second
    with BagWriter(tmp_path / "bag") as writer:
        for k, stamp in enumerate(stamps):
            writer.write_image("/image", place_image(k), START + stamp * STEP)
        for k in range(3):  # played again: 9 s earlier
            writer.write_image("/image", place_image(k), START - 9 * 10**9 + k * STEP)
    with BagReader(tmp_path / "bag") as reader:
        recorded = [m.stamp_ns for m in reader.messages(["/image"])]
    found = outcomes(tmp_path / "bag", route_map)
    # Readers sort by the time of recording, which here is the stamp: the earlier ones come first.
    assert recorded == sorted(recorded)
    states = [outcome.state == UNUSABLE for outcome in found]
    assert states.count(True) == 2
    assert len(found) == 9


@settings(max_examples=25)
@given(inference=st.integers(0, 400), camera=st.sampled_from([0.0, 2.0, 4.0, 8.0, 16.0, 30.0]))
def test_drops_are_those_of_a_newest_frame_queue(
    bag: Path, route_map: RouteMap, inference: int, camera: float
) -> None:
    pace = Pace(camera, inference / 1e3)
    found = [(o.stamp_ns - START) // STEP for o in outcomes(bag, route_map, pace)]
    dropped = [
        (o.stamp_ns - START) // STEP for o in outcomes(bag, route_map, pace) if o.state == DROPPED
    ]
    step = 1 if not camera else max(1, round(16 / camera))
    taken = list(range(0, FRAMES, step))
    assert found == taken
    # By hand, in microseconds: at every end of work the newest image that came before is next.
    free, worked, index = 0, [], 0
    while index < len(taken):
        start = max(free, taken[index] * 62_500)
        newest = max(i for i, t in enumerate(taken) if t * 62_500 < start or i == index)
        index = max(index, newest)
        worked.append(taken[index])
        free, index = max(start, taken[index] * 62_500) + 1000 * inference, index + 1
    assert sorted(set(taken) - set(worked)) == dropped


@pytest.fixture
def _fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())


@pytest.mark.usefixtures("_fast_model")
def test_the_same_bytes_twice_and_errors_in_metres(
    bag: Path, route_map: RouteMap, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["localize", "--map", str(route_map.path), "--bag", str(bag), "--image-topic", "/image"]
    call += ["--truth-topic", "/truth"]
    for name in ("a.csv", "b.csv"):
        assert main([*call, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    with (tmp_path / "a.csv").open() as stream:
        table = list(csv.DictReader(stream))
    posed = [(k, row) for k, row in enumerate(table) if row["x"]]
    assert len(posed) > FRAMES / 2
    for k, row in posed:
        by_hand = math.dist((float(row["x"]), float(row["y"])), (10.0 + k, 5.0))
        assert float(row["error_m"]) == pytest.approx(by_hand, abs=1e-3)
    assert "error median" in capsys.readouterr().err
    slow = [*call, "--inference-ms", "500", "--out", str(tmp_path / "slow.csv")]
    assert main(slow) == 0
    with (tmp_path / "slow.csv").open() as stream:
        states = [row["state"] for row in csv.DictReader(stream)]
    assert len(states) == FRAMES
    assert states.count("dropped") == FRAMES - 6
    assert f"{FRAMES - 6} dropped" in capsys.readouterr().err


@pytest.mark.usefixtures("_fast_model")
@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--camera-rate", "-1"], "camera rate is -1: give a number from 0"),
        (["--inference-ms", "nan"], "inference time is nan"),
        (["--truth-topic", "/image"], "which holds no poses"),
    ],
)
def test_wrong_paces_are_told(
    bag: Path, route_map: RouteMap, capsys: pytest.CaptureFixture[str], extra, message: str
) -> None:
    call = ["localize", "--map", str(route_map.path), "--bag", str(bag), "--image-topic", "/image"]
    assert main([*call, *extra]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("rate", [1e-320, 1e-7])
def test_a_rate_without_a_period_is_refused(rate: float) -> None:
    with pytest.raises(SaaneError, match="give 0 for all images, or at least 1e-06"):
        Pace(camera_hz=rate)
