"""Descriptors of a dataset after post-processing, its queries being one traverse in order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saane_ros.route_map.postprocessing import fit, statistics_of

Rows = NDArray[np.float32]


def by_own_statistics(kind: str, queries: Rows, references: Rows) -> tuple[Rows, Rows]:
    """Queries (Q, P) and references (N, P), each by the statistics of its whole traverse.

    kind: of `postprocessing.KINDS`. What a projection keeps is learnt from the references.
    """
    fitted = fit(kind, references)
    if fitted is None:
        return queries, references
    return fitted.apply(queries, statistics_of(queries)), fitted.apply(references)
