"""Training images of synthetic towns: every place under every condition, with its labels.

The folders follow the contract of every other training set (one folder per place), so nothing
behind them knows that they were rendered:

    images/town-1000/place-0003/night-0.jpg      labels/town-1000/place-0003/night-0.png
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.data.images.labelled import LabelledImages
from saane_ros.files import replacing_file
from saane_ros.progress import progress
from saane_ros.simulation import (
    CLASS_NAMES,
    TRAINING_SEEDS,
    VALIDATION_SEEDS,
    Town,
    TownFrame,
    Traverse,
)
from saane_ros.training.config import TownImages

JITTER_M = 2.0
"""How far along the route two views of one place may lie from its centre."""


def render_training_towns(options: TownImages, root: Path, workers: int = 2) -> None:
    """Render all training and validation towns below `root`; finished traverses are kept."""
    jobs = [job for purpose in ("training", "validation") for job in drives(options, root, purpose)]
    missing = [job for job in jobs if not job.done.exists()]
    if not missing:
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        finished = pool.imap_unordered(_render_drive, missing)
        for _ in progress(finished, "rendering towns", total=len(missing), unit="traverse"):
            pass


def drives(options: TownImages, root: Path, purpose: str) -> list[Drive]:
    """Every traverse of the "training" or "validation" towns."""
    seeds = {
        "training": TRAINING_SEEDS[: options.towns],
        "validation": VALIDATION_SEEDS[: options.validation_towns],
    }
    return [
        Drive(root / purpose, seed, condition, view, options)
        for seed in seeds[purpose]
        for condition in options.conditions
        for view in range(options.views)
    ]


@dataclass(frozen=True)
class Drive:
    """One traverse of one town to be rendered below `folder`."""

    folder: Path
    town: int
    condition: str
    view: int
    options: TownImages

    @property
    def done(self) -> Path:
        return self.folder / "done" / f"town-{self.town}-{self.condition}-{self.view}"

    @property
    def seed(self) -> int:
        """Every condition has its own lateral position, speed and traffic."""
        condition = self.options.conditions.index(self.condition)
        return self.town * 100 + condition * self.options.views + self.view

    def traverse(self) -> Traverse:
        town = Town(self.town, self.options.length_m)
        return Traverse(town, self.condition, seed=self.seed)

    def frames(self, traverse: Traverse) -> list[int]:
        """The frame that shows each place."""
        return place_frames(traverse.travelled, self.options.step_m, self.seed)

    def image_name(self, place: int) -> str:
        """Path below images/ and labels/, without suffix."""
        return f"town-{self.town}/place-{place:04d}/{self.condition}-{self.view}"


def _render_drive(drive: Drive) -> None:
    cv2.setNumThreads(1)
    traverse = drive.traverse()
    for place, index in enumerate(drive.frames(traverse)):
        _write(drive.folder, drive.image_name(place), traverse.render(index))
    with replacing_file(drive.done) as temporary:
        temporary.touch()


def place_frames(travelled: NDArray[np.float64], step_m: float, seed: int) -> list[int]:
    """For every place, `step_m` apart, a frame within JITTER_M along the route of its centre."""
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
