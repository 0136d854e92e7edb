"""`postprocessing.npz`: what a map's descriptors went through, for its queries to follow.

Arrays: mean and deviation, float64 (D,); count and step, one number each; projection, float32
(P, D), where there is one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from saane_ros.errors import SaaneError
from saane_ros.route_map.arrays import read_arrays, write_arrays
from saane_ros.route_map.postprocessing import PROJECTIONS, Postprocessing, TraverseStatistics

POSTPROCESSING_FILE = "postprocessing.npz"


def write_postprocessing(path: Path, postprocessing: Postprocessing) -> None:
    """Write the file; its kind stands in `map.yaml`."""
    statistics = postprocessing.statistics
    arrays = {
        "mean": statistics.mean,
        "deviation": statistics.deviation,
        "count": np.array(statistics.count),
        "step": np.array(postprocessing.step),
    }
    if postprocessing.projection is not None:
        arrays["projection"] = postprocessing.projection
    write_arrays(path, arrays)


def read_postprocessing(path: Path, kind: str) -> Postprocessing:
    """Read and check the file; SaaneError where it is not of that kind or not finite."""
    arrays = read_arrays(path)
    expected = {"mean", "deviation", "count", "step"} | (
        {"projection"} if kind in PROJECTIONS else set()
    )
    if arrays.keys() != expected:
        raise _damaged(
            path, f"holds {', '.join(arrays)} and not {', '.join(sorted(expected))} of {kind}"
        )
    size = arrays["mean"].shape
    projection = arrays.get("projection")
    if (
        len(size) != 1
        or arrays["deviation"].shape != size
        or arrays["count"].shape != ()
        or arrays["step"].shape != ()
        or (projection is not None and (projection.ndim != 2 or projection.shape[1:] != size))
    ):
        raise _damaged(path, "has arrays that do not fit each other")
    numbers = (array.dtype.kind in "fi" and np.isfinite(array).all() for array in arrays.values())
    if not all(numbers) or (arrays["deviation"] < 0).any() or not arrays["deviation"].any():
        raise _damaged(path, "has values that are no statistics")
    statistics = TraverseStatistics(
        arrays["mean"].astype(np.float64),
        arrays["deviation"].astype(np.float64),
        int(arrays["count"]),
    )
    projection = None if projection is None else projection.astype(np.float32)
    return Postprocessing(kind, statistics, float(arrays["step"]), projection)


def _damaged(path: Path, what: str) -> SaaneError:
    return SaaneError(f"{path} {what}: build the map again or restore a copy.")
