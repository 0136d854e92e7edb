"""One benchmark: queries, references, what is right for each query, and where its files lie."""

from __future__ import annotations

from dataclasses import dataclass
from os.path import isfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.images.lists import ImageFiles, ImageList
from saane_ros.data.images.places import PlaceImages
from saane_ros.errors import SaaneError

SHOWN_MISSING = 3


@dataclass(frozen=True)
class Dataset:
    """Queries are searched among the references.

    correct: per query the sorted rows of the references that show its place, int64; empty where
        none does.
    protocol: split, subset and order in words.  tolerance: what counts as correct, in words.
    query_positions, reference_positions: metres east and north (n, 2) in one frame, or None.
    all_queries: whether Recall@N also counts the queries that have no match, as on Pitts30k.
    group: datasets of one group are one benchmark, told by their average and their worst.
    """

    name: str
    queries: ImageList
    references: ImageList
    correct: tuple[NDArray[np.int64], ...]
    protocol: str
    tolerance: str
    query_positions: NDArray[np.float64] | None = None
    reference_positions: NDArray[np.float64] | None = None
    all_queries: bool = False
    group: str = ""

    def __post_init__(self) -> None:
        for what, images in (("query", self.queries), ("reference", self.references)):
            if not len(images):
                raise SaaneError(f"Dataset {self.name} has no {what} image: check its folders.")
        if len(self.correct) != len(self.queries):
            raise SaaneError(
                f"The ground truth of {self.name} has {len(self.correct)} entries for "
                f"{len(self.queries)} queries: give one per query."
            )
        outside = [
            (query, int(row))
            for query, rows in enumerate(self.correct)
            for row in rows
            if not 0 <= row < len(self.references)
        ]
        if outside:
            raise SaaneError(
                f"The ground truth of {self.name} names reference {outside[0][1]} for query "
                f"{outside[0][0]}, of {len(self.references)} references: correct it."
            )
        if not any(len(rows) for rows in self.correct):
            raise SaaneError(
                f"No query of {self.name} has a match among its references: check that both show "
                f"the same route and that the tolerance ({self.tolerance}) fits."
            )

    @property
    def matched(self) -> int:
        """How many queries have a match."""
        return sum(len(rows) > 0 for rows in self.correct)


@dataclass(frozen=True)
class Where:
    """Where a dataset lies, and what to say when it does not.

    name: of the dataset.  root: its folder.  source: one sentence, what to download and how.
    """

    name: str
    root: Path
    source: str

    def folder(self, *parts: str) -> Path:
        """A folder below the root; SaaneError with the source where it is absent."""
        folder = self.root.joinpath(*parts)
        if not folder.is_dir():
            raise SaaneError(f"Dataset {self.name} is not at {folder}: {self.source}")
        return folder

    def files(self, paths: list[Path]) -> list[Path]:
        """The files themselves; SaaneError with their number and the source where some miss."""
        missing = [path for path in paths if not isfile(path)]
        if missing:
            shown = ", ".join(str(path) for path in missing[:SHOWN_MISSING])
            raise SaaneError(
                f"Dataset {self.name} lacks {len(missing)} of {len(paths)} files, such as {shown}: "
                f"{self.source}"
            )
        return paths

    def file(self, *parts: str) -> Path:
        """A file below the root, checked alike."""
        return self.files([self.root.joinpath(*parts)])[0]


def split_places(name: str, images: PlaceImages, references: int = 1) -> Dataset:
    """An evaluation on images grouped by place: the first of each are its references.

    Places with no more are distractors.
    """
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
