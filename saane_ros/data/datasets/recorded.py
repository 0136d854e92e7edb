"""Ground truth of recorded scores whose images are not there: `ground_truth.csv` and `*.npz`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from saane_ros.data.datasets.dataset import Dataset, Where
from saane_ros.data.datasets.ref_query import COLUMNS, GROUND_TRUTH_FILE
from saane_ros.data.images.lists import NoImages
from saane_ros.errors import SaaneError
from saane_ros.reading import read_arrays, read_named_rows


@dataclass(frozen=True)
class Recorded:
    """Nothing to choose."""


def read(where: Where, options: Recorded) -> list[Dataset]:
    """One dataset; the number of references is that of the first score matrix."""
    path = where.file(GROUND_TRUTH_FILE)
    correct: list[np.ndarray] = []
    for _, row in read_named_rows(path, "The ground truth"):
        try:
            rows = np.array(sorted(int(index) for index in row[COLUMNS[1]].split()), np.int64)
            if int(row[COLUMNS[0]]) != len(correct):
                raise ValueError
        except (KeyError, ValueError, OverflowError) as error:
            raise SaaneError(
                f"{path} entry {len(correct)} is not the next query with its references "
                f"({','.join(COLUMNS)}): correct it."
            ) from error
        correct.append(rows)
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
        scores = read_arrays(file, "write it with numpy.savez").get("similarity")
        if scores is not None and scores.ndim == 2:
            return int(scores.shape[1])
    raise SaaneError(f"{where.root} holds no .npz file with an array `similarity`: {where.source}")
