"""One benchmark: query and reference images and what is right for each query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.images.lists import ImageList
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


def require_files(paths: Sequence[Path], name: str, source: str) -> None:
    """SaaneError that counts the files that are missing and says where to get them."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        shown = ", ".join(str(path) for path in missing[:SHOWN_MISSING])
        raise SaaneError(
            f"Dataset {name} lacks {len(missing)} of {len(paths)} files, such as {shown}: {source}"
        )


def require_folder(folder: Path, name: str, source: str) -> Path:
    """The folder itself; SaaneError that says what to download where it is absent."""
    if not folder.is_dir():
        raise SaaneError(f"Dataset {name} is not at {folder}: {source}")
    return folder
