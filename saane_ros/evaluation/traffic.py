"""The poster's comparison on the town: one street by day, twice, with heavy and other traffic.

Every given model, and the last one once more with filters: of a segmentation that knows the town,
and of the town's true labels, the best that a segmentation could do. Run as

    python -m saane_ros.evaluation.traffic --model netvlad-resnet18 sralnet-resnet18-unet \\
        sralnet-resnet18 --segmentation saane-town --out results/town-traffic
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.datasets.town import EVALUATION_SEEDS
from saane_ros.data.images.lists import NoImages
from saane_ros.embedding.loading import load_embedder
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.embedding.segmenting import load_segmentation
from saane_ros.errors import SaaneError
from saane_ros.evaluation.evaluator import Evaluation, evaluate
from saane_ros.evaluation.results_table import as_text, blocks
from saane_ros.evaluation.searches import search_descriptors
from saane_ros.files import replacing_file
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.static_filter import cell_weights
from saane_ros.progress import progress
from saane_ros.simulation import CLASS_NAMES, DYNAMIC_CLASSES, Town, TownFrame, Traverse

SEED = EVALUATION_SEEDS.start + 1
DYNAMIC = (*sorted(DYNAMIC_CLASSES), "sky")
"""The poster takes the sky out too."""

Labels = NDArray[np.uint8]
"""The town's class of every pixel, H x W."""


@dataclass(frozen=True)
class Scene:
    """length, every: metres.  traffic: times the usual.  metres: a reference this near is right."""

    length: float = 400.0
    every: float = 4.0
    traffic: float = 4.0
    metres: float = 2.0


def drive(scene: Scene, number: int) -> list[TownFrame]:
    """The frames of one drive by day; drives differ in traffic, lane position and speed."""
    town = Town(SEED, scene.length)
    traverse = Traverse(town, "day", seed=SEED * 100 + number, traffic=scene.traffic)
    travelled = np.asarray(traverse.travelled)
    wanted = np.arange(0.0, travelled[-1], scene.every)
    indices = np.unique([int(np.abs(travelled - s).argmin()) for s in wanted])
    bar = progress(indices, f"rendering drive {number}", len(indices), "image")
    return [traverse.render(int(index)) for index in bar]


def town_dataset(
    scene: Scene, queries: Sequence[TownFrame], references: Sequence[TownFrame]
) -> Dataset:
    at = np.array([frame.travelled for frame in references])
    correct = tuple(
        np.flatnonzero(np.abs(at - frame.travelled) <= scene.metres).astype(np.int64)
        for frame in queries
    )
    moving = [float(np.isin(f.labels, _dynamic(("sky",))).mean()) for f in (*queries, *references)]
    return Dataset(
        "town-traffic",
        NoImages([frame.name for frame in queries]),
        NoImages([frame.name for frame in references]),
        correct,
        f"day searched in day, synthetic town {SEED}, {scene.length:g} m, an image every "
        f"{scene.every:g} m, {scene.traffic:g} times the usual traffic, which covers "
        f"{100 * np.mean(moving):.1f} % of the pixels (at most {100 * np.max(moving):.0f} %)",
        f"within {scene.metres:g} m along the route",
    )


def _dynamic(without: Iterable[str] = ()) -> list[int]:
    return [CLASS_NAMES.index(name) for name in DYNAMIC if name not in tuple(without)]


def plain(embedder: NetworkEmbedder, frames: Sequence[TownFrame]) -> NDArray[np.float32]:
    """Descriptors (n, D) as the model gives them."""
    return np.stack([embedder.embed([frame.image])[0].descriptor for frame in frames])


@torch.inference_mode()
def with_labels(
    embedder: NetworkEmbedder, frames: Sequence[TownFrame], labels: Sequence[Labels]
) -> NDArray[np.float32]:
    """Descriptors (n, D) with the cells of moving classes and sky, by `labels`, taken out."""
    network = embedder.network
    if not isinstance(network, SaaneNetwork):
        raise SaaneError(f"{embedder.name} has no feature cells that could be masked.")
    found = []
    for frame, classes in zip(frames, labels, strict=True):
        pixels = embedder.preprocessing([frame.image], embedder.device).to(embedder.dtype)
        features = network.trunk_features(pixels)
        static = torch.from_numpy(~np.isin(classes, _dynamic())).float()[None, None]
        height, width = features.appearance.shape[-2:]
        weights = cell_weights(static, (height, width)).to(features.appearance)
        output = network.head.filtered(features.appearance, features.semantic, weights)
        found.append(output.descriptor[0].float().cpu().numpy())
    return np.stack(found)


def predicted_labels(model: str, weights: str, frames: Sequence[TownFrame]) -> list[Labels]:
    """The classes of every frame by a segmentation with the town's own classes."""
    segmentation = load_segmentation(model, weights, "cpu")
    if segmentation.class_names != CLASS_NAMES:
        raise SaaneError(
            f"Model {model} knows the classes {', '.join(segmentation.class_names)} and the town "
            f"has {', '.join(CLASS_NAMES)}: give a segmentation of the town."
        )
    return [segmentation.labels([frame.image])[0] for frame in frames]


def compare(
    models: Sequence[str], segmentation: str, weights: str, scene: Scene
) -> list[Evaluation]:
    """One row a model, and the last model with both filters."""
    references, queries = drive(scene, 0), drive(scene, 1)
    dataset = town_dataset(scene, queries, references)

    def row(name: str, describe: Callable[[Sequence[TownFrame]], NDArray[np.float32]]) -> None:
        rows.append(
            evaluate(name, dataset, search_descriptors(describe(queries), describe(references)))
        )

    rows: list[Evaluation] = []
    for model in models:
        embedder = load_embedder(model, weights, "cpu", "fp32")
        row(embedder.name, partial(plain, embedder))
    if segmentation:
        row(
            f"{embedder.name} + {segmentation}",
            lambda frames: with_labels(
                embedder, frames, predicted_labels(segmentation, weights, frames)
            ),
        )
    row(
        f"{embedder.name} + true labels",
        lambda frames: with_labels(embedder, frames, [frame.labels for frame in frames]),
    )
    return rows


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description="Models on the town with heavy traffic.")
    parser.add_argument("--model", nargs="+", required=True)
    parser.add_argument("--segmentation", default="", help="a card with the town's classes")
    parser.add_argument("--weights", default="")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = compare(options.model, options.segmentation, options.weights, Scene())
    text = as_text(blocks(rows))
    print(text)
    with replacing_file(options.out.with_suffix(".txt")) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    with replacing_file(options.out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps([row.as_dict() for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
