"""Descriptors of a dataset after post-processing, its queries being one traverse in order."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.localization.query_statistics import QueryPostprocessing
from saane_ros.route_map.postprocessing import (
    MEAN,
    NONE,
    PROJECTIONS,
    STANDARDISE,
    fit,
    statistics_of,
)

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Processing:
    """kind: of `postprocessing.KINDS`.

    online: queries by statistics that run along with them, as of a live localizer, and not by
    those of their whole traverse.
    """

    kind: str = NONE
    online: bool = False


RAW = Processing()
SHORT = {"mean": MEAN, "std": STANDARDISE, **{kind: kind for kind in PROJECTIONS}}
"""Kinds by their name behind a model."""
SUFFIXES = {
    f":{name}{'-online' * online}": Processing(kind, online)
    for name, kind in SHORT.items()
    for online in (False, True)
}


def split_suffix(spec: str) -> tuple[str, str]:
    """A model and the post-processing suffix behind it, empty where there is none."""
    suffix = next((suffix for suffix in SUFFIXES if spec.endswith(suffix)), "")
    return spec.removesuffix(suffix), suffix


@dataclass(frozen=True)
class Processed:
    """queries (Q, P), references (N, P), milliseconds that one query took."""

    queries: Rows
    references: Rows
    query_ms: float


def processed(how: Processing, queries: Rows, references: Rows) -> Processed:
    """Raw queries (Q, D) and references (N, D) after it."""
    fitted = fit(how.kind, references)
    if fitted is None:
        return Processed(queries, references, 0.0)
    start = time.perf_counter()
    if how.online:
        running = QueryPostprocessing(fitted)
        rows = np.stack([running.process(query) for query in queries])
    else:
        rows = fitted.apply(queries, statistics_of(queries))
    query_ms = 1000 * (time.perf_counter() - start) / len(queries)
    return Processed(rows, fitted.apply(references), query_ms)
