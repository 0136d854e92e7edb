"""Post-processing of a live traverse's descriptors, whose statistics are known only as it goes.

They begin at the map's, which stand for `PSEUDO_FRAMES` frames, and move to the traverse's own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saane_ros.route_map.postprocessing import Postprocessing, TraverseStatistics
from saane_ros.route_map.search import checked_descriptor

PSEUDO_FRAMES = 10.0
"""Chosen on synthetic validation towns, where 5 to 20 differ little: with fewer the first frames
lose what they share as neighbours, with more a strong change of light is taken out late."""
NOVEL = 0.5
"""Of the map's step: a frame counts once it lies this far from the last that did, so that a camera
that stands still, or takes many images a metre, does not make its one view the traverse's mean. On
validation towns successive places lie 0.7 to 1.4 steps apart in any weather, and two images of one
place, each with noise of 5 grey levels, 0.3."""


class QueryPostprocessing:
    """Processes the descriptors of one traverse in their order; deterministic after `reset`.

    With n frames counted, of mean m and squared deviations S from it, and k pseudo-frames of the
    map, the mean is (k mean_map + n m) / (k + n) and the variance (k variance_map + S) / (k + n):
    what lies between the two means is the shift to be taken out and no part of the variance.
    """

    def __init__(self, postprocessing: Postprocessing | None) -> None:
        self._postprocessing = postprocessing
        self.reset()

    def reset(self) -> None:
        """Forget the traverse so far."""
        self._count = 0
        self._mean: NDArray[np.float64] | float = 0.0
        self._squares: NDArray[np.float64] | float = 0.0
        self._last: NDArray[np.float32] | None = None

    def process(self, descriptor: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next raw descriptor (D,) as processed (P,); as it is where the map has none.

        Raises SaaneError where it is not finite or not of the map's model; nothing changes then.
        """
        if self._postprocessing is None:
            return descriptor
        raw = checked_descriptor(descriptor, len(self._postprocessing.statistics.mean))
        if self._is_novel(raw, self._postprocessing.step):
            self._take(raw)
        return self._postprocessing.apply(raw[None], self._statistics(self._postprocessing))[0]

    def _is_novel(self, raw: NDArray[np.float32], step: float) -> bool:
        return self._last is None or float(np.linalg.norm(raw - self._last)) >= NOVEL * step

    def _take(self, raw: NDArray[np.float32]) -> None:
        """Welford's update of mean and squared deviations."""
        self._last = raw.copy()
        self._count += 1
        apart = raw - self._mean
        self._mean = self._mean + apart / self._count
        self._squares = self._squares + apart * (raw - self._mean)

    def _statistics(self, postprocessing: Postprocessing) -> TraverseStatistics:
        of_map = postprocessing.statistics
        total = PSEUDO_FRAMES + self._count
        mean = (PSEUDO_FRAMES * of_map.mean + self._count * self._mean) / total
        variance = (PSEUDO_FRAMES * np.square(of_map.deviation) + self._squares) / total
        return TraverseStatistics(mean, np.sqrt(variance), self._count)
