"""Choosing a model for a road: how a drive is split, what is kept, and the rule of ranking."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.data.bags import BagWriter
from saane_ros.errors import SaaneError
from saane_ros.evaluation.drives.choosing import Trial, ranked
from saane_ros.evaluation.drives.kept import KeptEmbedder
from saane_ros.evaluation.drives.roads import LEFT_OUT, STRETCH, Road
from saane_ros.evaluation.speeds import Speed, known_speeds, remember_speeds
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Pose

COUNT = STRETCH * LEFT_OUT + 20
GAP = range(STRETCH * (LEFT_OUT - 1), STRETCH * LEFT_OUT)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drive of one road, without poses."""
    folder = tmp_path_factory.mktemp("road") / "day"
    folder.mkdir()
    for i in range(COUNT):
        cv2.imwrite(str(folder / f"{i}.png"), smooth_scene(i, 30, 40)[..., ::-1])
    return folder


def built(road: Road, out: Path) -> RouteMap:
    with ExitStack() as opened:
        frames, origin = road.map_frames(opened)
        return build_map(frames, ColourGridEmbedder(), out, origin=origin)


def test_a_split_drive_has_places_beside_every_query_and_none_in_the_gap(drive, tmp_path):
    road = Road(drive)
    route_map = built(road, tmp_path / "a.routemap")
    places = [int(Path(place.name).stem) for place in route_map.places]
    assert places == [i for i in range(0, COUNT, 2) if i not in GAP]
    with ExitStack() as opened:
        frames, truth, total = road.query_frames(route_map, opened)
        queries = list(frames)
    assert total == len(queries) == COUNT // 2
    assert not {int(Path(one.name).stem) for one in queries} & set(places)
    for one in queries:
        index, rows = int(Path(one.name).stem), truth.of(one).rows
        np.testing.assert_array_equal(one.image, smooth_scene(index, 30, 40))
        if index in GAP and index + 1 not in places:
            far = min(abs(index - place) for place in places) > 15
            assert (rows is not None and not len(rows)) if far else rows is None
        elif index - 1 in places and index + 1 in places:
            assert {places.index(index - 1), places.index(index + 1)} <= set(rows.tolist())
    off = [one.name for one in queries if truth.of(one).rows is not None]
    assert any(int(Path(name).stem) in GAP for name in off)


def test_a_posed_drive_is_judged_by_metres(drive, tmp_path):
    poses = tmp_path / "poses.csv"
    rows = [f"{i}.png,{2 * i},0,0" for i in range(COUNT)]
    poses.write_text("\n".join(["name,x,y,yaw", *rows]))
    road = Road(drive, poses=poses, every_metres=4.0)
    route_map = built(road, tmp_path / "a.routemap")
    assert [int(Path(p.name).stem) for p in route_map.places[:3]] == [0, 4, 8]
    with ExitStack() as opened:
        frames, truth, _ = road.query_frames(route_map, opened)
        queries = list(frames)
    assert [int(Path(one.name).stem) for one in queries[:3]] == [2, 6, 10]
    assert [one.travelled for one in queries[:3]] == [4.0, 12.0, 20.0]
    assert truth.of(queries[1]).rows.tolist()[0] == 0
    assert road.label != Road(drive, poses=poses, every_metres=6.0).label


def test_a_bag_is_split_by_its_poses(tmp_path):
    path = tmp_path / "day.mcap"
    with BagWriter(path) as bag:
        for i in range(12):
            bag.write_image("/camera", smooth_scene(i, 30, 40), i * 10**9)
            bag.write_pose("/pose", i * 10**9, Pose((3.0 * i, 0.0, 0.0)))
    with pytest.raises(SaaneError, match="give --pose-topic, or a second drive"):
        Road(path, image_topic="/camera").check()
    road = Road(path, image_topic="/camera", pose_topic="/pose")
    road.check()
    route_map = built(road, tmp_path / "a.routemap")
    assert [place.pose.position[0] for place in route_map.places] == [0, 6, 12, 18, 24, 30]
    with ExitStack() as opened:
        frames, truth, _ = road.query_frames(route_map, opened)
        queries = list(frames)
        assert [one.pose.position[0] for one in queries] == [3, 9, 15, 21, 27, 33]
        assert truth.of(queries[0]).rows.tolist()[:2] == [0, 1]


class Counting(ColourGridEmbedder):
    """Tells how many images it embedded, and stops after some of them."""

    def __init__(self, most: int = 1000) -> None:
        self.seen, self.most = 0, most

    def embed(self, images, attention=False, labels=False, grid=False):
        if self.seen == self.most:
            raise KeyboardInterrupt
        self.seen += len(images)
        return super().embed(images, attention, labels, grid)


def test_a_cut_drive_goes_on_with_the_same_bits(tmp_path):
    images = [smooth_scene(i, 30, 40) for i in range(6)]
    path = tmp_path / "one.kept"
    first = KeptEmbedder(Counting(most=4), path)
    with pytest.raises(KeyboardInterrupt):
        first.embed(images, grid=True)
    with path.open("ab") as stream:
        stream.write(b"half a row")
    again = Counting()
    found = KeptEmbedder(again, path).embed(images, grid=True)
    assert again.seen == 2
    for one, other in zip(found, ColourGridEmbedder().embed(images, grid=True), strict=True):
        np.testing.assert_array_equal(one.descriptor, other.descriptor)
        np.testing.assert_array_equal(one.grid, other.grid)
    kept = KeptEmbedder(Counting(most=0), path)
    assert kept.embed(images[:1])[0].grid is None
    kept.forget()
    assert not list(tmp_path.iterdir())


def trial(name: str, coverage: float, recall: float, wrong: int, ms: float = 10.0) -> Trial:
    return Trial(name, 100, recall, coverage, 1000, wrong, 0, Speed(ms, 50.0, "here"), 400, "m")


def test_the_rule_of_ranking():
    trials = [
        trial("bold", 0.99, 0.99, 80),
        trial("bolder", 0.99, 0.99, 120),
        trial("slow", 0.902, 0.95, 10, ms=90),
        trial("fast", 0.898, 0.95, 16, ms=9),
        trial("finds", 0.90, 0.97, 0, ms=900),
        trial("shy", 0.5, 0.99, 0),
    ]
    order = [one.model for one in ranked(trials, 0.01)]
    assert order == ["finds", "fast", "slow", "shy", "bold", "bolder"]
    # Of 1000 at one in a hundred, chance makes 10 +- 3.1; two deviations are allowed.
    assert trial("a", 0.9, 0.9, 16).keeps(0.01)
    assert not trial("a", 0.9, 0.9, 17).keeps(0.01)


def test_speeds_are_kept_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))
    assert known_speeds() == {}
    remember_speeds({"a": Speed(12.0, 30.0, "cpu")})
    remember_speeds({"b": Speed(3.0, None, "gpu"), "a": Speed(11.0, 30.0, "cpu")})
    assert known_speeds() == {"a": Speed(11.0, 30.0, "cpu"), "b": Speed(3.0, None, "gpu")}
    (tmp_path / "cache" / "speeds.json").write_text("[]")
    assert known_speeds() == {}
