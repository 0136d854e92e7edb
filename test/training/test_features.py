"""Features that are streamed through the trunks, against those of the cache and plain calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scenes import smooth_scene
from training_trees import (
    EMBEDDING,
    run_of,
    write_config,
    write_sped,
    write_street,
    write_weights,
)

from saane_ros.cli import main
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.heads import HeadSizes, build_head
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.semantics import LightPspNet
from saane_ros.training.features import (
    FeatureCache,
    StreamedFeatures,
    chosen_features,
    in_turn,
)
from saane_ros.training.initialisation import cell_moments
from saane_ros.training.places import frozen_features, training_views
from saane_ros.training.reading_ahead import MOST_READERS, ReadAhead
from saane_ros.training.sampling import ClassBatchSampler
from saane_ros.types import Rgb

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
BIG = 10**15


class Pictures:
    """Scenes of several sizes. asked: the images in the order in which they were read."""

    key = "pictures"

    def __init__(self, count: int = 40, in_order: bool = False) -> None:
        self.count, self.in_order = count, in_order
        self.asked: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Rgb:
        assert self.gate.wait(60)
        self.asked.append(index)
        return smooth_scene(index % 7, 30 + index % 3, 40)


def network(semantics: bool = True) -> SaaneNetwork:
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", width=8)
    segmentation = LightPspNet(trunk.channels8, trunk.channels16, 8, 3) if semantics else None
    sizes = HeadSizes(c_a=trunk.channels16, c_s=8, channels=8, reduction=4)
    return SaaneNetwork(trunk, segmentation, build_head("saane" if semantics else "app", sizes))


def streamed(images: Pictures, semantics: bool = True) -> StreamedFeatures:
    return StreamedFeatures(network(semantics), Preprocessing(32, 48), images)


@pytest.mark.parametrize("semantics", [True, False])
def test_the_same_batches_have_the_same_features(tmp_path: Path, semantics: bool) -> None:
    stream = streamed(Pictures(70), semantics)
    cache = chosen_features(stream, tmp_path, "features", "cache")
    assert isinstance(cache, FeatureCache)
    random = np.random.default_rng(0)
    batches = [random.integers(0, 70, 20) for _ in range(3)]
    for batch, following in zip(batches, [*batches[1:], batches[0]], strict=True):
        stream.expect(following)
        kept = cache.batch(batch, CPU)
        found = stream.batch(batch, CPU)
        pixels = stream.preprocessing([stream.images.read(int(i)) for i in batch], CPU)
        plain = stream.network.trunk_features(pixels)
        for own, cached, naive in zip(found, kept, plain[:2], strict=True):
            if not semantics and own is None:
                assert cached is naive is None
                continue
            assert own.dtype == torch.float32
            assert not own.requires_grad
            assert float(own.std()) > 1e-3
            torch.testing.assert_close(own, cached, rtol=2**-10, atol=1e-5)
            torch.testing.assert_close(own, naive, rtol=1e-4, atol=1e-6)


def test_a_cut_cache_goes_on_and_ends_as_one_that_was_not(tmp_path: Path) -> None:
    pictures = Pictures(200)
    chosen_features(streamed(pictures), tmp_path / "whole", "features", "cache")
    plain_read = pictures.read

    def broken(index: int) -> Rgb:
        if index == 150:
            raise SaaneError("The image 150 is cut off.")
        return plain_read(index)

    pictures.read = broken  # type: ignore[method-assign]
    with pytest.raises(SaaneError, match="150 is cut off"):
        chosen_features(streamed(pictures), tmp_path / "cut", "features", "cache")
    pictures.read = plain_read  # type: ignore[method-assign]
    pictures.asked.clear()
    chosen_features(streamed(pictures), tmp_path / "cut", "features", "cache")
    assert min(pictures.asked) == 64
    files = sorted((tmp_path / "whole").rglob("*.*"))
    assert [file.name for file in files] == ["appearance.npy", "done.json", "semantic.npy"]
    for file in files:
        other = tmp_path / "cut" / file.relative_to(tmp_path / "whole")
        assert file.read_bytes() == other.read_bytes()


def disk_of(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))


def test_auto_takes_the_cache_where_it_fits_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = streamed(Pictures())
    size = sum(2 * int(np.prod(shape)) for shape in stream.shapes().values())

    def choice(first: bool = True) -> tuple[bool, str]:
        found = chosen_features(stream, tmp_path, "views", "auto", first)
        told = capsys.readouterr().err.splitlines()
        return isinstance(found, FeatureCache), "".join(x for x in told if ", as " in x)

    disk_of(monkeypatch, size)
    assert choice()[0] is False
    assert choice()[1].startswith("views: streamed, as a cache takes")
    disk_of(monkeypatch, BIG)
    assert choice(first=False) == (False, "")
    cached, line = choice()
    assert cached
    assert "views: cached, as a cache takes 0.0 GB more and its disk has 1000000.0 GB free" in line
    disk_of(monkeypatch, 0)
    assert choice(first=False) == (True, "")
    assert choice()[1].endswith("is complete")


def test_a_cache_that_was_asked_for_and_does_not_fit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_of(monkeypatch, 0)
    with pytest.raises(SaaneError, match=r"needs .* GB and its disk has 0.0 GB.*features: stream"):
        chosen_features(streamed(Pictures()), tmp_path, "views", "cache")
    assert chosen_features(streamed(Pictures()), tmp_path, "views", "stream").batch_size == 64


def test_no_more_than_the_next_batch_is_read_ahead() -> None:
    pictures = Pictures(400)
    seen = 0
    for indices, _ in in_turn(streamed(pictures, semantics=False), CPU):
        seen += len(indices)
        assert seen <= len(pictures.asked) <= seen + 64
    assert sorted(pictures.asked) == list(range(400))


def test_batches_that_nobody_came_for_are_given_up() -> None:
    pictures = Pictures(300)
    reader = ReadAhead(pictures, Preprocessing(8, 8).resize)
    parts = np.split(np.arange(300), 3)
    pictures.gate.clear()
    for part in parts:
        reader.expect(part)
        reader.expect(part)
    pictures.gate.set()
    for part in parts[1:]:
        for index, image in zip(part, reader.read(part), strict=True):
            expected = smooth_scene(index % 7, 30 + index % 3, 40)
            assert image.shape == (8, 8, 3)
            assert abs(float(image.mean()) - float(expected.mean())) < 3
    assert len(pictures.asked) <= 200 + MOST_READERS
    assert set(range(100, 300)) <= set(pictures.asked)


def test_frames_of_a_video_are_asked_for_in_their_order() -> None:
    pictures = Pictures(50, in_order=True)
    reader = ReadAhead(pictures, Preprocessing(8, 8).resize)
    order = np.random.default_rng(0).permutation(50)
    reader.expect(order[:30])
    reader.expect(order[30:])
    for part in (order[:30], order[30:]):
        assert len(list(reader.read(part))) == len(part)
    assert pictures.asked == order.tolist()


def test_a_look_at_the_next_batch_does_not_change_what_is_drawn() -> None:
    labels = np.repeat(np.arange(7), 5)
    plain, looking = (ClassBatchSampler(labels, 3, 2, seed=4) for _ in range(2))
    for _ in range(5):
        coming = looking.peek()
        assert looking.peek().tolist() == coming.tolist()
        drawn = looking.draw().tolist()
        assert drawn == coming.tolist() == plain.draw().tolist()
        assert drawn != looking.peek().tolist()


def sped(root: Path, features: str, **options: Any) -> list[str]:
    """Arguments of a head's training on SPED's own description."""
    embedding = {**EMBEDDING, **options}
    write_config(root, "embedding", "app_att", features=features, embedding=embedding)
    file, out = root / f"{features}.yaml", root / f"out-{features}"
    (root / "embedding.yaml").rename(file)
    common = ["--config", str(file), "--data", str(root), "--out", str(out)]
    return [*common, "--weights", str(root), "--device", "cpu"]


def last_head(root: Path, features: str) -> dict[str, torch.Tensor]:
    path = root / f"out-{features}" / "embedding" / "checkpoint.pt"
    return torch.load(path, weights_only=True)["modules"]["head"]


def distance(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    return sum(float((first[k] - second[k]).square().sum()) for k in first) ** 0.5


def test_sped_streamed_trains_nearly_the_head_of_the_cache(tmp_path: Path) -> None:
    write_sped(tmp_path)
    write_weights(tmp_path)
    for features in ("cache", "stream"):
        arguments = sped(tmp_path, features, style_mixing=0.5)
        assert main(["train", "embedding", *arguments]) == 0
    heads = [last_head(tmp_path, features) for features in ("cache", "stream")]
    untrained = run_of(arguments, tmp_path).network().head.state_dict()
    moved = distance(heads[0], untrained)
    assert moved > 0.01
    assert distance(heads[0], heads[1]) < 0.05 * moved
    assert (tmp_path / "out-cache" / "features").is_dir()
    assert not (tmp_path / "out-stream" / "features").exists()


def test_two_processes_stream_their_shares_and_train_the_head_of_one(tmp_path: Path) -> None:
    write_sped(tmp_path)
    write_weights(tmp_path)
    one = ["train", "embedding", *sped(tmp_path, "stream", style_mixing=0.5)]
    assert main(one) == 0
    two = [part.replace("out-stream", "out-two") for part in one]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "saane_ros.cli", *two]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    heads = [last_head(tmp_path, run) for run in ("stream", "two")]
    for name, value in heads[0].items():
        torch.testing.assert_close(heads[1][name], value, rtol=1e-4, atol=1e-5)
    assert not (tmp_path / "out-two" / "features").exists()


def test_a_whitening_and_weak_supervision_take_what_is_streamed(tmp_path: Path) -> None:
    write_sped(tmp_path)
    write_weights(tmp_path)
    write_street(tmp_path / "street")
    write_street(tmp_path / "other", 12)
    moments = []
    trees = [[{"kind": "dataset", "folder": str(tmp_path / name)}] for name in ("street", "other")]
    weak = {"sources": trees[0], "validation": trees[1], "epochs": 1, "batch": 3}
    words = {"images": 9, "per_image": 12, "iterations": 5}
    for features in ("cache", "stream"):
        run = run_of(sped(tmp_path, features), tmp_path / features)
        found = frozen_features(run, run.network(), training_views(run), "views")
        moments.append(cell_moments(found, np.arange(len(found)))[0])
        common = write_config(
            tmp_path, "weak", "netvlad", features=features, vocabulary=words, weak=weak
        )
        common += ["--out", str(tmp_path / f"weak-{features}")]
        assert main(["train", "vocabulary", *common]) == 0
        assert main(["train", "weak", *common]) == 0
    torch.testing.assert_close(moments[0], moments[1], rtol=1e-3, atol=1e-4)
    heads = [
        load_file(tmp_path / f"weak-{features}" / "embedding" / "head.safetensors")
        for features in ("cache", "stream")
    ]
    for name in ("centroids", "assignment.weight"):
        torch.testing.assert_close(heads[0][name], heads[1][name], rtol=1e-2, atol=1e-2)
