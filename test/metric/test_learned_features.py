"""SuperPoint and LightGlue with random weights: shapes, places, uint8, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scenes import smooth_scene

from saane_ros.errors import SaaneError
from saane_ros.metric.features import nearest
from saane_ros.metric.learned_features import MIDDLE, SuperPoint, restored, stored

transformers = pytest.importorskip("transformers", reason="the extra transformers is absent")

CONFIG = {
    "encoder_hidden_sizes": [8, 8, 8, 8],
    "decoder_hidden_size": 16,
    "keypoint_decoder_dim": 65,
    "descriptor_decoder_dim": 16,
    "keypoint_threshold": 0.0,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("models")
    config = transformers.SuperPointConfig(**CONFIG)
    transformers.SuperPointForKeypointDetection(config).save_pretrained(root / "points")
    glue = transformers.LightGlueConfig(
        keypoint_detector_config=config,
        descriptor_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        filter_threshold=0.0,
    )
    transformers.LightGlueForKeypointMatching(glue).save_pretrained(root / "glue")
    return root / "points", root / "glue"


def test_keypoints_lie_in_the_image_and_match_themselves(folders: tuple[Path, Path]) -> None:
    features = SuperPoint(folders[0], most=60)
    found = features.extract(smooth_scene(3, 96, 128))
    assert len(found) == 60
    assert found.descriptors.shape == (60, features.size) == (60, 16)
    assert (found.xy >= -0.5).all()
    assert (found.xy < [128, 96]).all()
    pairs = features.match(found, found, ratio=1.0).pairs
    assert (pairs[:, 0] == pairs[:, 1]).all()


def test_light_glue_pairs_no_keypoint_twice(folders: tuple[Path, Path]) -> None:
    features = SuperPoint(*folders, most=40)
    first = features.extract(smooth_scene(3, 96, 128))
    second = features.extract(smooth_scene(4, 96, 160))
    pairs = features.match(first, second).pairs
    assert len(pairs) > 0
    assert pairs[:, 1].max() < len(second)
    for side in range(2):
        assert len(set(pairs[:, side].tolist())) == len(pairs)


def test_stored_descriptors_keep_their_distances() -> None:
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(50, 256))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    back = restored(stored(unit))
    assert np.abs(back - unit).max() < 0.003
    assert nearest(stored(unit), stored(back), 0.9, MIDDLE).pairs.tolist() == [
        [i, i] for i in range(50)
    ]


def test_what_cannot_be_loaded_is_told(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SaaneError, match=r"lacks config\.json or model\.safetensors"):
        SuperPoint(tmp_path)
    with pytest.raises(SaaneError, match="holds a lightglue model: give a superpoint"):
        SuperPoint(folders[1])
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folders[0] / name).read_bytes()[:40])
    with pytest.raises(SaaneError, match="cannot be loaded as a superpoint"):
        SuperPoint(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SaaneError, match="need the package transformers"):
        SuperPoint(folders[0])
