from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from saane_ros.commands.map_by_motion import frames_by_motion
from saane_ros.data.images.folders import ImageFolder
from saane_ros.data.poses.transforms import IDENTITY
from saane_ros.errors import SaaneError
from saane_ros.metric.cameras import PLUMB_BOB, camera_of
from saane_ros.metric.features import MOST_OF_MAP, RootSift
from saane_ros.simulation import Town, Traverse
from saane_ros.simulation.streets import LANE_M

pytest.importorskip("pycolmap")


def test_images_of_a_folder_get_poses_of_even_steps(tmp_path: Path) -> None:
    traverse = Traverse(Town(2001, 60.0), "day", seed=1, lateral_m=-LANE_M)
    travelled = np.asarray(traverse.travelled)
    for number, at in enumerate(np.arange(0.0, 20.0, 1.0)):
        image = traverse.render(int(np.abs(travelled - at).argmin())).frame().image
        cv2.imwrite(str(tmp_path / f"{number:03d}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    lens = traverse.camera
    k = lens.matrix.ravel().tolist()
    camera = camera_of(lens.width, lens.height, PLUMB_BOB, k, (), "The town")
    folder, every = ImageFolder(tmp_path), (None, None)
    frames, _, count, note = frames_by_motion(folder, every, camera, None, RootSift(MOST_OF_MAP))
    poses = [frame.pose for frame in frames if frame.pose is not None]
    assert len(poses) == count >= 16
    assert poses[0].position == pytest.approx(IDENTITY.position, abs=1e-6)
    steps = np.linalg.norm(np.diff([pose.position for pose in poses], axis=0), axis=1)
    assert np.median(steps) == pytest.approx(1.0, rel=0.05)
    # Ahead is x.
    assert poses[-1].position[0] > 0.9 * steps.sum()
    assert f"{count} of 20 images" in note


def test_images_of_two_sizes_are_refused(tmp_path: Path) -> None:
    for number, side in enumerate((64, 96)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((64, side, 3), np.uint8))
    with pytest.raises(SaaneError, match="2 sizes"):
        frames_by_motion(ImageFolder(tmp_path), (None, None), None, None, RootSift())
