"""Images with positions, and the tuples of queries, positives and negatives that they make.

NetVLAD's weak supervision (Arandjelovic et al. 2016, section 4): a position says which references
may show a query's place and which cannot, not which of the former really do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.images.lists import ImageList
from saane_ros.errors import SaaneError
from saane_ros.types import Rgb

POSITIVE_M, NOT_NEARER_M, NEGATIVE_M = 10.0, 1.0, 25.0
"""Potential positives lie within, but not nearer than; negatives lie beyond."""

Rows = NDArray[np.int64]


class TaggedImages:
    """The images of several datasets in one order; see `reading_ahead.Images`.

    queries, references: per dataset the rows of its images.
    """

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self.datasets = tuple(datasets)
        self._lists: list[ImageList] = []
        self._starts: list[int] = []
        self._count = 0
        self.queries: list[Rows] = []
        self.references: list[Rows] = []
        for dataset in datasets:
            self.queries.append(self._rows(dataset.queries))
            self.references.append(self._rows(dataset.references))

    def _rows(self, images: ImageList) -> Rows:
        """Rows of a list, the same again where a drive is searched in itself."""
        known = [i for i, other in enumerate(self._lists) if other is images]
        if not known:
            self._lists.append(images)
            self._starts.append(self._count)
            self._count += len(images)
        start = self._starts[known[0] if known else -1]
        return np.arange(start, start + len(images))

    @property
    def list_keys(self) -> list[str]:
        return [images.key for images in self._lists]

    @property
    def key(self) -> str:
        return hashlib.sha256("".join(self.list_keys).encode()).hexdigest()

    def __len__(self) -> int:
        return self._count

    @property
    def in_order(self) -> bool:
        """Whether reading in another order would be slow, as for a video."""
        return any(getattr(images, "in_order", False) for images in self._lists)

    def read(self, index: int) -> Rgb:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._lists[number].read(index - self._starts[number])


class Tuples:
    """The queries that can be learned from: those with a potential positive and a negative.

    left_out: how many queries have none.  Raises SaaneError for a dataset that has no other.
    """

    def __init__(self, images: TaggedImages) -> None:
        self._places: list[tuple[int, int]] = []
        self._images, self.left_out = images, 0
        for number, dataset in enumerate(images.datasets):
            here, _ = positions_of(dataset)
            usable = [i for i in range(len(here)) if self._usable(number, i)]
            if not usable:
                raise SaaneError(
                    f"No query of {dataset.name} has a reference {NOT_NEARER_M:g} to "
                    f"{POSITIVE_M:g} m away and one beyond {NEGATIVE_M:g} m: give references of "
                    "the same streets, in the same frame, metres apart."
                )
            self._places += [(number, i) for i in usable]
            self.left_out += len(here) - len(usable)

    def __len__(self) -> int:
        return len(self._places)

    def query(self, index: int) -> int:
        """Row of the query's image."""
        number, i = self._places[index]
        return int(self._images.queries[number][i])

    def positives(self, index: int) -> Rows:
        """Rows of the potential positives."""
        number, i = self._places[index]
        metres = self._metres(number, i)
        near = (metres <= POSITIVE_M) & (metres >= NOT_NEARER_M)
        return self._images.references[number][near]

    def negatives(self, index: int) -> Rows:
        """Rows of the references that cannot show the query's place."""
        number, i = self._places[index]
        return self._images.references[number][self._metres(number, i) > NEGATIVE_M]

    def _usable(self, number: int, i: int) -> bool:
        metres = self._metres(number, i)
        near = (metres <= POSITIVE_M) & (metres >= NOT_NEARER_M)
        return bool(near.any() and (metres > NEGATIVE_M).any())

    def _metres(self, number: int, i: int) -> NDArray[np.float64]:
        """To every reference; NaN, which is neither near nor far, where a position is unknown."""
        here, there = positions_of(self._images.datasets[number])
        metres: NDArray[np.float64] = np.linalg.norm(there - here[i], axis=1)
        return metres


def positions_of(dataset: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Metres east and north of queries (Q, 2) and references (N, 2), or a SaaneError."""
    here, there = dataset.query_positions, dataset.reference_positions
    if here is None or there is None:
        raise SaaneError(
            f"Dataset {dataset.name} has no positions of its images, which weak supervision needs: "
            "give one with positions in metres, such as Pitts30k, MSLS, a tree of '@' names or "
            "folders with pose files."
        )
    return here, there
