"""Ground truth of recorded scores whose images are not there: `ground_truth.csv` and `*.npz`."""

from __future__ import annotations

import csv
from dataclasses import dataclass

import numpy as np

from saane_ros.data.datasets.dataset import Dataset, Where
from saane_ros.data.datasets.ref_query import COLUMNS, GROUND_TRUTH_FILE
from saane_ros.data.images.lists import NoImages
from saane_ros.errors import SaaneError


@dataclass(frozen=True)
class Recorded:
    """Nothing to choose."""


def read(where: Where, options: Recorded) -> list[Dataset]:
    """One dataset; the number of references is that of the first score matrix."""
    path = where.file(GROUND_TRUTH_FILE)
    correct: list[np.ndarray] = []
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.DictReader(stream):
            try:
                rows = sorted(int(index) for index in row[COLUMNS[1]].split())
                if int(row[COLUMNS[0]]) != len(correct):
                    raise ValueError
            except (KeyError, ValueError, AttributeError) as error:
                raise SaaneError(
                    f"{path} entry {len(correct)} is not the next query with its references "
                    f"({','.join(COLUMNS)}): correct it."
                ) from error
            correct.append(np.array(rows, np.int64))
    count = _references(where)
    return [
        Dataset(
            where.name,
            NoImages([f"query {index}" for index in range(len(correct))]),
            NoImages([f"reference {index}" for index in range(count)]),
            tuple(correct),
            "recorded scores, without their images",
            f"as {GROUND_TRUTH_FILE} lists",
        )
    ]


def _references(where: Where) -> int:
    for file in sorted(where.root.glob("*.npz")):
        with np.load(file, allow_pickle=False) as arrays:
            if "similarity" in arrays:
                return int(arrays["similarity"].shape[1])
    raise SaaneError(f"{where.root} holds no .npz file with an array `similarity`: {where.source}")
