"""The body of a map's poses from bag to map to another vehicle's poses, by the command line."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from rigid import matrix
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.cli import main
from saane_ros.data.bags import BagReader, BagWriter
from saane_ros.data.bags.mounts import body_of, camera_on
from saane_ros.data.poses.files import read_poses, yaw_quaternion
from saane_ros.data.poses.transforms import OPTICAL, compose
from saane_ros.embedding import loading
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Pose

S = 10**9
PLACES = 24
ON_ROOF = Pose((1.5, 0.0, 1.8), yaw_quaternion(0.1))
AT_REAR = Pose((-0.4, 0.1, 0.8), yaw_quaternion(math.pi))
CHASSIS = Pose((0.0, 0.0, 0.3))


@pytest.fixture(autouse=True)
def _fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())


def body_at(place: int) -> Pose:
    return Pose((2.0 * place, 5.0, 0.0), yaw_quaternion(0.02 * place))


def drive(path: Path, mount: Pose | None, child: str = "base_link") -> Path:
    """Images and odometry of a drive; the mount in two transforms, through a chassis."""
    with BagWriter(path) as bag:
        if mount is not None:
            bag.write_static_transform(S, CHASSIS, "/base_link", "chassis")
            on_chassis = compose(Pose((0.0, 0.0, -0.3)), compose(mount, OPTICAL))
            bag.write_static_transform(S, on_chassis, "chassis", "camera")
        for place in range(PLACES):
            stamp = (place + 1) * S
            bag.write_odometry("/odom", stamp, body_at(place), child_frame_id=child)
            bag.write_fix("/fix", stamp, 51.0 + 1e-5 * place, -1.0, 80.0)
            bag.write_pose("/pose", stamp, body_at(place))
            bag.write_image("/image", smooth_scene(place), stamp)
    return path


def build(tmp_path: Path, bag: Path, *more: str) -> RouteMap:
    call = ["map", "build", "--bag", str(bag), "--image-topic", "/image", "--pose-topic", "/odom"]
    assert main([*call, "--out", str(tmp_path / "m.routemap"), *more]) == 0
    return RouteMap.open(tmp_path / "m.routemap")


def test_a_bag_tells_whose_poses_it_holds(tmp_path: Path) -> None:
    with BagReader(drive(tmp_path / "bag", ON_ROOF)) as bag:
        assert [body_of(bag, topic) for topic in ("/odom", "/fix", "/pose")] == [
            "base_link",
            "gps",
            "",
        ]
        found = camera_on(bag, "/image", "base_link")
        assert found is not None
        np.testing.assert_allclose(matrix(found), matrix(ON_ROOF), atol=1e-9)
        assert camera_on(bag, "/image", "gps") is None
        assert camera_on(bag, "/image", "") is None
    with BagReader(drive(tmp_path / "bare", None)) as bag:
        assert camera_on(bag, "/image", "base_link") is None


@pytest.mark.parametrize("by", ["tf", "setting"])
def test_another_vehicle_is_told_by_its_own_mount(
    tmp_path: Path, by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    route_map = build(tmp_path, drive(tmp_path / "day", ON_ROOF))
    told = capsys.readouterr().out
    assert "body         base_link, camera at 1.500 0.000 1.800 m, turned by 0.0000 " in told
    assert route_map.info.body == "base_link"
    night = drive(tmp_path / "night", AT_REAR if by == "tf" else None)
    out = tmp_path / "poses.tum"
    call = ["localize", "--map", str(route_map.path), "--bag", str(night), "--image-topic"]
    call += ["/image", "--out", str(tmp_path / "m.csv"), "--poses-out", str(out)]
    if by == "setting":
        call += ["--set", "camera_pose=-0.4 0.1 0.8 0 0 3.141592653589793"]
    assert main(call) == 0
    assert "Nothing tells" not in capsys.readouterr().err
    table = read_poses(out)
    assert len(table.poses) > 10
    for stamp, pose in zip(table.stamps_ns, table.poses, strict=True):
        place = stamp // S - 1
        camera = matrix(body_at(place)) @ matrix(ON_ROOF)
        expected = camera @ np.linalg.inv(matrix(AT_REAR))
        assert pose.position == pytest.approx(expected[:3, 3].tolist(), abs=1.0)
        # Its own camera looks back: it stands the other way round than the mapping vehicle stood.
        assert float((matrix(pose)[:3, :3] @ expected[:3, :3].T).trace()) == pytest.approx(
            3, abs=0.1
        )


def test_a_mount_that_nobody_tells_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = drive(tmp_path / "bare", None)
    route_map = build(tmp_path, bare, "--base-frame", "rear_axle", "--camera-pose", "0 0 0 0 0 0")
    assert route_map.info.camera == Pose((0, 0, 0))
    assert route_map.info.body == "rear_axle"
    capsys.readouterr()
    call = ["localize", "--map", str(route_map.path), "--bag", str(bare), "--image-topic", "/image"]
    assert main([*call, "--out", str(tmp_path / "m.csv")]) == 0
    told = (
        "saane: Nothing tells where the camera sits on base_link, so poses are those of rear_axle "
        "as in the map: record /tf_static from it to the frame of /image, or set camera_pose."
    )
    assert capsys.readouterr().err.count(told) == 1
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "1.png"), smooth_scene(3))
    call = ["localize", "--map", str(route_map.path), "--images", str(photos)]
    assert main([*call, "--out", str(tmp_path / "m.csv")]) == 0
    assert "as in the map: set camera_pose." in capsys.readouterr().err
    assert main([*call, "--out", str(tmp_path / "m.csv"), "--set", "base_frame="]) == 0
    assert "Nothing tells" not in capsys.readouterr().err


def test_a_mount_of_photos_is_given_and_a_wrong_one_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for place in range(12):
        cv2.imwrite(
            str(photos / f"@{500_000 + 2 * place}@{5_700_000}@{place}@.png"), smooth_scene(place)
        )
    call = ["map", "build", "--images", str(photos), "--out", str(tmp_path / "m.routemap")]
    assert main([*call, "--camera-pose", "1 2 3"]) == 1
    assert "give six numbers" in capsys.readouterr().err
    assert main([*call, "--camera-pose", "1,0,2,0,0,0", "--base-frame", "car"]) == 0
    info = RouteMap.open(tmp_path / "m.routemap").info
    assert (info.body, info.camera) == ("car", Pose((1.0, 0.0, 2.0)))
    assert main(call) == 0
    assert "body         unknown, camera mount unknown" in capsys.readouterr().out
