"""An evaluation on images grouped by place: some of each place are references, others queries."""

from __future__ import annotations

import numpy as np

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.images.lists import ImageFiles
from saane_ros.data.images.places import PlaceImages
from saane_ros.errors import SaaneError


def split_places(name: str, images: PlaceImages, references: int = 1) -> Dataset:
    """The first images of every place are its references; places with no more are distractors."""
    labels = np.array(images.labels)
    seen: dict[int, int] = {}
    is_reference = np.zeros(len(labels), bool)
    for row, label in enumerate(images.labels):
        is_reference[row] = seen.get(label, 0) < references
        seen[label] = seen.get(label, 0) + 1
    if is_reference.all():
        raise SaaneError(
            f"No place of {name} has more than {references} images, so nothing is left to search "
            "with: give places with several images."
        )
    there, here = np.flatnonzero(is_reference), np.flatnonzero(~is_reference)
    correct = tuple(np.flatnonzero(labels[there] == labels[row]).astype(np.int64) for row in here)
    listed = [
        ImageFiles([images.paths[row] for row in rows], [_title(images, int(row)) for row in rows])
        for rows in (here, there)
    ]
    return Dataset(
        name,
        listed[0],
        listed[1],
        correct,
        f"{len(images.names)} places, the first {references} images of each are references",
        "any reference of the same place",
    )


def _title(images: PlaceImages, row: int) -> str:
    return f"{images.names[images.labels[row]]}/{images.paths[row].name}"
