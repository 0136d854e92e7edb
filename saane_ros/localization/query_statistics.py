"""Post-processing of a live traverse's descriptors, whose statistics are known only as it goes.

They begin at the map's, which stand for `PSEUDO_FRAMES` frames, move to the traverse's own, and
forget: by night, a drive that began in the evening goes by what it sees by night.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saane_ros.route_map.postprocessing import Postprocessing, TraverseStatistics
from saane_ros.route_map.search import checked_descriptor

PSEUDO_FRAMES = 30.0
"""Chosen with MEMORY on synthetic validation towns, where frames counted from half of NOVEL on.
With fewer the first frames lose what they share as neighbours."""
MEMORY = 320.0
"""Frames that count, after which a frame's weight has fallen to 1/e. With 80 or fewer the
statistics become those of the street in view, and Recall@1 falls below that of what never forgets;
between 160 and 640 it differs little."""
NOVEL = 0.5
"""Of the map's step: a frame counts once it lies this far from the last that did, so that a camera
that stands still, or takes many images a metre, does not make its one view the traverse's mean. On
validation towns successive places lie 0.7 to 1.4 steps apart in any weather, and two images of one
place, each with noise of 5 grey levels, 0.3."""


class QueryPostprocessing:
    """Processes the descriptors of one traverse in their order; deterministic after `reset`.

    A frame that counted i such frames ago has the weight (1 - 1 / MEMORY)^i, and with n counted in
    all the map k = PSEUDO_FRAMES (1 - 1 / MEMORY)^n. With w the sum of the frames' weights, m their
    weighted mean and S their weighted squared deviations from it, the mean is (k mean_map + w m) /
    (k + w) and the variance (k variance_map + S) / (k + w): what lies between the two means is the
    shift to be taken out and no part of the variance.
    """

    def __init__(self, postprocessing: Postprocessing | None) -> None:
        self._postprocessing = postprocessing
        self.reset()

    def reset(self) -> None:
        """Forget the traverse so far."""
        self._map_weight, self._weight = PSEUDO_FRAMES, 0.0
        self._mean: NDArray[np.float64] | float = 0.0
        self._squares: NDArray[np.float64] | float = 0.0
        self._counted: NDArray[np.float32] | None = None

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
        if self._counted is None:
            return True
        return float(np.linalg.norm(raw - self._counted)) >= NOVEL * step

    def _take(self, raw: NDArray[np.float32]) -> None:
        """Weighted mean and squared deviations, updated (West, Communications of the ACM 1979)."""
        self._counted = raw.copy()
        kept = 1 - 1 / MEMORY
        self._map_weight *= kept
        self._weight = kept * self._weight + 1
        apart = raw.astype(np.float64) - self._mean
        self._mean = self._mean + apart / self._weight
        self._squares = kept * self._squares + apart * (raw - self._mean)

    def _statistics(self, postprocessing: Postprocessing) -> TraverseStatistics:
        of_map, k = postprocessing.statistics, self._map_weight
        total = k + self._weight
        mean = (k * of_map.mean + self._weight * self._mean) / total
        variance = (k * np.square(of_map.deviation) + self._squares) / total
        return TraverseStatistics(mean, np.sqrt(variance), round(total))
