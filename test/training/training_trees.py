"""Small folders to train on, and the configurations of every stage over them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from scenes import smooth_scene

from saane_ros.embedding.assembly import build_network
from saane_ros.files import sha256_of
from saane_ros.model.saane import SaaneNetwork
from saane_ros.training.config import read_training_config
from saane_ros.training.export import card_in_training
from saane_ros.training.run import Run

WIDTH = 8
SIZE = {"height": 48, "width": 64}
HELD_OUT = ["00003", "00004"]
"""Cameras of `write_sped` that are searched instead of learned from."""


def write_sped(root: Path, cameras: int = 5, images: int = 4) -> None:
    """Cameras as SPED has them, in folders by number and month, each under several lights."""
    for camera in range(cameras):
        scene = smooth_scene(camera, 60, 80)
        for time in range(images):
            folder = root / "sped" / f"{camera:05d}" / f"2014{time % 2 + 1:02d}"
            folder.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([camera, time]).integers(0, 40, scene.shape)
            image = np.clip(scene * (0.5 + 0.15 * time) + noise, 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{time:02d}.jpg"), image)


def write_street(root: Path, count: int = 14) -> None:
    """Trees of '@' names: an image every five metres, and queries beside them."""
    for side, (name, shift) in enumerate((("database", 0.0), ("queries", 2.0))):
        folder = root / "test" / name
        folder.mkdir(parents=True)
        for index in range(count):
            north = 4_400_000 + 5.0 * index + shift
            noise = np.random.default_rng([side, index]).integers(0, 30, (48, 64, 3))
            image = (smooth_scene(index, 48, 64) // 2 + noise).astype(np.uint8)
            cv2.imwrite(str(folder / f"@500000.00@{north:.2f}@17@T@{index}@.png"), image)


def write_labels(root: Path, count: int = 6) -> None:
    """A bright sky over dark ground with a red box, and the labels of each pixel."""
    random = np.random.default_rng(0)
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    for index in range(count):
        labels = np.ones((48, 64), np.uint8)
        labels[: random.integers(8, 30)] = 0
        x, y = random.integers(0, 50), random.integers(12, 36)
        labels[y : y + 10, x : x + 12] = 2
        colours = np.array([[230, 200, 180], [40, 60, 50], [30, 30, 200]], np.uint8)
        cv2.imwrite(str(root / "images" / f"{index}.png"), colours[labels])
        cv2.imwrite(str(root / "labels" / f"{index}.png"), labels)


PARTS: dict[str, dict[str, Any]] = {
    "app_att": {"head": {"channels": 16, "reduction": 4, "levels": [2, 1]}},
    "amosnet": {"head": {"channels": 16, "levels": [2, 1]}},
    "netvlad": {"head": {}, "aggregation": {"words": 4, "project": 8, "whitening": 6}},
    "sralnet": {"head": {"weights": "head"}, "aggregation": {"words": 4, "shadows": 1}},
    "segmentation": {},
}
SEMANTICS = {"network": "light_pspnet", "channels": 8}
CLASSES = {"classes": ["sky", "ground", "thing"], "dynamic": ["thing"]}


def write_config(root: Path, name: str, system: str, **sections: Any) -> list[str]:
    """`<name>.yaml` for a system of `PARTS` on a given random trunk; its arguments but --out."""
    trained_trunk = name in ("segmentation", "classification")
    model: dict[str, Any] = {
        "name": name,
        "system": system,
        "appearance": {"trunk": "resnet18", "width": WIDTH},
        "preprocessing": SIZE,
        "licence": "CC0-1.0",
        "trained_on": "scenes",
        **PARTS[system],
        "weights": {} if trained_trunk else {"trunk": given(root, "trunk")},
    }
    if name in ("segmentation", "filter"):
        model["semantics"] = {**SEMANTICS, **(CLASSES if name == "filter" else {})}
    if name == "filter":
        model["filter"] = {"mode": "learned"}
        model["weights"] |= {role: given(root, role) for role in ("head", "segmentation")}
    learned = {"kind": "dataset", "folder": "sped"}
    values = {
        "places": [{**learned, "without": HELD_OUT}],
        "held_out": [{**learned, "only": HELD_OUT}],
        "model": model,
        **sections,
    }
    (root / f"{name}.yaml").write_text(yaml.safe_dump(values))
    arguments = ["--config", str(root / f"{name}.yaml"), "--data", str(root)]
    return [*arguments, "--weights", str(root), "--device", "cpu"]


def given(root: Path, role: str) -> dict[str, str]:
    """The entry of a weight file that `write_weights` wrote."""
    file = f"{role}.safetensors"
    return {"file": file, "sha256": sha256_of(root / file)}


def write_weights(root: Path) -> None:
    """A random trunk with a card of its own, a SRALNet head and a segmentation behind it."""
    model = {
        "name": "all",
        "system": "sralnet",
        "appearance": {"trunk": "resnet18", "width": WIDTH},
        "semantics": {**SEMANTICS, **CLASSES},
        "preprocessing": SIZE,
        "licence": "CC0-1.0",
        "filter": {"mode": "soft"},
        **PARTS["sralnet"],
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(card_in_training(model, root / "all.yaml"))
        assert isinstance(network, SaaneNetwork)
        torch.nn.init.normal_(network.head.get_parameter("centroids"))
    roles = {"trunk": network.appearance, "segmentation": network.semantics, "head": network.head}
    for role, module in roles.items():
        assert module is not None
        save_file(module.state_dict(), root / f"{role}.safetensors")
    base = {key: model[key] for key in ("preprocessing", "licence", "aggregation")}
    base |= {"name": "base", "system": "sralnet", "head": {"weights": "head"}}
    base["appearance"] = {"trunk": "resnet18", "width": WIDTH, "weights": "trunk"}
    base["weights"] = {role: given(root, role) for role in ("trunk", "head")}
    (root / "base.yaml").write_text(yaml.safe_dump(base))


EMBEDDING = {"steps": 4, "classes": 3, "images": 4, "validate_every": 2, "learning_rate": 1e-3}


def stages(root: Path) -> dict[str, list[str]]:
    """Write everything below `root`; the arguments of every stage of `saane train` but --out."""
    write_sped(root)
    write_labels(root / "scenes")
    write_street(root / "street")
    write_street(root / "other", 12)
    write_weights(root)
    (root / "scenes.classes.yaml").write_text(yaml.safe_dump({**CLASSES, "ignored": [11]}))
    shutil.copytree(root / "scenes", root / "others")
    parts = ("scenes", "others")
    pairs = [[{"images": f"{name}/images", "labels": f"{name}/labels"}] for name in parts]
    words = {"vocabulary": {"images": 9, "per_image": 12, "iterations": 5}}
    trees = [[{"kind": "dataset", "folder": str(root / name)}] for name in ("street", "other")]
    weak = {
        "sources": trees[0],
        "validation": trees[1],
        "held_out": True,
        "epochs": 2,
        "margin": 1.0,
    }
    base = str(root / "base.yaml")
    return {
        "segmentation": write_config(
            root,
            "segmentation",
            "segmentation",
            labels={"classes": "scenes.classes.yaml", "train": pairs[0], "validation": pairs[1]},
            segmentation={"steps": 4, "batch": 3, "validate_every": 2, "scale": [0.8, 1.2]},
        ),
        "embedding": write_config(
            root, "embedding", "app_att", embedding={**EMBEDDING, "style_mixing": 0.5}
        ),
        "vocabulary": write_config(root, "vocabulary", "netvlad", **words),
        "weak": write_config(root, "weak", "netvlad", **words, weak={**weak, "batch": 3}),
        "classification": write_config(
            root,
            "classification",
            "amosnet",
            classification={
                "trunk_of": base,
                "steps": 4,
                "batch": 4,
                "validate_every": 2,
                "blends": [0.5],
            },
        ),
        "filter": write_config(
            root, "filter", "sralnet", class_weights={"steps": 4, "places": 3, "views": 2}
        ),
    }


def run_of(arguments: list[str], out: Path) -> Run:
    """What a command of these arguments runs."""
    given_by = dict(zip(arguments[::2], arguments[1::2], strict=True))
    config = read_training_config(Path(given_by["--config"]))
    return Run(config, out, Path(given_by["--data"]), given_by["--weights"])
