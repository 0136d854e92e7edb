"""How far a pasted vehicle moves a descriptor, without and with a mask that removes it.

Vehicles are cut from labelled street images and pasted into others at the same pixels, so that
their size fits the perspective. Run as

    python -m saane_ros.evaluation.pasted_objects --model netvlad-resnet18 --images camvid/test \\
        --labels camvid/testannot --classes config/train/camvid.classes.yaml --objects Car
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from saane_ros.data.images.labelled import LabelledImages, read_classes, read_label_folder
from saane_ros.embedding.loading import load_embedder
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.static_filter import cell_weights
from saane_ros.types import Rgb

LEAST_AREA, MOST_AREA = 0.05, 0.35
"""Shares of the image that a vehicle must cover."""
MOST_THERE = 0.02
"""Share of the image that the vehicles of a street may cover before one is pasted into it."""


@dataclass(frozen=True)
class Pasted:
    """A street, the same with a vehicle, and where that is, (H, W)."""

    street: Rgb
    changed: Rgb
    vehicle: NDArray[np.bool_]


@dataclass(frozen=True)
class Effect:
    """Mean distances to the street's descriptor, and the mean of each pair's ratio.

    nearer: share of the pairs in which the mask brought the descriptor nearer.
    """

    pairs: int
    unmasked: float
    masked: float
    ratio: float
    nearer: float


def pasted_pairs(
    images: LabelledImages,
    objects: Sequence[str],
    count: int,
    seed: int,
    preprocessing: Preprocessing,
) -> list[Pasted]:
    """Pairs drawn by a seed; fewer than `count` where there are not so many."""
    wanted = [images.class_names.index(name) for name in objects]
    read = [preprocessing.resize_labelled(*images.read(index)) for index in range(len(images))]
    vehicles, streets = [], []
    for index, (_, labels) in enumerate(read):
        mask = np.isin(labels, wanted)
        if mask.mean() <= MOST_THERE:
            streets.append(index)
        part = largest_part(mask)
        if LEAST_AREA <= part.mean() <= MOST_AREA:
            vehicles.append((index, part))
    if not vehicles or not streets:
        raise SaaneError(
            f"{len(vehicles)} images have a large {' or '.join(objects)} and {len(streets)} hardly "
            "any: give labelled images with both."
        )
    pairs = [(street, number) for street in streets for number in range(len(vehicles))]
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:count]
    return [_paste(read, pairs[i][0], *vehicles[pairs[i][1]]) for i in chosen]


def _paste(
    read: Sequence[tuple[Rgb, NDArray[np.uint8]]],
    street: int,
    source: int,
    vehicle: NDArray[np.bool_],
) -> Pasted:
    image = read[street][0]
    return Pasted(image, np.where(vehicle[:, :, None], read[source][0], image), vehicle)


def largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected part of a mask."""
    count, parts, figures, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count == 1:
        return mask
    largest = 1 + int(figures[1:, cv2.CC_STAT_AREA].argmax())
    return np.asarray(parts) == largest


@torch.inference_mode()
def masking_effect(embedder: NetworkEmbedder, pairs: Sequence[Pasted]) -> Effect:
    """Distances from the street's plain descriptor to the changed one's, plain and masked."""
    if not isinstance(embedder.network, SaaneNetwork):
        raise SaaneError(f"{embedder.name} has no feature cells that could be masked.")
    plain, masked = [], []
    for pair in pairs:
        pixels = embedder.preprocessing([pair.street, pair.changed], embedder.device)
        features = embedder.network.trunk_features(pixels.to(embedder.dtype))
        head = embedder.network.head
        street, changed = head(features.appearance, features.semantic).descriptor
        weights = _static_cells(pair.vehicle, tuple(features.appearance.shape[-2:]))
        appearance = features.appearance[1:]
        semantic = None if features.semantic is None else features.semantic[1:]
        removed = head.filtered(appearance, semantic, weights.to(appearance)).descriptor[0]
        plain.append(float((changed - street).norm()))
        masked.append(float((removed - street).norm()))
    before, after = np.array(plain), np.array(masked)
    return Effect(
        len(pairs),
        float(before.mean()),
        float(after.mean()),
        float((after / before).mean()),
        float((after < before).mean()),
    )


def _static_cells(vehicle: NDArray[np.bool_], grid: tuple[int, ...]) -> torch.Tensor:
    share = torch.from_numpy(~vehicle).float()[None, None]
    return cell_weights(share, (grid[0], grid[1]))


def main() -> None:
    """Print one line per model."""
    parser = argparse.ArgumentParser(description="Distances with a pasted vehicle, masked or not.")
    parser.add_argument("--model", nargs="+", required=True)
    parser.add_argument("--weights", default="")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--classes", type=Path, required=True)
    parser.add_argument("--objects", nargs="+", required=True)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    images = read_label_folder(options.images, options.labels, read_classes(options.classes))
    for model in options.model:
        embedder = load_embedder(model, options.weights, "cpu", "fp32")
        sizes = embedder.preprocessing
        pairs = pasted_pairs(images, options.objects, options.pairs, options.seed, sizes)
        effect = masking_effect(embedder, pairs)
        print(
            f"{model}: {effect.pairs} pairs, mean distance {effect.unmasked:.3f} with the vehicle, "
            f"{effect.masked:.3f} with its cells masked; mean ratio {effect.ratio:.3f}, nearer in "
            f"{effect.nearer:.0%}"
        )


if __name__ == "__main__":
    main()
