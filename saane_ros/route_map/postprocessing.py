"""Post-processing of descriptors by statistics of the traverse that they come from.

What a season or a light adds to every image of a traverse says nothing of the place, and it goes
when each traverse is centred, or standardised, by its own mean and deviation of every dimension
(Schubert, Neubert & Protzel, ICRA 2020). PCA whitening (Jegou & Chum, ECCV 2012) of centred rows
weighs directions by how little they vary along the map, and keeps only the leading ones. The
projection is fitted to the map's rows and is the same for all traverses; the statistics are not.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError

NONE, MEAN, STANDARDISE = "none", "mean", "standardise"
PROJECTIONS = {"pca512": 512, "pca1024": 1024}
"""Kinds with PCA whitening, by the values that they keep at most."""
KINDS = (NONE, MEAN, STANDARDISE, *PROJECTIONS)
AUTO = "auto"
CHOICES = (*KINDS, AUTO)
"""What a build may be asked for: a kind, or to choose one itself by `chosen`."""

NORM = 10.0
"""Of every processed row, as of every descriptor."""
DEVIATION_FLOOR = 0.1
"""Of the mean deviation: a feature that is rare in a traverse must not decide alone."""
SHRINKAGE = 3.0
"""Times the mean eigenvalue, added to each: what few places show is not blown up. Chosen on
synthetic validation towns, where plain whitening lost against centring alone."""
RANK = 1e-6
"""Of the largest eigenvalue: directions below vary by rounding alone and are left out."""
PCA_PLACES = 4096
"""Places at most, evenly spread, that a projection is fitted to: its cost grows with their cube."""
ENOUGH_PLACES = 100
"""Recall@1 of saane-resnet18 on validation towns in other light, raw and by the mean: on 24 places
0.842 and 0.827, at worst 0.46 less, on 120 places 0.811 and 0.828, at worst 0.02 less. By mean and
deviation, with the statistics of a live drive, it is less at every length, on 240 places 0.781."""
VARIED = 0.75
"""Of the spread of images from elsewhere: 80 places of a town's road have 0.85 or more of it, the
floors of a building 0.80, and fixed cameras at all hours of a year mostly 0.45 to 0.73."""
_TINY = 1e-12
_BLOCK = 1024


@dataclass(frozen=True)
class TraverseStatistics:
    """mean, deviation: of every dimension over a traverse, float64 (D,).  count: of its images."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    count: int

    def normalised(self, rows: NDArray[np.floating], divide: bool) -> NDArray[np.float32]:
        """Rows (n, D) without the mean, in units of the deviation with `divide`, at norm 10.

        Deviations count as a tenth of the mean one at least. A row that is the mean stays zero.
        """
        values = np.asarray(rows, np.float32) - self.mean.astype(np.float32)
        if divide:
            floor = max(DEVIATION_FLOOR * float(self.deviation.mean()), _TINY)
            values /= np.maximum(self.deviation, floor).astype(np.float32)
        return at_norm(values)


@dataclass(frozen=True, eq=False)
class Postprocessing:
    """What a map's descriptors went through and its queries go through.

    kind: of `KINDS`, not "none".  statistics: of the map's own traverse.  step: distance of raw
    descriptors of successive places, the median.  projection: float32 (P, D), of PCA kinds alone.
    """

    kind: str
    statistics: TraverseStatistics
    step: float
    projection: NDArray[np.float32] | None = None

    @property
    def size(self) -> int:
        """Values of a processed descriptor."""
        return len(self.statistics.mean if self.projection is None else self.projection)

    def apply(
        self, rows: NDArray[np.floating], statistics: TraverseStatistics | None = None
    ) -> NDArray[np.float32]:
        """Raw descriptors (n, D) as processed ones (n, P), float32 of norm 10.

        statistics: of the traverse that the rows come from; the map's own where None.
        """
        traverse = self.statistics if statistics is None else statistics
        out = np.empty((len(rows), self.size), np.float32)
        for block in _blocks(len(rows)):
            values = traverse.normalised(rows[block], divide=self.kind == STANDARDISE)
            out[block] = self.projected(values)
        return out

    def projected(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised rows (n, D) as processed ones (n, P)."""
        return rows if self.projection is None else at_norm(rows @ self.projection.T)


def fit(kind: str, rows: NDArray[np.floating]) -> Postprocessing | None:
    """The post-processing of one traverse's raw descriptors (N, D); None for "none".

    Raises SaaneError where fewer than two rows differ, of which there are no statistics.
    """
    if kind not in KINDS:
        raise SaaneError(f"There is no post-processing {kind}: choose one of {', '.join(KINDS)}.")
    if kind == NONE:
        return None
    statistics = statistics_of(rows)
    if float(statistics.deviation.max()) <= _TINY:
        raise SaaneError(
            f"Post-processing {kind} needs places that differ, and of {len(rows)} all descriptors "
            "are equal: add places or choose none."
        )
    steps = [float(np.linalg.norm(b - a)) for a, b in itertools.pairwise(rows)]
    step = float(np.median(steps))
    if kind not in PROJECTIONS:
        return Postprocessing(kind, statistics, step)
    some = statistics.normalised(rows[_spread(len(rows))], divide=False)
    return Postprocessing(kind, statistics, step, projection_of(some, PROJECTIONS[kind]))


def chosen(
    descriptors: NDArray[np.floating], rows: Sequence[int], elsewhere: NDArray[np.floating]
) -> tuple[str, str]:
    """The kind that a drive bears, "none" or "mean", and why in one sentence.

    descriptors: raw, of which `rows` are the drive's places.  elsewhere: raw descriptors (n, D) of
    images that all show different places. The mean of few places, or of one that a robot stood at,
    is what these show and not what the light adds; taken out, noise would remain.
    """
    count = len(rows)
    if count < ENOUGH_PLACES:
        return NONE, f"of {count} places, fewer than {ENOUGH_PLACES}, the mean is no road's"
    some = descriptors[[rows[row] for row in _spread(count)]]
    spread = _deviation(some) / max(_deviation(elsewhere), _TINY)
    told = f"{count} places differ {spread:.2f} times as much as places elsewhere do"
    if spread < VARIED:
        return NONE, f"{told}, and of less than {VARIED:g} the mean is no road's"
    return MEAN, f"{told}, enough for their mean to be what light and season add"


def _deviation(rows: NDArray[np.floating]) -> float:
    """Root mean square distance of rows (N, D) from their mean."""
    return float(np.linalg.norm(statistics_of(rows).deviation))


def pooled(parts: Sequence[Postprocessing]) -> Postprocessing:
    """The post-processing of traverses that went through their own ones of one kind.

    Its statistics, where a query traverse begins, are the means of theirs by their counts: what
    lies between two traverses is no part of the variance. Raises SaaneError where projections
    differ, as then rows of the one say nothing to the other.
    """
    first = parts[0]
    if any(not _same(first.projection, other.projection) for other in parts):
        raise SaaneError(
            f"The maps have {first.kind} projections of their own, in which descriptors cannot be "
            f"compared: build them with --postprocessing mean, and merge those with "
            f"--postprocessing {first.kind}."
        )
    counts = [part.statistics.count for part in parts]
    means = [part.statistics.mean for part in parts]
    variances = [np.square(part.statistics.deviation) for part in parts]
    statistics = TraverseStatistics(
        np.average(means, axis=0, weights=counts),
        np.sqrt(np.average(variances, axis=0, weights=counts)),
        sum(counts),
    )
    step = float(np.average([part.step for part in parts], weights=counts))
    return Postprocessing(first.kind, statistics, step, first.projection)


def whitened(centred: Postprocessing, kind: str, rows: NDArray[np.floating]) -> Postprocessing:
    """The post-processing of rows (N, D) that went through `centred` and are to be whitened too."""
    if centred.kind != MEAN or kind not in PROJECTIONS:
        raise SaaneError(
            f"Descriptors that went through {centred.kind} cannot become {kind}: "
            f"those of mean can become {' or '.join(PROJECTIONS)}."
        )
    some = np.asarray(rows[_spread(len(rows))], np.float32)
    return replace(centred, kind=kind, projection=projection_of(some, PROJECTIONS[kind]))


def _spread(count: int) -> NDArray[np.int64]:
    wanted = np.linspace(0, count - 1, min(count, PCA_PLACES))
    return np.asarray(wanted.round(), np.int64)


def _same(a: NDArray[np.float32] | None, b: NDArray[np.float32] | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, count, _BLOCK)]


def statistics_of(rows: NDArray[np.floating]) -> TraverseStatistics:
    """Mean and population deviation of every dimension of rows (N, D)."""
    blocks = _blocks(len(rows))
    sums = [rows[block].sum(axis=0, dtype=np.float64) for block in blocks]
    mean = np.sum(sums, axis=0) / len(rows)
    squares = [np.square(rows[block] - mean).sum(axis=0) for block in blocks]
    return TraverseStatistics(mean, np.sqrt(np.sum(squares, axis=0) / len(rows)), len(rows))


def projection_of(rows: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Whitening onto the `size` largest directions, or all there are: W (P, D), y = W x.

    W = diag(1 / sqrt(lambda + s)) U^T of the second moments of centred rows (n, D), s the
    shrinkage.
    """
    directions, eigenvalues = principal_directions(rows, size)
    shrunk = eigenvalues + SHRINKAGE * eigenvalues.mean()
    return np.ascontiguousarray((directions / np.sqrt(shrunk)).T, np.float32)


def principal_directions(
    rows: NDArray[np.float32], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The `size` directions (D, P) along which centred rows (n, D) vary most, or all there are.

    And their eigenvalues (P,), descending. The smaller of the n x n products and the D x D moments
    is decomposed.
    """
    values = rows.astype(np.float64)
    few = len(values) <= values.shape[1]
    moments = (values @ values.T if few else values.T @ values) / len(values)
    eigenvalues, vectors = np.linalg.eigh(moments)
    kept = np.flatnonzero(eigenvalues > RANK * eigenvalues[-1])[::-1][:size]
    directions = vectors[:, kept]
    if few:
        directions = values.T @ directions / np.sqrt(len(values) * eigenvalues[kept])
    return directions, eigenvalues[kept]


def at_norm(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (n, D) brought to norm 10; a row of zeros stays one."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(NORM * rows / np.maximum(lengths, _TINY), np.float32)
