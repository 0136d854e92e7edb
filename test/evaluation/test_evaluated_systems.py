"""Models, descriptor files and recorded scores as rows; descriptors that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.data.datasets import Dataset, open_datasets
from saane_ros.embedding.untrained import find_trunk, load_untrained
from saane_ros.errors import SaaneError
from saane_ros.evaluation.descriptors import BATCH, describe
from saane_ros.evaluation.model_specs import open_system
from saane_ros.evaluation.systems import (
    DescriptorSystem,
    InputSize,
    RecordedSystem,
    distinct_names,
    recorded_systems,
)
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.types import Embedding, Rgb


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "descriptors"


@pytest.fixture
def scenes(tmp_path: Path) -> Dataset:
    """Eleven places twice, the second time darker."""
    for side, gain in (("ref", 1.0), ("query", 0.6)):
        (tmp_path / "scenes" / side).mkdir(parents=True)
        for number in range(11):
            image = (smooth_scene(number, 60, 80) * gain).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "scenes" / side / f"{number}.png"), image[..., ::-1])
    return open_datasets(str(tmp_path / "scenes"))[0]


@pytest.fixture
def trunk_file(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    trunk = ResNetTrunk("resnet18").eval()
    path = tmp_path / "weights" / "resnet18_random.safetensors"
    path.parent.mkdir()
    save_file({k: v.contiguous() for k, v in trunk.state_dict().items()}, path)
    return path


class Stopping(ColourGridEmbedder):
    """Ends with an error after some images, and counts what it was given."""

    def __init__(self, stop_after: int) -> None:
        self.given, self.stop_after = 0, stop_after

    def embed(
        self,
        images: Sequence[Rgb],
        attention: bool = False,
        labels: bool = False,
        grid: bool = False,
    ) -> list[Embedding]:
        if self.given + len(images) > self.stop_after:
            raise KeyboardInterrupt
        self.given += len(images)
        return super().embed(images, attention, labels, grid)


def test_descriptors_are_kept_and_a_cut_run_goes_on(scenes: Dataset, own_cache: Path) -> None:
    first = Stopping(BATCH)
    with pytest.raises(KeyboardInterrupt):
        describe(first, "x", scenes.queries, "queries")
    second = Stopping(100)
    described = describe(second, "x", scenes.queries, "queries")
    assert (first.given, second.given) == (8, 3)
    expected = [
        ColourGridEmbedder().embed([scenes.queries.read(i)])[0].descriptor for i in range(11)
    ]
    np.testing.assert_array_equal(described.descriptors, np.stack(expected))
    third = Stopping(0)
    again = describe(third, "x", scenes.queries, "queries")
    np.testing.assert_array_equal(again.descriptors, described.descriptors)
    assert again.milliseconds == described.milliseconds
    assert describe(Stopping(100), "y", scenes.queries, "queries").milliseconds is not None
    assert len(list(own_cache.glob("*.f32"))) == 2


def test_half_a_written_row_is_written_again(scenes: Dataset, own_cache: Path) -> None:
    described = describe(ColourGridEmbedder(), "x", scenes.queries, "queries")
    (file,) = own_cache.glob("*.f32")
    file.write_bytes(file.read_bytes()[: 4 * 72 * 5 + 10])
    again = describe(ColourGridEmbedder(), "x", scenes.queries, "queries")
    np.testing.assert_array_equal(again.descriptors, described.descriptors)


def test_changed_images_are_described_again(scenes: Dataset) -> None:
    before = describe(ColourGridEmbedder(), "x", scenes.queries, "queries").descriptors
    path = scenes.queries.paths[0]  # type: ignore[attr-defined]
    cv2.imwrite(str(path), smooth_scene(99, 64, 80))
    after = describe(ColourGridEmbedder(), "x", scenes.queries, "queries").descriptors
    assert not np.allclose(before[0], after[0])
    np.testing.assert_array_equal(before[1:], after[1:])


def test_an_unreadable_image_is_named(scenes: Dataset) -> None:
    scenes.queries.paths[9].write_bytes(b"no image")  # type: ignore[attr-defined]
    with pytest.raises(SaaneError, match=r"9\.png is no whole image"):
        describe(ColourGridEmbedder(), "x", scenes.queries, "queries")


def test_a_cache_that_cannot_be_written_is_told(
    scenes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "file"))
    with pytest.raises(SaaneError, match="free space or set SAANE_CACHE"):
        describe(ColourGridEmbedder(), "x", scenes.queries, "queries")


def test_a_full_disk_is_told(scenes: Dataset, own_cache: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    describe(ColourGridEmbedder(), "x", scenes.queries, "queries")
    (file,) = own_cache.glob("*.f32")
    file.unlink()
    file.symlink_to("/dev/full")
    with pytest.raises(SaaneError, match="No space left on device"):
        describe(ColourGridEmbedder(), "x", scenes.queries, "queries")


def test_the_untrained_trunk_pools_its_features(trunk_file: Path) -> None:
    embedder = load_untrained("trunk:resnet18:max", str(trunk_file.parent), "cpu")
    assert embedder.descriptor_size == 256 * 30
    image = smooth_scene(5, 224, 224)
    descriptor = embedder.embed([image])[0].descriptor
    assert np.linalg.norm(descriptor) == pytest.approx(10, rel=1e-5)
    pixels = embedder.preprocessing([image], torch.device("cpu"))
    with torch.no_grad():
        features = embedder.network.appearance(pixels).stride16[0].numpy()
    highest = features.max(axis=(1, 2))
    np.testing.assert_allclose(
        descriptor[-256:] / descriptor[-256], highest / highest[0], rtol=1e-4
    )
    average = load_untrained("trunk:resnet18:avg", str(trunk_file), "cpu")
    assert average.fingerprint != embedder.fingerprint


def test_unknown_and_missing_trunks_are_told(tmp_path: Path, trunk_file: Path) -> None:
    with pytest.raises(SaaneError, match="trunk of resnet18, resnet50, resnet50_msra"):
        load_untrained("trunk:vgg:max")
    with pytest.raises(SaaneError, match=r"No weights of the trunk resnet50 .*--weights"):
        load_untrained("trunk:resnet50:max", str(trunk_file.parent))
    with pytest.raises(SaaneError, match="does not fit"):
        load_untrained("trunk:resnet50:max", str(trunk_file))


def test_a_trunk_is_found_by_the_beginning_of_its_name(tmp_path: Path) -> None:
    for name in ("resnet50_msra_layer3.fp16.safetensors", "resnet50-0676ba61.pth"):
        (tmp_path / name).touch()
    assert find_trunk("resnet50", str(tmp_path)).name == "resnet50-0676ba61.pth"
    assert find_trunk("resnet50_msra", str(tmp_path)).name.startswith("resnet50_msra")


def test_a_model_finds_the_same_scenes(scenes: Dataset, trunk_file: Path) -> None:
    weights = str(trunk_file.parent)
    system = open_system("trunk:resnet18:avg", weights, "cpu", size=InputSize(64, 80))
    search = system.search(scenes)
    assert search.resolution == "64x80"
    assert search.descriptor_bytes == 4 * 7680
    assert search.embed_ms is not None
    assert (search.distances.argmin(axis=1) == np.arange(11)).mean() > 0.8
    other = open_system("trunk:resnet18:avg:std", weights, "cpu", size=InputSize(longer=100))
    assert other.name == "trunk:resnet18:avg:std"
    assert other.search(scenes).resolution == "80x96"


def test_descriptor_files_are_searched(scenes: Dataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    references = rng.normal(size=(11, 5)).astype(np.float32)
    queries = references + 0.01
    np.savez(tmp_path / "mine.npz", queries=queries, references=references)
    np.save(tmp_path / "all.npy", np.concatenate([references, queries]))
    searches = [
        open_system(str(tmp_path / name)).search(scenes) for name in ("mine.npz", "all.npy")
    ]
    np.testing.assert_array_equal(searches[0].distances, searches[1].distances)
    np.testing.assert_allclose(np.diag(searches[0].distances), 0.01 * np.sqrt(5), rtol=1e-3)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"queries": np.zeros((3, 4)), "references": np.zeros((11, 4))}, r"shape \(3, 4\)"),
        ({"queries": np.zeros((11, 4)), "references": np.zeros((11, 5))}, "4 and 5 dimensions"),
        ({"queries": np.full((11, 4), np.nan), "references": np.zeros((11, 4))}, "not finite"),
        ({"other": np.zeros(3)}, "needs `queries` and `references`"),
        ({"similarity": np.zeros((3, 11))}, r"scores of .* have shape \(3, 11\)"),
    ],
)
def test_files_of_another_dataset_are_refused(
    arrays: dict[str, np.ndarray], told: str, scenes: Dataset, tmp_path: Path
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(SaaneError, match=told):
        open_system(str(tmp_path / "x.npz")).search(scenes)


def test_a_file_with_objects_is_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(SaaneError, match="no readable"):
        open_system(str(tmp_path / "x.npy"))
    (tmp_path / "y.npz").write_bytes(b"PK nothing")
    with pytest.raises(SaaneError, match="no readable"):
        open_system(str(tmp_path / "y.npz"))


def test_cosines_order_ratios_as_their_vectors_do(scenes: Dataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(2, 11, 8))]
    np.savez(tmp_path / "cos.npz", similarity=unit[0] @ unit[1].T, encode_s=0.5)
    np.savez(tmp_path / "vec.npz", queries=unit[0], references=unit[1])
    recorded = RecordedSystem(tmp_path / "cos.npz").search(scenes)
    vectors = DescriptorSystem(tmp_path / "vec.npz").search(scenes)
    np.testing.assert_allclose(2 * recorded.distances, vectors.distances**2, atol=1e-5)
    assert recorded.embed_ms == 500


def test_folders_of_scores_and_names_that_clash(scenes: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "peers" / "scenes"
    folder.mkdir(parents=True)
    for name in ("b", "a"):
        np.savez(folder / f"{name}.npz", similarity=np.eye(11))
    for given in (folder, folder.parent):
        assert [system.name for system in recorded_systems(given, scenes)] == ["a", "b"]
    with pytest.raises(SaaneError, match="Two models of the table are called a"):
        distinct_names(recorded_systems(folder, scenes)[:1] * 2)
    with pytest.raises(SaaneError, match="no recorded scores"):
        recorded_systems(tmp_path / "scenes", scenes)
    assert recorded_systems(folder.parent, replace(scenes, name="elsewhere")) == []


def test_a_card_is_unknown_by_name() -> None:
    with pytest.raises(SaaneError, match="There is no model"):
        open_system("no-such-model:std")
