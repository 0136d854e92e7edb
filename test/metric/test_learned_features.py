"""SuperPoint, DISK, ALIKED and LightGlue with random weights against the libraries themselves."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from feature_files import extractor, matcher, published, write_card, write_checkpoint
from numpy.typing import NDArray
from safetensors.torch import load_file
from scenes import smooth_scene

from saane_ros.errors import SaaneError
from saane_ros.metric.features import MOST, PIXELS, Keypoints, RootSift, nearest
from saane_ros.metric.learned_features import MIDDLE, restored, stored
from saane_ros.metric.loading import load_features
from saane_ros.weights import feature_cards

SYSTEMS = ("superpoint", "disk", "aliked")
PACKAGES = {"superpoint": "transformers", "disk": "kornia", "aliked": "kornia"}


def textured(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(smooth_scene(seed, height, width) // 2 + noise, (3, 3), 0)


@torch.no_grad()
def by_the_library(system: str, image: NDArray[np.uint8]) -> tuple[NDArray, NDArray, NDArray]:
    """Keypoints (n, 2) in pixels, unit descriptors, scores; what the library says of an image."""
    network = extractor(system)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    if system == "superpoint":
        grey = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2GRAY)
        found = network(pixel_values=torch.from_numpy(grey)[None, None].expand(1, 3, -1, -1))
        there = found.mask[0].bool()
        xy = found.keypoints[0][there].numpy() * [image.shape[1], image.shape[0]]
        return xy, found.descriptors[0][there].numpy(), found.scores[0][there].numpy()
    found = network(pixels)[0]
    scores = found.detection_scores if system == "disk" else found.keypoint_scores
    return found.keypoints.numpy(), found.descriptors.numpy(), scores.numpy()


@pytest.mark.parametrize("system", SYSTEMS)
def test_keypoints_are_those_of_the_library(system: str, tmp_path: Path) -> None:
    features = load_features(str(write_card(tmp_path, system)), device="cpu", most=10**6)
    image = textured(3, 192, 256)
    found = features.extract(image)
    xy, unit, _ = by_the_library(system, image)
    assert len(found) == len(xy) > 50
    assert found.descriptors.shape == (len(xy), features.size)
    mine, theirs = np.lexsort(found.xy.T.round(2)), np.lexsort(xy.T.round(2))
    np.testing.assert_allclose(found.xy[mine], xy[theirs], atol=1e-3)
    expected = stored(unit)[theirs].astype(int)
    assert np.abs(found.descriptors[mine].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_large_image_is_shrunk_and_its_strongest_keypoints_are_told_in_its_pixels(
    system: str, tmp_path: Path
) -> None:
    features = load_features(str(write_card(tmp_path, system)), device="cpu", most=120)
    image = textured(4, 576, 768)  # both sides shrink by slightly different factors
    found = features.extract(image)
    assert len(found) == 120
    cell = {"superpoint": 8, "disk": 16, "aliked": 32}[system]
    shrink = (PIXELS / (576 * 768)) ** 0.5
    small = [cell * round(side * shrink / cell) for side in (768, 576)]
    xy, *_ = by_the_library(system, cv2.resize(image, small, interpolation=cv2.INTER_AREA))
    whole = (xy + 0.5) * [768 / small[0], 576 / small[1]] - 0.5
    apart = np.linalg.norm(found.xy[:, None] - whole[None], axis=2)
    assert apart.min(axis=1).max() < 1e-2
    itself = features.match(found, found, ratio=1.0).pairs
    assert (itself[:, 0] == itself[:, 1]).all()


@pytest.mark.parametrize("system", SYSTEMS)
def test_pairs_are_those_of_the_librarys_light_glue(system: str, tmp_path: Path) -> None:
    features = load_features(str(write_card(tmp_path, f"{system}-lightglue")), device="cpu")
    first, second = random_keypoints(features.size)
    pairs = features.match(first, second).pairs
    assert len(pairs) > 5
    for side in range(2):
        assert len(set(pairs[:, side].tolist())) == len(pairs)
    expected = pairs_by_the_library(system, first, second)
    assert sorted(map(tuple, pairs.tolist())) == sorted(expected)
    apart = first.descriptors[pairs[:, 0]].astype(float) - second.descriptors[pairs[:, 1]]
    told = features.match(first, second).distances
    np.testing.assert_allclose(told, np.sqrt((apart**2).sum(axis=1)), rtol=1e-5)
    few = Keypoints(second.xy[:60], second.descriptors[:60])
    some = features.match(first, few).pairs
    assert len(some) > 5
    assert some[:, 1].max() < 60
    none = Keypoints(first.xy[:0], first.descriptors[:0])
    assert len(features.match(none, second).pairs) == len(features.match(first, none).pairs) == 0


def random_keypoints(size: int) -> tuple[Keypoints, Keypoints]:
    """Ninety keypoints and the same in another order, a little elsewhere and a little changed."""
    rng = np.random.default_rng(5)
    xy = rng.uniform(0, [320, 240], (90, 2)).astype(np.float32)
    unit = rng.normal(size=(90, size))
    order = rng.permutation(90)
    other = unit[order] + rng.normal(scale=0.1, size=(90, size))
    both = [stored(one / np.linalg.norm(one, axis=1, keepdims=True)) for one in (unit, other)]
    return Keypoints(xy, both[0]), Keypoints(xy[order] + np.float32(2), both[1])


@torch.no_grad()
def pairs_by_the_library(system: str, *both: Keypoints) -> list[tuple[int, int]]:
    network = matcher(system)
    size = [int(value) + 1 for value in np.concatenate([one.xy for one in both]).max(axis=0)]
    xy = [torch.from_numpy(one.xy) for one in both]
    unit = [torch.from_numpy(restored(one.descriptors)) for one in both]
    if system == "superpoint":
        mask = torch.ones(1, 2, len(xy[0]), dtype=torch.int32)
        found = network._match_image_pair(
            torch.stack(xy)[None], torch.stack(unit)[None], size[1], size[0], mask=mask
        )[0][0, 0]
    else:
        images = [
            {"keypoints": a[None], "descriptors": b[None], "image_size": torch.tensor([size])}
            for a, b in zip(xy, unit, strict=True)
        ]
        found = network({"image0": images[0], "image1": images[1]})["matches0"][0]
    return [(i, int(j)) for i, j in enumerate(found.tolist()) if j >= 0]


def test_a_map_names_features_and_the_digest_of_their_weights(tmp_path: Path) -> None:
    path = write_card(tmp_path, "disk")
    features = load_features(str(path))
    name = re.fullmatch(rf"{re.escape(str(path))}@[0-9a-f]{{8}}", features.name)
    assert name
    assert load_features(features.name).name == features.name
    kept = extractor("disk").state_dict()
    kept[next(iter(kept))] += 1
    (tmp_path / "depth-save.pth.sha256").unlink()
    write_checkpoint(tmp_path / "depth-save.pth", kept)
    assert load_features(features.name).name != features.name
    for name in ("rootsift", "rootsift-corners"):
        sift = load_features(name)
        assert isinstance(sift, RootSift)
        assert sift.name == "rootsift-corners"
    assert len(load_features(most=30).extract(textured(1, 240, 320))) == 30 < MOST


def test_stored_descriptors_keep_their_distances() -> None:
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(50, 256))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    back = restored(stored(unit))
    assert np.abs(back - unit).max() < 0.003
    assert nearest(stored(unit), stored(back), 0.9, MIDDLE).pairs.tolist() == [
        [i, i] for i in range(50)
    ]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("key", ["extractor", "matcher"])
def test_weights_that_do_not_fill_a_network_are_refused(
    system: str, key: str, tmp_path: Path
) -> None:
    card = write_card(tmp_path, f"{system}-lightglue")
    network = extractor(system) if key == "extractor" else matcher(system)
    file = next(path for path in tmp_path.iterdir() if named(path, system, key))
    whole = published(network)
    name = sorted(whole)[-1]
    for tensors, told in (
        ({k: v for k, v in whole.items() if k != name}, "1 are missing, as "),
        ({**whole, "stem.weight": torch.ones(1)}, "1 are of another network, as stem.weight"),
        ({**whole, name: torch.ones(3, 3)}, ""),
    ):
        write_checkpoint(file, tensors)
        file.with_name(f"{file.name}.sha256").unlink(missing_ok=True)
        with pytest.raises(SaaneError, match="weights do not fit the") as caught:
            load_features(str(card), device="cpu")
        assert told in str(caught.value)


def named(path: Path, system: str, key: str) -> bool:
    """Whether a file is the one of that key."""
    glue = "lightglue" in path.name
    return path.suffix in (".pth", ".safetensors") and glue == (key == "matcher")


def test_code_in_weights_is_not_run(tmp_path: Path) -> None:
    card = write_card(tmp_path, "disk")
    torch.save({"extractor": extractor("disk")}, tmp_path / "depth-save.pth")
    with pytest.raises(SaaneError, match="was refused because it is damaged or reading it would"):
        load_features(str(card))


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_absent_package_is_told(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = write_card(tmp_path, system)
    monkeypatch.setitem(sys.modules, PACKAGES[system], None)
    package = PACKAGES[system]
    with pytest.raises(SaaneError, match=rf"need the package {package}.*saane_ros\[{package}\]"):
        load_features(str(card))


def test_a_shipped_card_takes_files_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of another package, whose digest nobody published; that of SuperPoint is held to."""
    card = write_card(tmp_path / "features", "superpoint")
    file = card.with_name("superpoint.safetensors").rename(tmp_path / "superpoint.safetensors")
    assert "encoder.conv_blocks.0.conv_a.weight" in load_file(file)
    with pytest.raises(SaaneError, match=r"superpoint\.safetensors has sha256 .* instead of"):
        load_features("superpoint", str(tmp_path), "cpu")
    monkeypatch.setattr(feature_cards, "models_folder", lambda: tmp_path)
    features = load_features("own-superpoint", str(tmp_path), "cpu")
    assert re.fullmatch(r"own-superpoint@[0-9a-f]{8}", features.name)
