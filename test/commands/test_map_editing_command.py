"""`saane map crop`, `merge`, `info --plot`, and a map of a RobotCar bag, as a person calls them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from robotcar_world import write_world
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.cli import main
from saane_ros.embedding import loading
from saane_ros.geodesy import to_utm
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.store import RouteMap
from saane_ros.simulation import robotcar_layout as layout
from saane_ros.types import Frame, Pose


@pytest.fixture(autouse=True)
def _fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    """Two drives of 20 places, the second half a lane aside and ten places on."""
    paths = []
    for name, start in (("noon", 0), ("dusk", 10)):
        frames = [
            Frame(
                smooth_scene(100 * start + i),
                10**9 * i,
                f"{i}",
                Pose((2.0 * (start + i), start / 10, 0)),
            )
            for i in range(20)
        ]
        paths.append(
            str(build_map(frames, ColourGridEmbedder(), tmp_path / f"{name}.routemap").path)
        )
    return paths


def test_merge_crop_and_plot(
    two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both, part = str(tmp_path / "both.routemap"), str(tmp_path / "part.routemap")
    assert main(["map", "merge", *two, "--out", both]) == 0
    told = capsys.readouterr().out
    assert "40, 58.0 m along the route" in told
    assert "20 places, 38.0 m, usually 2.00 m apart" in told
    merged = RouteMap.open(both)
    names = [place.name for place in merged.places]
    assert names[:10] == [f"noon/{i}" for i in range(10)]
    assert set(names[10:12]) == {"noon/10", "dusk/0"}
    assert names[-10:] == [f"dusk/{i}" for i in range(10, 20)]

    assert main(["map", "crop", both, "--metres", "0:18", "--out", part]) == 0
    assert len(RouteMap.open(part).places) == 10
    assert main(["map", "crop", both, "--places", "0:3", "--out", part]) == 0
    assert [place.name for place in RouteMap.open(part).places] == names[:3]

    capsys.readouterr()
    plot = tmp_path / "plots" / "route.png"
    assert main(["map", "info", both, "--plot", str(plot)]) == 0
    assert f"wrote {plot}" in capsys.readouterr().out
    assert cv2.imread(str(plot)).shape == (900, 1200, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["crop", "NOON", "--metres", "5:2"], "give a first end from 0 on"),
        (["crop", "NOON", "--places", "a:b"], "give two numbers as A:B"),
        (["crop", "NOON", "--metres", "500:900"], "nothing lies within 500 to 900 m of 38.0 m"),
        (["merge", "NOON"], "needs two maps"),
        (["merge", "NOON", "absent"], "There is no route map at absent"),
    ],
)
def test_wrong_calls_are_told(
    two: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    call: list[str],
    message: str,
) -> None:
    given = [two[0] if word == "NOON" else word for word in call]
    assert main(["map", *given, "--out", str(tmp_path / "m")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "m").exists()


def test_a_robotcar_bag_becomes_a_map_with_its_place_on_earth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = write_world(tmp_path / "2014-12-09-13-21-02", seconds=2)
    bag, out = tmp_path / "bag", tmp_path / "m.routemap"
    assert main(["robotcar", "to-bag", str(world.traversal), "--out", str(bag)]) == 0
    call = ["map", "build", "--bag", str(bag), "--out", str(out)]
    call += ["--image-topic", "/stereo/centre/image_raw/compressed"]
    assert main([*call, "--pose-topic", "/ground_truth/odometry"]) == 0
    assert "axes of utm_30N" in capsys.readouterr().out
    route_map = RouteMap.open(out)
    assert route_map.info.grid == "utm_30N"
    latitude, longitude, altitude = route_map.info.origin
    east, north, *_ = to_utm(latitude, longitude)
    assert len(route_map.places) == len(world.stamps)
    for place, stamp, truth in zip(route_map.places, world.stamps, world.poses, strict=True):
        assert place.stamp_ns == stamp
        expected = np.add(truth.position, layout.ZERO) - (east, north, altitude)
        np.testing.assert_allclose(place.pose.position, expected, atol=2e-3)

    # The same drive by its GPS fixes lies in the plane, elsewhere turned by the grid's convergence.
    assert main([*call, "--pose-topic", "/gps/fix"]) == 0
    assert RouteMap.open(out).info.grid == "enu"
