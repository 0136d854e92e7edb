"""The rendered towns as a dataset with positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.datasets.truth import within_radius
from saane_ros.data.images.lists import ImageFiles
from saane_ros.errors import SaaneError
from saane_ros.training.config import TownImages
from saane_ros.training.town_images import Drive, drives

APART_M = 10_000.0
"""Between two towns in the common frame: what one shows, no other does."""
RADIUS_M = 10.0
"""Towns are short, so that less than the usual 25 m counts as correct."""


def town_dataset(options: TownImages, root: Path, purpose: str, reference: str) -> Dataset:
    """Drives in the reference condition, searched for the images of all other drives.

    root: folder of the rendered towns.  purpose: "training" or "validation".
    """
    if reference not in options.conditions or len(options.conditions) < 2:
        raise SaaneError(
            f"Towns under {', '.join(options.conditions)} cannot be searched in {reference!r}: "
            "name one of at least two conditions as `reference`."
        )
    found = drives(options, root, purpose)
    references, there = _images([drive for drive in found if drive.condition == reference])
    queries, here = _images([drive for drive in found if drive.condition != reference])
    return Dataset(
        "towns",
        ImageFiles(queries),
        ImageFiles(references),
        within_radius(here, there, RADIUS_M),
        f"every condition searched in {reference}, {purpose} towns",
        f"within {RADIUS_M:g} m",
        here,
        there,
    )


def _images(some: list[Drive]) -> tuple[list[Path], NDArray[np.float64]]:
    """Image files of some drives, and their positions (n, 2)."""
    paths, positions = [], []
    for drive in some:
        traverse = drive.traverse()
        for place, index in enumerate(drive.frames(traverse)):
            x, y, _ = traverse.poses[index].position
            positions.append((x + APART_M * drive.town, y))
            paths.append(drive.folder / "images" / f"{drive.image_name(place)}.jpg")
    return paths, np.array(positions)
