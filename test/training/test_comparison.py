"""`saane train table` from folders to the tables that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from saane_ros.cli import main
from saane_ros.embedding.loading import load_embedder
from saane_ros.files import sha256_of
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.training.comparison import Figures, table

WIDTH = 8
PLACES = 8


def write_world(root: Path) -> None:
    """Cameras at other times to learn from, and a route by day and at dusk to be measured on."""
    random = np.random.default_rng(3)
    for place in range(2 * PLACES):
        scene = cv2.resize(random.integers(0, 255, (5, 6, 3)).astype(np.uint8), (60, 48))
        for time, light in enumerate((1.0, 0.8, 0.6, 0.4)):
            image = (scene * light).astype(np.uint8)
            folder = root / "cams" / f"c{place:02d}"
            if place >= PLACES:
                folder = root / "route" / ("ref", "query")[time % 2]
            folder.mkdir(parents=True, exist_ok=True)
            if place < PLACES or time < 2:
                name = f"t{time}.png" if place < PLACES else f"{place:02d}.png"
                cv2.imwrite(str(folder / name), image)


def write_config(root: Path) -> Path:
    save_file(ResNetTrunk("resnet18", WIDTH).state_dict(), root / "trunk.safetensors")
    held_out = [f"c{place:02d}" for place in range(5, PLACES)]
    config = {
        "model": {
            "name": "small",
            "system": "app_att",
            "appearance": {"trunk": "resnet18", "width": WIDTH},
            "head": {"channels": 32, "reduction": 4, "pool": "avg"},
            "preprocessing": {"height": 64, "width": 64},
            "licence": "CC0-1.0",
            "weights": {
                "trunk": {
                    "file": "trunk.safetensors",
                    "sha256": sha256_of(root / "trunk.safetensors"),
                }
            },
        },
        "places": [{"kind": "cameras", "folder": "cams", "copies": 1, "without": held_out}],
        "held_out": [{"kind": "cameras", "folder": "cams", "only": held_out}],
        "embedding": {
            "steps": 3,
            "classes": 4,
            "validate_every": 3,
            "start": "trunk",
            "style_mixing": 0.5,
            "share": 0.5,
        },
        "features": "stream",
        "comparison": {
            "datasets": [str(root / "route")],
            "systems": ["app", "app_att"],
            "seeds": [0, 1],
        },
    }
    path = root / "small.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def naive_recall(queries: np.ndarray, references: np.ndarray) -> float:
    right = 0
    for number, query in enumerate(queries):
        distances = [float(np.sum((query - reference) ** 2)) for reference in references]
        right += int(np.argmin(distances)) == number
    return right / len(queries)


def test_untrained_rows_are_recomputed_and_trained_heads_are_kept(tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric", reason="the extra train is not installed")
    pytest.importorskip("tensorboard", reason="the extra train is not installed")
    write_world(tmp_path)
    arguments = ["--config", str(write_config(tmp_path)), "--out", str(tmp_path / "out")]
    arguments += ["--data", str(tmp_path), "--weights", str(tmp_path), "--device", "cpu"]
    arguments += ["--results", str(tmp_path / "results")]
    assert main(["train", "table", *arguments]) == 0
    found = json.loads((tmp_path / "results" / "small.json").read_text())
    figures = found["figures"]
    posts = {f["post"] for f in figures}
    assert {"raw", "standardised", "mean, online", "pca512"} <= posts
    heads = {(f["system"], f["seed"]) for f in figures}
    assert {("app", 0), ("app", 1), ("app_att", 0), ("app_att", 1)} <= heads
    full = {("untrained trunk, avg", None), ("app", 0), ("app_att", 0)}
    assert full <= heads
    assert len(figures) == len(full) * len(posts) + (len(heads) - len(full)) * 3

    trunk = ResNetTrunk("resnet18", WIDTH).eval()
    trunk.load_state_dict(load_file(tmp_path / "trunk.safetensors"))
    rows = {part: described(trunk, tmp_path / "route" / part) for part in ("query", "ref")}
    expected = naive_recall(rows["query"], rows["ref"])
    centred = {part: unit(values - values.mean(axis=0)) for part, values in rows.items()}
    measured = {f["post"]: f for f in figures if f["system"] == "untrained trunk, avg"}
    assert measured["raw"]["recall"] == expected
    assert measured["mean"]["recall"] == naive_recall(centred["query"], centred["ref"])
    assert measured["raw"]["descriptor_bytes"] == 4 * 30 * 4 * WIDTH
    assert measured["pca512"]["descriptor_bytes"] < measured["raw"]["descriptor_bytes"]

    before = (tmp_path / "results" / "small.md").read_text()
    head = tmp_path / "out" / "heads" / "app-0" / "embedding" / "head.safetensors"
    written = head.stat().st_mtime_ns
    assert main(["train", "table", *arguments]) == 0
    assert head.stat().st_mtime_ns == written
    after = (tmp_path / "results" / "small.md").read_text()
    assert after.split("\n\n")[0] == before.split("\n\n")[0]
    assert "| app_att, standardised |" in after

    models = tmp_path / "models"
    assert (
        main(["train", "export", *arguments[:-2], "--models", str(models), "--system", "app"]) == 0
    )
    embedder = load_embedder(str(models / "small-app.yaml"), str(tmp_path), "cpu", "fp32")
    kept = load_file(head)["fusion1.appearance.weight"]
    shipped = embedder.network.head.state_dict()["fusion1.appearance.weight"]
    torch.testing.assert_close(shipped, kept, rtol=1e-3, atol=1e-3)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def described(trunk: ResNetTrunk, folder: Path) -> np.ndarray:
    """Average pyramids of layer3 by loops over cells, with torch for the trunk alone."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    found = []
    for path in sorted(folder.iterdir()):
        image = cv2.resize(cv2.imread(str(path))[..., ::-1], (64, 64))
        pixels = torch.from_numpy(((image / 255 - mean) / deviation).transpose(2, 0, 1)).float()
        with torch.no_grad():
            features = trunk(pixels[None]).stride16[0].numpy()
        cells = []
        for level in (4, 3, 2, 1):
            side = features.shape[1]
            for channel in features:
                for i in range(level):
                    for j in range(level):
                        top, left = i * side // level, j * side // level
                        bottom, right = -(-(i + 1) * side // level), -(-(j + 1) * side // level)
                        cells.append(channel[top:bottom, left:right].mean())
        found.append(cells)
    return unit(np.array(found))


def test_query_sets_of_one_dataset_are_told_by_average_and_worst() -> None:
    def of(seed: int, benchmark: str, value: float, group: str = "") -> Figures:
        areas = (value / 2, value / 4, value / 5)
        return Figures("saane", seed, benchmark, "raw", value, *areas, 8, 0.1, group)

    rows = [
        *(of(0, f"drive-{n}", value, "suburb") for n, value in enumerate((0.9, 0.6, 0.3))),
        *(of(1, f"drive-{n}", value, "suburb") for n, value in enumerate((0.7, 0.6, 0.5))),
        *(of(seed, "lone", value) for seed, value in enumerate((0.2, 0.4))),
    ]
    lines = table(rows).split("\n\n")[0].splitlines()
    head, row = ([cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], lines[2]))
    assert head[1:] == ["suburb average", "suburb worst", "lone"]
    assert row[0] == "saane"
    assert row[1].split(" / ")[:2] == ["0.600±0.000", "0.150±0.000"]
    assert row[2].split(" / ")[0] == "0.400±0.141"
    assert row[3].split(" / ") == ["0.300±0.141", "0.075±0.035", "0.060±0.028"]
