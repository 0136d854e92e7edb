"""The pose that survives a restart, and how little it is worth after a while."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.errors import SaaneError
from saane_ros.localization import kept_pose
from saane_ros.localization.kept_pose import (
    EVERY_S,
    MOVED_MPS,
    TURNED_RPS,
    UNKNOWN_AGE_S,
    KeptPose,
    recalled,
)
from saane_ros.localization.localizer import Localizer
from saane_ros.localization.pose_prior import PosePrior
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, Match, Pose


class Clock:
    """Time as the test sets it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        return self.now

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(kept_pose, "time", clock)
    return clock


@pytest.fixture(scope="module")
def route_map(tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    frames = [
        Frame(smooth_scene(i), i * 10**9, f"{i}", Pose((2.0 * i, 1.0, 0.0))) for i in range(40)
    ]
    path = tmp_path_factory.mktemp("map") / "street.routemap"
    return build_map(frames, ColourGridEmbedder(), path)


@pytest.fixture(scope="module")
def matches(route_map: RouteMap) -> list[Match]:
    localizer = Localizer(ColourGridEmbedder(), route_map, Settings())
    frames = [Frame(smooth_scene(10 + i), i * 10**9) for i in range(8)]
    return [localizer.localize(frame).match for frame in frames]


def told(path: Path, route_map: RouteMap) -> PosePrior:
    prior = recalled(path, route_map.info.fingerprint)
    assert prior is not None
    return prior


def test_the_last_pose_comes_back_wider_by_its_age(
    route_map: RouteMap, matches: list[Match], tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "new folder" / "pose.json"
    assert recalled(path, route_map.info.fingerprint) is None
    kept = KeptPose(path)
    last = matches[-1]
    assert last.pose is not None
    kept.keep(last, route_map.info)
    for age in (0.0, 30.0, 3600.0):
        clock.now = 1_000_000.0 + age
        prior = told(path, route_map)
        assert prior.pose == last.pose
        assert (prior.map_name, prior.frame_id) == ("street", "map")
        grown = np.array(prior.covariance).reshape(6, 6) - np.array(last.covariance).reshape(6, 6)
        moved, turned = (MOVED_MPS * age) ** 2, (TURNED_RPS * age) ** 2
        np.testing.assert_allclose(grown, np.diag([moved] * 3 + [turned] * 3), atol=1e-9)
    clock.now = 999_000.0  # the clock was set back since
    unsure = np.array(told(path, route_map).covariance).reshape(6, 6)
    assert unsure[0, 0] >= (MOVED_MPS * UNKNOWN_AGE_S) ** 2


def test_it_is_written_now_and_then_and_at_the_end(
    route_map: RouteMap, matches: list[Match], tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "pose.json"
    kept = KeptPose(path)
    sure = [match for match in matches if match.pose is not None]
    written = []
    for match in sure[-4:]:
        kept.keep(match, route_map.info)
        written.append(told(path, route_map).pose)
        clock.now += 0.4 * EVERY_S
    first, last = sure[-4].pose, sure[-1].pose
    assert written == [first, first, first, last]
    clock.now -= 0.4 * EVERY_S
    kept.keep(sure[-2], route_map.info)
    assert told(path, route_map).pose == last
    kept.write()
    assert told(path, route_map).pose == sure[-2].pose
    path.unlink()
    kept.write()  # nothing is new
    assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_match_without_a_pose_keeps_nothing(
    route_map: RouteMap, tmp_path: Path, clock: Clock
) -> None:
    localizer = Localizer(ColourGridEmbedder(), route_map, Settings())
    lost = localizer.localize(Frame(smooth_scene(900), 1)).match
    assert lost.pose is None
    kept = KeptPose(tmp_path / "pose.json")
    kept.keep(lost, route_map.info)
    kept.write()
    assert list(tmp_path.iterdir()) == []


@given(st.one_of(st.text(), st.recursive(st.none() | st.floats() | st.text(), st.lists)))
def test_any_other_file_is_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    path = tmp_path_factory.mktemp("kept") / "pose.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(SaaneError, match="holds no pose of an earlier run: delete it"):
        recalled(path, "f")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("position", [1, 2]),
        ("position", [1, 2, "x"]),
        ("covariance", [float("nan")] * 36),
        ("time", None),
        ("orientation", {}),
    ],
)
def test_a_damaged_value_is_refused(
    route_map: RouteMap, matches: list[Match], tmp_path: Path, key: str, value: object
) -> None:
    path = tmp_path / "pose.json"
    KeptPose(path).keep(matches[-1], route_map.info)
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, key: value}))
    with pytest.raises(SaaneError, match="holds no pose"):
        recalled(path, route_map.info.fingerprint)


def test_a_pose_by_another_model_is_refused(
    route_map: RouteMap, matches: list[Match], tmp_path: Path
) -> None:
    path = tmp_path / "pose.json"
    KeptPose(path).keep(matches[-1], route_map.info)
    with pytest.raises(SaaneError, match="of map street of another model"):
        recalled(path, "other-weights")
