"""Training images of synthetic towns: every place under every condition, with its labels.

The folders follow the contract of every other training set (one folder per place), so nothing
behind them knows that they were rendered:

    images/town-1000/place-0003/night-0.jpg      labels/town-1000/place-0003/night-0.png
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from saane_ros.files import replacing_file
from saane_ros.progress import progress
from saane_ros.simulation import (
    CLASS_NAMES,
    TRAINING_SEEDS,
    VALIDATION_SEEDS,
    Town,
    TownFrame,
    Traverse,
    render_many,
)
from saane_ros.training.config import TownImages
from saane_ros.training.segmentation_trainer import LabelledImages

JITTER_M = 2.0
"""How far along the route two views of one place may lie from its centre."""


def render_training_towns(options: TownImages, root: Path) -> None:
    """Render all training and validation towns below `root`; finished traverses are kept."""
    purposes = (
        ("training", TRAINING_SEEDS[: options.towns]),
        ("validation", VALIDATION_SEEDS[: options.validation_towns]),
    )
    jobs = [
        (root / purpose, seed, condition, view)
        for purpose, seeds in purposes
        for seed in seeds
        for condition in options.conditions
        for view in range(options.views)
    ]
    for folder, seed, condition, view in progress(jobs, "rendering towns", unit="traverse"):
        _render_traverse(folder, seed, condition, view, options)


def _render_traverse(
    folder: Path, seed: int, condition: str, view: int, options: TownImages
) -> None:
    name = f"town-{seed}"
    done = folder / "done" / f"{name}-{condition}-{view}"
    if done.exists():
        return
    traverse = Traverse(Town(seed, options.length_m), condition, seed=_traverse_seed(seed, view))
    indices = place_frames(traverse, options.step_m, seed=_traverse_seed(seed, view) + 1)
    for place, frame in enumerate(render_many(traverse, indices)):
        _write(folder, f"{name}/place-{place:04d}/{condition}-{view}", frame)
    with replacing_file(done) as temporary:
        temporary.touch()


def _traverse_seed(town_seed: int, view: int) -> int:
    return town_seed * 100 + view


def place_frames(traverse: Traverse, step_m: float, seed: int) -> list[int]:
    """For every place, `step_m` apart, a frame within JITTER_M along the route of its centre."""
    travelled = np.array([traverse.travelled(i) for i in range(len(traverse))])
    centres = np.arange(step_m / 2, travelled[-1], step_m)
    jitter = np.random.default_rng(seed).uniform(-JITTER_M, JITTER_M, len(centres))
    return [int(np.abs(travelled - target).argmin()) for target in centres + jitter]


def _write(folder: Path, name: str, frame: TownFrame) -> None:
    image = folder / "images" / f"{name}.jpg"
    labels = folder / "labels" / f"{name}.png"
    for path in (image, labels):
        path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(image), bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
    cv2.imwrite(str(labels), frame.labels)


def labelled_images(folder: Path, every: int = 1) -> LabelledImages:
    """The rendered images below `folder` with their label maps, every n-th of them."""
    images = tuple(sorted((folder / "images").rglob("*.jpg")))[::every]
    return LabelledImages(images, tuple(_labels_of(folder, images)), CLASS_NAMES)


def _labels_of(folder: Path, images: Sequence[Path]) -> Iterator[Path]:
    for image in images:
        relative = image.relative_to(folder / "images")
        yield (folder / "labels" / relative).with_suffix(".png")
