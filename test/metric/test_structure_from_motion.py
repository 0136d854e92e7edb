from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from saane_ros.errors import SaaneError
from saane_ros.metric.cameras import PLUMB_BOB, camera_of
from saane_ros.metric.features import MOST_OF_MAP, Keypoints, RootSift
from saane_ros.metric.motion import motion, similarity
from saane_ros.simulation import Town, Traverse
from saane_ros.simulation.camera import Viewpoint, rotation_from_angles
from saane_ros.simulation.renderer import Renderer
from saane_ros.simulation.streets import LANE_M

pytest.importorskip("pycolmap")


def test_a_similarity_is_found_again() -> None:
    random = np.random.default_rng(0)
    here = random.normal(size=(20, 3))
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    scale, rotation, offset = similarity(here, 2.5 * here @ turn.T + [1.0, -2.0, 3.0])
    assert scale == pytest.approx(2.5)
    np.testing.assert_allclose(rotation, turn, atol=1e-9)
    np.testing.assert_allclose(offset, [1.0, -2.0, 3.0], atol=1e-9)


def test_a_drive_through_a_town_is_told_by_its_images(tmp_path: Path) -> None:
    traverse = Traverse(Town(2001, 60.0), "day", seed=1, lateral_m=-LANE_M)
    travelled = np.asarray(traverse.travelled)
    rows = [int(np.abs(travelled - at).argmin()) for at in np.arange(0.0, 30.0, 1.0)]
    frames = [traverse.render(row).frame() for row in rows]
    lens = traverse.camera
    camera = camera_of(
        lens.width, lens.height, PLUMB_BOB, lens.matrix.ravel().tolist(), (), "The town"
    )
    features = RootSift(MOST_OF_MAP)
    keypoints = [features.extract(frame.image) for frame in frames]
    size, unknown = (lens.height, lens.width), [None] * len(frames)
    found = motion(keypoints, size, camera, unknown, features, tmp_path)
    pairs = [(a, f.pose) for a, f in zip(found.poses, frames, strict=True) if a and f.pose]
    assert not found.scaled
    assert len(pairs) >= 0.8 * len(frames)
    here, there = (np.array([pose.position for pose in side]) for side in zip(*pairs, strict=True))
    scale, rotation, offset = similarity(here, there)
    errors = np.linalg.norm(scale * here @ rotation.T + offset - there, axis=1)
    assert float(np.sqrt((errors**2).mean())) < 0.5


@pytest.mark.parametrize(("same", "why"), [(True, "stood"), (False, "too little in common")])
def test_images_without_motion_say_so(same: bool, why: str, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    views = [
        Keypoints(
            random.uniform(0, 240, (100, 2)).astype(np.float32),
            random.integers(0, 255, (100, 128)).astype(np.uint8),
        )
        for _ in range(6)
    ]
    lens = camera_of(320, 240, PLUMB_BOB, (300, 0, 160, 0, 300, 120, 0, 0, 1), (), "It")
    shown = [views[0]] * 6 if same else views
    with pytest.raises(SaaneError, match=why):
        motion(shown, (240, 320), lens, [None] * 6, RootSift(), tmp_path)


@pytest.mark.parametrize("known", [True, False], ids=["intrinsics", "none"])
def test_a_camera_that_only_turns_says_so(known: bool, tmp_path: Path) -> None:
    traverse = Traverse(Town(2001, 60.0), "day", seed=1, lateral_m=-LANE_M)
    lens, features = traverse.camera, RootSift(MOST_OF_MAP)
    renderer = Renderer(traverse.town, traverse.light, 1, lens)
    stands = np.array([5.0, -LANE_M, 0.0])
    views = []
    for number in range(10):
        where = Viewpoint.on_body(stands, rotation_from_angles(0.08 * number, 0.0, 0.0))
        views.append(features.extract(renderer.render(where, [], number).image))
    k = lens.matrix.ravel().tolist()
    camera = camera_of(lens.width, lens.height, PLUMB_BOB, k, (), "The town") if known else None
    with pytest.raises(SaaneError, match="only turned on the spot"):
        motion(views, (lens.height, lens.width), camera, [None] * 10, features, tmp_path)
