"""`saane train weak` from rendered towns, drives and datasets to a shipped card."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from scenes import smooth_scene
from tagged_world import whole_loss

from saane_ros.cli import main
from saane_ros.embedding.loading import load_embedder, preprocessing_of
from saane_ros.errors import SaaneError
from saane_ros.files import sha256_of
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.simulation import Town, Traverse
from saane_ros.training.config import TownImages, read_training_config
from saane_ros.training.fine_tuning import ImageBatches, TrunkAndHead
from saane_ros.training.run import Run
from saane_ros.training.tagged_images import TaggedImages, Tuples
from saane_ros.training.tagged_sources import TaggedSource, read_tagged
from saane_ros.training.tagged_towns import town_dataset
from saane_ros.training.town_images import place_frames

TOWN = {
    "towns": 1,
    "validation_towns": 1,
    "conditions": ["day", "dusk"],
    "length_m": 90.0,
    "step_m": 6.0,
}
TOWNS = {"kind": "towns"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache folder for the module, so that its towns are rendered once."""
    folder, before = tmp_path_factory.mktemp("cache"), os.environ.get("SAANE_CACHE")
    os.environ["SAANE_CACHE"] = str(folder)
    yield folder
    os.environ.pop("SAANE_CACHE")
    if before is not None:
        os.environ["SAANE_CACHE"] = before


def write_config(folder: Path, **changes: Any) -> list[str]:
    """A small NetVLAD on a random trunk; the arguments of every stage."""
    torch.manual_seed(0)
    trunk = folder / "trunk.safetensors"
    save_file(ResNetTrunk("resnet18", width=8).state_dict(), trunk)
    values = {
        "model": {
            "name": "small",
            "system": "netvlad",
            "appearance": {"trunk": "resnet18", "width": 8},
            "head": {},
            "aggregation": {"words": 4, "project": 8, "whitening": 6},
            "preprocessing": {"height": 48, "width": 64},
            "licence": "CC0-1.0",
            "weights": {"trunk": {"file": trunk.name, "sha256": sha256_of(trunk)}},
        },
        "town": TOWN,
        "places": [TOWNS],
        "held_out": [TOWNS],
        "validation": {"reference": "day", "queries": ["dusk"]},
        "vocabulary": {"images": 20, "per_image": 12, "iterations": 5},
        "weak": {
            "sources": [TOWNS],
            "validation": [TOWNS],
            "held_out": True,
            "epochs": 4,
            "learning_rate": 2e-4,
        },
    }
    values |= changes
    (folder / "small.yaml").write_text(yaml.safe_dump(values))
    arguments = ["--config", str(folder / "small.yaml"), "--out", str(folder / "out")]
    return [*arguments, "--data", str(folder), "--weights", str(folder), "--device", "cpu"]


def test_a_mini_town_lowers_the_loss_and_ships(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason="the extra train is not installed")
    common = write_config(tmp_path)
    assert main(["train", "weak", *common]) == 1
    assert "run `saane train vocabulary` with the same --out first" in capsys.readouterr().err
    assert main(["train", "vocabulary", *common]) == 0
    run = Run(
        read_training_config(tmp_path / "small.yaml"), tmp_path / "out", tmp_path, str(tmp_path)
    )
    start = load_file(run.trained_file("head"))
    assert main(["train", "weak", *common]) == 0
    told = capsys.readouterr().out
    assert "towns R@5" in told
    assert "dusk R@1" in told
    history = json.loads((tmp_path / "out" / "weak" / "history.json").read_text())
    assert [row["epoch"] for row in history] == [0, 1, 2, 3, 4]
    for row in history:
        assert row["score"] == pytest.approx((row["towns R@5"] + row["dusk R@5"]) / 2)
    best = load_file(tmp_path / "out" / "weak" / "best.safetensors")
    trained = torch.load(tmp_path / "out" / "weak" / "checkpoint.pt", weights_only=True)

    images = TaggedImages(
        [town_dataset(run.config.town, run.towns("training").parent, "training", "day")]
    )
    network = run.network()
    network.head.whitening = torch.nn.Identity()
    model = TrunkAndHead(network.appearance, network.head)
    batches = ImageBatches(images, preprocessing_of(run.card))
    losses = []
    for tensors in (start, trained["modules"]["model"]):
        own = {name: value for name, value in tensors.items() if "whitening" not in name}
        network.head.load_state_dict(own)
        losses.append(whole_loss(Tuples(images), model, batches))
    assert losses[1] < 0.7 * losses[0]

    final = load_file(run.trained_file("head"))
    assert set(final) - set(best) == {"whitening.weight", "whitening.bias"}
    assert all(torch.equal(final[name], value) for name, value in best.items())
    assert main(["train", "export", *common, "--models", str(tmp_path / "models")]) == 0
    embedder = load_embedder(str(tmp_path / "models" / "small.yaml"), str(tmp_path), "cpu")
    assert embedder.embed([images.read(0)])[0].descriptor.shape == (6,)


def test_a_trunk_that_was_trained_too_ships_with_its_head(cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra train is not installed")
    weak = {"sources": [TOWNS], "validation": [TOWNS], "epochs": 1, "train_trunk": True}
    common = write_config(tmp_path, weak=weak)
    assert main(["train", "vocabulary", *common]) == 0
    assert main(["train", "weak", *common]) == 0
    assert not list((tmp_path / "out").glob("features/*/appearance.npy"))
    assert main(["train", "export", *common, "--models", str(tmp_path / "models")]) == 0
    shipped = load_file(tmp_path / "models" / "small.trunk.safetensors")
    given = load_file(tmp_path / "trunk.safetensors")
    changed = {name for name, v in shipped.items() if not torch.equal(v, given[name].half())}
    kept = load_file(tmp_path / "out" / "weak" / "best.safetensors")
    for name, value in shipped.items():
        assert torch.equal(value, kept[f"trunk.{name}"].half())
    assert all(name.startswith("layer3.") for name in changed)
    embedder = load_embedder(str(tmp_path / "models" / "small.yaml"), str(tmp_path), "cpu")
    assert embedder.embed([smooth_scene(0)])[0].descriptor.shape == (6,)


def test_positions_of_towns_are_those_of_the_rendered_frames(cache: Path, tmp_path: Path) -> None:
    options = TownImages(2, 1, ("day", "dusk"), length_m=90.0, step_m=6.0)
    dataset = town_dataset(options, tmp_path, "training", "dusk")
    assert {path.name for path in dataset.queries.paths} == {"day-0.jpg"}
    traverse = Traverse(Town(1001, 90.0), "dusk", seed=100101)
    frames = place_frames(traverse.travelled, 6.0, 100101)
    wanted = np.array([traverse.poses[index].position[:2] for index in frames])
    second = [i for i, path in enumerate(dataset.references.paths) if "town-1001" in str(path)]
    assert [dataset.references.paths[i].parent.name for i in second] == [
        f"place-{i:04d}" for i in range(len(frames))
    ]
    found = dataset.reference_positions[second] - np.array([1001 * 10_000.0, 0.0])
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    apart = dataset.query_positions[:, None] - dataset.reference_positions[None]
    metres = np.linalg.norm(apart, axis=2)
    for row, correct in zip(metres, dataset.correct, strict=True):
        assert correct.tolist() == np.flatnonzero(row <= 10).tolist()
    with pytest.raises(SaaneError, match="cannot be searched in 'snow'"):
        town_dataset(options, tmp_path, "training", "snow")


def write_drive(folder: Path, count: int = 14) -> None:
    folder.mkdir(parents=True)
    rows = ["name,x,y"]
    for index in range(count):
        cv2.imwrite(str(folder / f"{index:03d}.png"), smooth_scene(index, 16, 16))
        rows.append(f"{index:03d},{4.0 * index},1.0")
    (folder / "poses.csv").write_text("\n".join(rows))


def test_a_drive_with_poses_is_searched_in_itself(tmp_path: Path) -> None:
    write_drive(tmp_path / "drive")
    (dataset,) = read_tagged(TaggedSource("drive", "drive"), tmp_path)
    tuples = Tuples(TaggedImages([dataset]))
    assert len(tuples) == 14
    assert tuples.positives(5).tolist() == [3, 4, 6, 7]
    assert tuples.negatives(0).tolist() == list(range(7, 14))
    (tmp_path / "drive" / "poses.csv").rename(tmp_path / "elsewhere.csv")
    with pytest.raises(SaaneError, match="have no poses: put"):
        read_tagged(TaggedSource("drive", "drive"), tmp_path)
    (again,) = read_tagged(TaggedSource("drive", "drive", "elsewhere.csv"), tmp_path)
    np.testing.assert_array_equal(again.query_positions, dataset.query_positions)


def test_sources_that_cannot_serve_are_told(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("ref", "query"):
        (tmp_path / "plain" / part).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "plain" / part / "a.png"), smooth_scene(0, 16, 16))
    plain = {"kind": "dataset", "folder": str(tmp_path / "plain")}
    write_drive(tmp_path / "drive")
    drive = {"kind": "drive", "folder": "drive"}
    write_drive(tmp_path / "both" / "ref")
    write_drive(tmp_path / "both" / "query")
    both = {"kind": "dataset", "folder": str(tmp_path / "both")}
    told = {
        "would be searched in itself": {"sources": [drive], "validation": [drive]},
        "names the same images in weak.sources": {"sources": [both], "validation": [both]},
        "Dataset plain has no positions of its images": {"sources": [plain], "validation": [TOWNS]},
        "names no images with positions in weak.sources": {"validation": [TOWNS]},
        "names no images with positions in weak.validation": {"sources": [TOWNS]},
    }
    for sentence, weak in told.items():
        common = write_config(tmp_path, weak=weak)
        if not (tmp_path / "out" / "embedding").exists():
            assert main(["train", "vocabulary", *common]) == 0
        assert main(["train", "weak", *common]) == 1
        assert sentence in capsys.readouterr().err
    model = yaml.safe_load((tmp_path / "small.yaml").read_text())["model"]
    del model["aggregation"]
    common = write_config(tmp_path, model={**model, "system": "app"})
    assert main(["train", "weak", *common]) == 1
    assert "weak supervision trains netvlad and sralnet" in capsys.readouterr().err
