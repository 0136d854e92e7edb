"""Where images with positions come from: datasets, drives with poses, and the towns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from saane_ros.data.datasets import Dataset, open_datasets
from saane_ros.data.datasets.truth import RADIUS_M, within_radius
from saane_ros.data.images.folders import ImageFolder
from saane_ros.data.images.lists import ImageFiles
from saane_ros.errors import SaaneError
from saane_ros.training.tagged_images import positions_of


@dataclass(frozen=True)
class TaggedSource:
    """One set of images with positions.

    kind: "dataset": queries and references of a dataset that knows where they are. "drive": a
        folder of images with poses, each a query and a reference. "towns": the rendered towns.
    folder: below the data folder; for a dataset its name or YAML file.
    poses: the pose file of a drive, below the data folder; by default the one in its folder.
    reference: condition of the towns' references; all others are queries.
    """

    kind: Literal["dataset", "drive", "towns"]
    folder: str = ""
    poses: str = ""
    reference: str = "day"


def read_tagged(source: TaggedSource, data: Path) -> list[Dataset]:
    """The datasets of a source that is not rendered; SaaneError where positions are unknown."""
    if source.kind == "drive":
        return [_drive(source, data)]
    datasets = open_datasets(source.folder, data)
    for dataset in datasets:
        positions_of(dataset)
    return datasets


def _drive(source: TaggedSource, data: Path) -> Dataset:
    folder = ImageFolder(data / source.folder, data / source.poses if source.poses else None)
    poses = [entry.pose for entry in folder.entries if entry.pose is not None]
    if len(poses) < len(folder):
        raise SaaneError(
            f"The images of {folder.path} have no poses: put poses.csv or poses.txt beside them, "
            "name the file in `poses`, or give '@' names."
        )
    images = ImageFiles([entry.path for entry in folder.entries])
    positions = np.array([pose.position[:2] for pose in poses])
    return Dataset(
        source.folder,
        images,
        images,
        within_radius(positions, positions, RADIUS_M),
        "one drive",
        f"within {RADIUS_M:g} m",
        positions,
        positions,
    )
