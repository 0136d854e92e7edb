"""Compact feature grids, and how far two of them agree on what lies where.

A descriptor says what a scene is like; two streets may be alike. Whether they are one is told by
where things lie in the image: cells of two views of one place pair up as mutual nearest neighbours
that all moved by about one shift, those of two places pair up anywhere. It is the vote of local
features for one transformation (Lowe, IJCV 2004, section 7; Patch-NetVLAD's rapid spatial scoring,
Hausler et al., CVPR 2021, has the same idea), and independent of all distances between descriptors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIZE = 32
"""Values of a compact cell: 64 tell places apart only slightly better, at twice the bytes."""
BLOCK = 256
"""Cells compared at once with all of another grid: of many, what is compared stays in the cache."""
SCALE = 127.0
SAME = 0.1
"""Of its own size: how far two projections of one model may lie apart."""
_TINY = 1e-9

Compact = NDArray[np.int8]
Cells = NDArray[np.int8] | NDArray[np.floating]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GridProjection:
    """PCA whitening of unit cells: y = directions (x / |x| - mean), brought to unit length.

    mean: float32 (C,).  directions: float32 (P, C).  It is the model's and not the map's, so that
    grids of all maps of a model compare.  Both are empty where cells stay as they are: a unit
    matrix for the 8192 values of a patch would take more than a map.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]

    def fits(self, values: int) -> bool:
        """Whether compact cells of so many values may be made by it."""
        return len(self.directions) in (0, values)

    def matches(self, other: GridProjection) -> bool:
        """Whether grids by the one and by the other compare, as they do but for rounding."""
        if self.directions.shape != other.directions.shape:
            return False
        apart = np.linalg.norm(self.directions - other.directions)
        return bool(apart <= SAME * np.linalg.norm(self.directions))

    def compact(self, grid: NDArray[np.floating]) -> Compact:
        """A grid (h, w, C) as int8 (h, w, P), each cell a unit vector times 127."""
        import torch  # it takes seconds and memory, which what only reads maps does without

        height, width, channels = grid.shape
        cells = np.asarray(grid, np.float32).reshape(-1, channels)
        if not len(self.directions):
            return np.rint(SCALE * _unit(cells)).astype(np.int8).reshape(height, width, channels)
        # Unit cells less the mean, projected; few values are touched before they are projected.
        # By PyTorch: NumPy's OpenBLAS has threads of its own, which spin beside those of a network
        # that works on, and took a third of the processor time of building a map.
        lengths = np.sqrt(np.einsum("ij,ij->i", cells, cells))[:, None]
        directions = torch.from_numpy(self.directions).T
        turned = (torch.from_numpy(cells) @ directions).numpy() / np.maximum(lengths, _TINY)
        projected = _unit(turned - (torch.from_numpy(self.mean) @ directions).numpy())
        return np.rint(SCALE * projected).astype(np.int8).reshape(height, width, -1)


UNPROJECTED = GridProjection(np.empty(0, np.float32), np.empty((0, 0), np.float32))
"""Of local features that a model was trained to be compared by."""


def fit_projection(grids: NDArray[np.floating], size: int = SIZE) -> GridProjection:
    """The leading directions of all cells of grids (n, h, w, C), each scaled to variance 1."""
    cells = _unit(np.asarray(grids, np.float32).reshape(-1, grids.shape[-1]))
    mean = cells.mean(axis=0)
    centred = (cells - mean).astype(np.float64)
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    kept = np.flatnonzero(variances > 1e-6 * variances[-1])[::-1][:size]
    directions = (vectors[:, kept] / np.sqrt(variances[kept])).T
    # A direction and its opposite are both solutions, and which is found depends on the machine.
    largest = np.abs(directions).argmax(axis=1)
    directions *= np.sign(directions[np.arange(len(directions)), largest])[:, None]
    return GridProjection(mean, np.ascontiguousarray(directions, np.float32))


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, _TINY), np.float32)


class Pairs(NamedTuple):
    """Cells (m,) of a query and of a reference that are each other's nearest."""

    here: NDArray[np.int64]
    there: NDArray[np.int64]


def mutual_pairs(query: Cells, reference: Cells) -> Pairs:
    """By dot product; both h x w x P."""
    size = query.shape[-1]
    # Cosines of int8 cells are exact in float32.
    mine = query.reshape(-1, size).astype(np.float32)
    theirs = reference.reshape(-1, size).astype(np.float32).T
    there = np.empty(len(mine), np.int64)
    here = np.zeros(theirs.shape[1], np.int64)
    most = np.full(theirs.shape[1], -np.inf, np.float32)
    for start in range(0, len(mine), BLOCK):
        cosines = mine[start : start + BLOCK] @ theirs
        there[start : start + BLOCK] = cosines.argmax(axis=1)
        # Down the columns a maximum is found far sooner than its row, which few columns need.
        highest = cosines.max(axis=0)
        nearer = np.flatnonzero(highest > most)
        most[nearer] = highest[nearer]
        columns = cosines if len(nearer) == len(most) else cosines[:, nearer]
        here[nearer] = start + columns.argmax(axis=0)
    cells = np.flatnonzero(here[there] == np.arange(len(mine)))
    return Pairs(cells, there[cells])


def agreement(query: Cells, references: Cells) -> Floats:
    """Share of a query's cells (h, w, P) that agree with each of references (k, h, w, P), (k,).

    Mutual nearest neighbours are counted by their shift, and the fullest 3 x 3 of neighbouring
    shifts is the agreement.
    """
    height, width = query.shape[:2]
    full = [_fullest(*mutual_pairs(query, one), height, width) for one in references]
    return np.array(full) / (height * width)


def mutual_score(query: Cells, references: Cells) -> Floats:
    """Share of cells with a mutual nearest neighbour, which SelaVPR counts (Lu et al., ICLR 2024,
    section 3.4), as `agreement`."""
    cells = query.shape[0] * query.shape[1]
    return np.array([len(mutual_pairs(query, one).here) / cells for one in references])


def rapid_score(query: Cells, references: Cells) -> Floats:
    """Patch-NetVLAD's rapid spatial scoring (Hausler et al., CVPR 2021, section 3.4): mutual pairs
    count the more, the nearer their shift is to the mean shift; in [0, 1], as `agreement`."""
    height, width = query.shape[:2]
    most = max((height - 1) ** 2 + (width - 1) ** 2, 1) * height * width
    found = np.zeros(len(references))
    for number, reference in enumerate(references):
        here, there = mutual_pairs(query, reference)
        if not len(here):
            continue
        for last, mine, theirs in (
            (height - 1, here // width, there // width),
            (width - 1, here % width, there % width),
        ):
            shift = (theirs - mine).astype(np.float64)
            found[number] += ((last - np.abs(shift - shift.mean())) ** 2).sum() / most
    return found


Score = Callable[[Cells, Cells], Floats]
GRIDS, RAPID, MUTUAL = "grids", "rapid", "mutual"
SCORES: dict[str, Score] = {GRIDS: agreement, RAPID: rapid_score, MUTUAL: mutual_score}
"""Of two views by what lies where: 1 for one view, and least for two places."""
OWN = "own"
RERANKS = (*SCORES, f"{OWN}-{RAPID}", f"{OWN}-{MUTUAL}")
"""What a map may re-rank by: `SCORES` of compact feature grids, or what its model's authors compare
their own local features by."""


class Rerank(NamedTuple):
    """score: of two grids.  own: whether these are the model's own local features."""

    score: Score
    own: bool


def rerank_of(name: str) -> Rerank:
    """What one of `RERANKS` means."""
    kind, _, score = name.rpartition("-")
    return Rerank(SCORES[score], kind == OWN)


def _fullest(here: NDArray[np.int64], there: NDArray[np.int64], height: int, width: int) -> int:
    """Pairs in the fullest 3 x 3 of neighbouring shifts."""
    down = there // width - here // width + height
    right = there % width - here % width + width
    rows, columns = 2 * height + 1, 2 * width + 1
    votes = np.bincount(down * columns + right, minlength=rows * columns).reshape(rows, columns)
    sums = np.zeros((rows + 1, columns + 1), np.int64)
    sums[1:, 1:] = votes.cumsum(axis=0).cumsum(axis=1)
    boxes = sums[3:, 3:] - sums[:-3, 3:] - sums[3:, :-3] + sums[:-3, :-3]
    return int(boxes.max())
