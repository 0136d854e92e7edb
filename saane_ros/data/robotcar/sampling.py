"""Which images of a traversal are taken."""

from __future__ import annotations

import numpy as np

LONGEST_WAIT_NS = 250_000_000
"""A second without an image nearer than this is left out."""


def sampled(stamps_ns: list[int], rate: float) -> list[int]:
    """The stamps nearest to every 1 / rate seconds from the first; gaps are left out."""
    values = np.array(stamps_ns, np.int64)
    if not len(values):
        return []
    period = round(1e9 / rate)
    wanted = np.arange(values[0], values[-1] + 1, period)
    after = np.clip(np.searchsorted(values, wanted), 1, max(len(values) - 1, 1))
    after = np.minimum(after, len(values) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.where(wanted - values[before] <= values[after] - wanted, before, after)
    close = np.abs(values[nearer] - wanted) <= LONGEST_WAIT_NS
    return [int(stamp) for stamp in values[np.unique(nearer[close])]]
