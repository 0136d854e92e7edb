from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import ColourGridEmbedder

from saane_ros.cli import main
from saane_ros.commands.map_by_motion import frames_by_motion, motion_folder
from saane_ros.data.bags import BagWriter
from saane_ros.data.images.folders import ImageFolder
from saane_ros.data.poses.transforms import IDENTITY
from saane_ros.embedding import loading
from saane_ros.errors import SaaneError
from saane_ros.metric.cameras import PLUMB_BOB, Camera, camera_of
from saane_ros.metric.features import MOST_OF_MAP, RootSift
from saane_ros.route_map.store import RouteMap
from saane_ros.simulation import Town, TownFrame, Traverse
from saane_ros.simulation.streets import LANE_M

pytest.importorskip("pycolmap")


@pytest.fixture(scope="module")
def drive() -> tuple[Camera, list[TownFrame]]:
    """A frame every metre of a street."""
    traverse = Traverse(Town(2001, 60.0), "day", seed=1, lateral_m=-LANE_M)
    travelled = np.asarray(traverse.travelled)
    lens = traverse.camera
    k = lens.matrix.ravel().tolist()
    camera = camera_of(lens.width, lens.height, PLUMB_BOB, k, (), "The town")
    rows = [int(np.abs(travelled - at).argmin()) for at in np.arange(0.0, 20.0, 1.0)]
    return camera, [traverse.render(row) for row in rows]


def test_images_of_a_folder_get_poses_of_even_steps(
    drive: tuple[Camera, list[TownFrame]], tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, shown in enumerate(drive[1]):
        cv2.imwrite(str(images / f"{number:03d}.png"), cv2.cvtColor(shown.image, cv2.COLOR_RGB2BGR))
    folder = ImageFolder(images)
    moved = frames_by_motion(
        folder.frames, 20, drive[0], None, RootSift(MOST_OF_MAP), tmp_path / "m.routemap"
    )
    poses = [frame.pose for frame in moved.frames if frame.pose is not None]
    assert len(poses) == moved.count >= 16
    assert poses[0].position == pytest.approx(IDENTITY.position, abs=1e-6)
    steps = np.linalg.norm(np.diff([pose.position for pose in poses], axis=0), axis=1)
    assert np.median(steps) == pytest.approx(1.0, rel=0.05)
    # Ahead is x.
    assert poses[-1].position[0] > 0.9 * steps.sum()
    assert f"{moved.count} of 20 images" in moved.note
    assert not moved.scaled


def test_images_of_two_sizes_are_refused(tmp_path: Path) -> None:
    for number, side in enumerate((64, 96)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((64, side, 3), np.uint8))
    folder = ImageFolder(tmp_path)
    with pytest.raises(SaaneError, match="2 sizes"):
        frames_by_motion(folder.frames, 2, None, None, RootSift(), tmp_path / "m.routemap")
    assert not motion_folder(tmp_path / "m.routemap").exists()


@pytest.fixture
def bag(
    drive: tuple[Camera, list[TownFrame]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The command for a bag of images, CameraInfo and Odometry of the same drive."""
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())
    camera, frames = drive
    k = np.reshape(camera.k, (3, 3)).tolist()
    with BagWriter(tmp_path / "bag") as writer:
        for shown in frames:
            stamp = shown.stamp_ns
            writer.write_image("/cam/image_raw", shown.image, stamp)
            writer.write_camera_info("/cam/camera_info", stamp, (camera.width, camera.height), k)
            writer.write_odometry("/odom", stamp, shown.pose, frame_id="map")
    call = ["map", "build", "--bag", str(tmp_path / "bag"), "--image-topic", "/cam/image_raw"]
    return [*call, "--structure-from-motion", "--out", str(tmp_path / "m.routemap")]


def test_a_bag_is_told_by_its_images_in_metres_by_its_odometry(
    bag: list[str],
    drive: tuple[Camera, list[TownFrame]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mount = ["--pose-topic", "/odom", "--camera-pose", "0 0 1.5 0 0 0"]
    assert main([*bag, *mount, "--metric"]) == 0
    told = capsys.readouterr().out
    assert "20 of 20 images got a pose by structure from motion (in metres" in told
    route_map = RouteMap.open(tmp_path / "m.routemap")
    truth = {shown.stamp_ns: shown.pose for shown in drive[1]}
    for place in route_map.places:
        assert place.pose is not None
        off = np.subtract(place.pose.position, truth[place.stamp_ns].position)
        assert np.linalg.norm(off) < 0.3
    assert route_map.points is not None
    assert not motion_folder(tmp_path / "m.routemap").exists()


def test_what_ctrl_c_interrupts_goes_on_where_it_was(
    bag: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the keypoints, in the matches, and while poses are searched for."""
    counts = {"extract": 0, "match": 0}
    limits = {"extract": 8, "match": 30}
    for name in counts:
        own = getattr(RootSift, name)

        def cut(self: RootSift, *given: object, own=own, name: str = name) -> object:
            counts[name] += 1
            if counts[name] == limits.get(name):
                raise KeyboardInterrupt
            return own(self, *given)

        monkeypatch.setattr(RootSift, name, cut)
    assert main(bag) != 0
    assert (counts, motion_folder(tmp_path / "m.routemap").is_dir()) == (
        {"extract": 8, "match": 0},
        True,
    )
    assert main(bag) != 0
    assert counts == {"extract": 7 + 1 + 13, "match": 30}

    with monkeypatch.context() as patch:
        patch.setattr("saane_ros.metric.motion.progress", _cut_poses)
        assert main(bag) != 0
    pairs = sum(20 - step for step in (1, 2, 3, 4, 6, 8))
    assert counts == {"extract": 21, "match": pairs + 1}
    assert main(bag) == 0
    assert counts == {"extract": 21, "match": pairs + 1}
    assert RouteMap.open(tmp_path / "m.routemap").info.count >= 16
    assert not motion_folder(tmp_path / "m.routemap").exists()


class _Cut:
    """A bar whose fifth step is interrupted."""

    def __init__(self) -> None:
        self.steps = 0

    def __enter__(self) -> _Cut:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.steps == 5

    def update(self) -> None:
        self.steps += 1
        if self.steps == 5:
            raise KeyboardInterrupt


def _cut_poses(items: range, what: str, **_: object) -> Iterator[int] | _Cut:
    return _Cut() if what == "poses" else iter(items)
