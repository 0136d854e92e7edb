"""`saane train` from folders to shipped models: label maps, places, checkpoints, cards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

pytest.importorskip("lightning_fabric", reason="the extra train is not installed")
pytest.importorskip("tensorboard", reason="the extra train is not installed")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from saane_ros.cli import main
from saane_ros.data.images.labelled import LabelClasses, LabelledImages, read_label_folder
from saane_ros.embedding.loading import load_embedder
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.embedding.segmenting import load_segmentation
from saane_ros.errors import SaaneError
from saane_ros.files import sha256_of
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.pspnet import PspNet
from saane_ros.model.semantics import LightPspNet
from saane_ros.model.unet import UNet
from saane_ros.training.segmentation_trainer import SegmentationTrainer, SegmentationTraining

ROOT = Path(__file__).resolve().parents[2]
CLASSES = LabelClasses(("sky", "ground", "thing"), ("thing",), (11,))
SIZE = (32, 48)
WIDTH = 8


def write_scenes(root: Path, count: int, seed: int) -> None:
    """A bright sky over dark ground with a red box, and the labels of each pixel."""
    random = np.random.default_rng(seed)
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    for index in range(count):
        labels = np.ones(SIZE, np.uint8)
        labels[: random.integers(8, 20)] = 0
        x, y = random.integers(0, 36), random.integers(12, 22)
        labels[y : y + 10, x : x + 12] = 2
        colours = np.array([[230, 200, 180], [40, 60, 50], [30, 30, 200]], np.uint8)
        cv2.imwrite(str(root / "images" / f"{index}.png"), colours[labels])
        cv2.imwrite(str(root / "labels" / f"{index}.png"), labels)


def scenes(root: Path, count: int = 6, seed: int = 0) -> LabelledImages:
    write_scenes(root, count, seed)
    return read_label_folder(root / "images", root / "labels", CLASSES)


def make_trainer(
    images: LabelledImages, out: Path, options: SegmentationTraining, network: str = "light_pspnet"
) -> SegmentationTrainer:
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", WIDTH)
    if network == "unet":
        module: torch.nn.Module = UNet(trunk, 4, 3)
    elif network == "pspnet":
        module = PspNet("csail", 3)
    else:
        module = LightPspNet(trunk.channels8, trunk.channels16, 8, 3)
    return SegmentationTrainer(
        trunk, module, Preprocessing(*SIZE), images, images, options, out, torch.device("cpu")
    )


OPTIONS = SegmentationTraining(
    steps=4, batch=2, train_trunk=False, validate_every=2, copies=2, scale=(0.8, 1.2), balance=0.5
)


@pytest.mark.parametrize("network", ["light_pspnet", "unet"])
def test_a_cut_segmentation_run_goes_on_bit_for_bit(tmp_path: Path, network: str) -> None:
    images = scenes(tmp_path / "data")
    whole = make_trainer(images, tmp_path / "whole", OPTIONS, network)
    before = {k: v.clone() for k, v in whole.trunk.state_dict().items()}
    whole.run()
    cut = make_trainer(images, tmp_path / "cut", OPTIONS, network)
    plain_step = cut.step

    def step_until_killed(step: int) -> float:
        if step == 3:
            raise RuntimeError("killed")
        return plain_step(step)

    cut.step = step_until_killed  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        cut.run()
    torch.manual_seed(5)
    resumed = make_trainer(images, tmp_path / "cut", OPTIONS, network)
    resumed.run()
    for name, value in whole.segmentation.state_dict().items():
        assert torch.equal(value, resumed.segmentation.state_dict()[name]), name
    for name, value in whole.trunk.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_full_pspnet_takes_images_and_trains_all_of_its_parameters(tmp_path: Path) -> None:
    options = SegmentationTraining(steps=1, batch=2, learning_rate=0.1)
    trainer = make_trainer(scenes(tmp_path / "data", 2), tmp_path / "out", options, "pspnet")
    before = {k: v.clone() for k, v in trainer.segmentation.named_parameters()}
    assert np.isfinite(trainer.step(0))
    changed = [not torch.equal(v, before[k]) for k, v in trainer.segmentation.named_parameters()]
    assert all(changed)


def test_cached_copies_need_a_frozen_trunk(tmp_path: Path) -> None:
    with pytest.raises(SaaneError, match="frozen trunk"):
        make_trainer(scenes(tmp_path), tmp_path / "out", replace(OPTIONS, train_trunk=True))


def test_training_learns_the_scenes_and_reports_the_split(tmp_path: Path) -> None:
    trunk = ResNetTrunk("resnet18", WIDTH)
    weights = tmp_path / "weights"
    weights.mkdir()
    save_file(trunk.state_dict(), weights / "other_name.safetensors")
    data = tmp_path / "data"
    write_scenes(data / "train", 8, 0)
    write_scenes(data / "val", 3, 1)
    config = {
        "model": {
            "name": "scenes",
            "system": "segmentation",
            "appearance": {"trunk": "resnet18", "width": WIDTH},
            "semantics": {"network": "light_pspnet", "channels": 8},
            "preprocessing": {"height": SIZE[0], "width": SIZE[1]},
            "licence": "CC0-1.0",
            "weights": {
                "trunk": {
                    "file": "trunk.safetensors",
                    "sha256": "0" * 64,
                    "alternatives": {
                        "other_name.safetensors": sha256_of(weights / "other_name.safetensors")
                    },
                }
            },
        },
        "labels": {
            "classes": "scenes.classes.yaml",
            "train": [{"images": "train/images", "labels": "train/labels"}],
            "validation": [{"images": "val/images", "labels": "val/labels"}],
            "test": [{"images": "val/images", "labels": "val/labels"}],
        },
        "segmentation": {
            "steps": 120,
            "batch": 4,
            "learning_rate": 0.01,
            "train_trunk": False,
            "validate_every": 60,
            "copies": 1,
            "loss_stride": 2,
            "bf16": True,
        },
    }
    (tmp_path / "scenes.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "scenes.classes.yaml").write_text(
        "classes: [sky, ground, thing]\ndynamic: [thing]\nignored: [11]\n"
    )
    common = ["--config", str(tmp_path / "scenes.yaml"), "--out", str(tmp_path / "out")]
    common += ["--data", str(data), "--weights", str(weights), "--device", "cpu"]
    assert main(["train", "segmentation", *common]) == 0
    report = json.loads((tmp_path / "out" / "segmentation" / "report.json").read_text())
    assert set(report) == {"validation", "test"}
    assert report["test"]["IoU"]["sky"] > 0.7
    assert report["test"]["static_dynamic_IoU"] > 0.5
    assert main(["train", "export", *common, "--models", str(tmp_path / "models")]) == 0
    assert not (tmp_path / "models" / "scenes.trunk.safetensors").exists()
    loaded = load_segmentation(str(tmp_path / "models" / "scenes.yaml"), str(weights), "cpu")
    assert loaded.class_names == CLASSES.classes
    image = cv2.imread(str(data / "val" / "images" / "0.png"))[..., ::-1]
    truth = cv2.imread(str(data / "val" / "labels" / "0.png"), cv2.IMREAD_UNCHANGED)
    assert np.mean(loaded.labels([image])[0] == truth) > 0.7
    with pytest.raises(SaaneError, match="has no descriptor"):
        load_embedder(str(tmp_path / "models" / "scenes.yaml"), str(weights), "cpu")


def write_cameras(tmp_path: Path) -> list[str]:
    """Five cameras, a trunk and a configuration; the options of `saane train` but --out."""
    weights = tmp_path / "weights"
    weights.mkdir()
    save_file(ResNetTrunk("resnet18", WIDTH).state_dict(), weights / "trunk.safetensors")
    random = np.random.default_rng(0)
    for camera in range(5):
        folder = tmp_path / "data" / "cams" / f"c{camera}"
        folder.mkdir(parents=True)
        scene = cv2.resize(random.integers(0, 255, (4, 5, 3)).astype(np.uint8), (60, 40))
        for time in range(4):
            exposed = np.clip(scene * (0.6 + 0.2 * time), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"t{time}.png"), exposed)
    config = {
        "model": {
            "name": "cams",
            "system": "app_att",
            "appearance": {"trunk": "resnet18", "width": WIDTH},
            "head": {"channels": 16, "reduction": 4, "levels": [2, 1]},
            "preprocessing": {"height": 64, "width": 64},
            "licence": "CC0-1.0",
            "weights": {
                "trunk": {
                    "file": "trunk.safetensors",
                    "sha256": sha256_of(weights / "trunk.safetensors"),
                }
            },
        },
        "places": [{"kind": "cameras", "folder": "cams", "copies": 1, "without": ["c3", "c4"]}],
        "held_out": [{"kind": "cameras", "folder": "cams", "only": ["c3", "c4"]}],
        "embedding": {"steps": 2, "classes": 3, "validate_every": 1, "start": "trunk"},
    }
    (tmp_path / "cams.yaml").write_text(yaml.safe_dump(config))
    common = ["--config", str(tmp_path / "cams.yaml"), "--weights", str(weights)]
    return [*common, "--data", str(tmp_path / "data"), "--device", "cpu"]


def test_a_head_trains_on_folders_and_ships_as_a_card(tmp_path: Path) -> None:
    common, weights = write_cameras(tmp_path), tmp_path / "weights"
    common += ["--out", str(tmp_path / "out")]
    assert main(["train", "embedding", *common]) == 0
    assert main(["train", "export", *common, "--models", str(tmp_path / "models")]) == 0
    events = EventAccumulator(str(tmp_path / "out" / "embedding" / "tensorboard"))
    events.Reload()
    assert {"loss", "validation/recall", "validation/AUC"} <= set(events.Tags()["scalars"])
    assert any(tag.startswith("attention/appearance") for tag in events.Tags()["images"])
    embedder = load_embedder(str(tmp_path / "models" / "cams.yaml"), str(weights), "cpu", "fp32")
    image = cv2.imread(str(tmp_path / "data" / "cams" / "c3" / "t0.png"))[..., ::-1]
    embedding = embedder.embed([image])[0]
    assert embedding.descriptor.shape == (16 * 5,)
    trained = load_file(tmp_path / "out" / "embedding" / "head.safetensors")
    for name, value in embedder.network.head.state_dict().items():
        torch.testing.assert_close(value, trained[name], rtol=1e-3, atol=1e-3)


def test_two_processes_share_one_cache_and_train_the_head_of_one(tmp_path: Path) -> None:
    common = ["train", "embedding", *write_cameras(tmp_path)]
    assert main([*common, "--out", str(tmp_path / "one")]) == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "saane_ros.cli", *common]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "two")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("features of training views: 100%") == 1
    for file in (tmp_path / "one" / "features").rglob("*.npy"):
        other = tmp_path / "two" / file.relative_to(tmp_path / "one")
        assert file.read_bytes() == other.read_bytes()
    heads = [load_file(tmp_path / run / "embedding" / "head.safetensors") for run in ("one", "two")]
    for name, value in heads[0].items():
        torch.testing.assert_close(heads[1][name], value, rtol=1e-4, atol=1e-5)


def test_places_that_are_also_held_out_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cams" / "c0"
    folder.mkdir(parents=True)
    for time in range(2):
        cv2.imwrite(str(folder / f"t{time}.png"), np.full((8, 8, 3), 99, np.uint8))
    save_file(ResNetTrunk("resnet18", WIDTH).state_dict(), tmp_path / "trunk.safetensors")
    source = {"kind": "cameras", "folder": "cams"}
    config = {
        "model": {
            "name": "cams",
            "system": "app",
            "appearance": {"trunk": "resnet18", "width": WIDTH},
            "head": {"channels": 16},
            "preprocessing": {"height": 32, "width": 32},
            "licence": "CC0-1.0",
            "weights": {
                "trunk": {
                    "file": "trunk.safetensors",
                    "sha256": sha256_of(tmp_path / "trunk.safetensors"),
                }
            },
        },
        "places": [source],
        "held_out": [source],
    }
    (tmp_path / "cams.yaml").write_text(yaml.safe_dump(config))
    arguments = ["--config", str(tmp_path / "cams.yaml"), "--out", str(tmp_path / "out")]
    arguments += ["--data", str(tmp_path), "--weights", str(tmp_path), "--device", "cpu"]
    assert main(["train", "embedding", *arguments]) == 1
    assert "2 images are both in `places` and in `held_out`" in capsys.readouterr().err
