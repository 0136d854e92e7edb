"""The points that the places of a map see, in three files of the map.

`metric.yaml` tells what they are, `metric_starts.npy` where the rows of a place begin, and
`metric_rows.npy` has one row for every keypoint of a place that is a point in space. The file of
rows is memory-mapped, and the rows of a place lie together: a frame reads those of its candidates.

A point stands in the optical axes of its place's camera. It so goes with the pose of its place:
maps that are cut, joined or moved into another frame keep their rows as they are. That holds for
cameras mounted differently too, as a merge poses every place so that the first map's mount leads to
the camera that saw it. A place may have no rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.metric.cameras import Camera, camera_from
from saane_ros.metric.features import Keypoints
from saane_ros.reading import YAML_FAULTS, parsing

METRIC_FILE, STARTS_FILE, ROWS_FILE = "metric.yaml", "metric_starts.npy", "metric_rows.npy"
METRIC_FILES = (METRIC_FILE, ROWS_FILE, STARTS_FILE)
"""Sorted; a map has all of them or none."""
STEPS_A_PIXEL = 8
"""Of a stored keypoint, which reaches to pixel 8191."""


def row_type(descriptor_size: int) -> np.dtype[Any]:
    """point: optical metres.  xy: pixels times STEPS_A_PIXEL.  descriptor: as its features'."""
    return np.dtype(
        [("point", "<f4", 3), ("xy", "<u2", 2), ("descriptor", "u1", (descriptor_size,))]
    )


@dataclass(frozen=True, eq=False)
class Points:
    """What every place of a map sees.

    features: name of what found the keypoints.  camera: of the (first) drive.  points: different
    ones.
    error: root mean square reprojection error on the drive itself, pixels.
    moved: how far the drive's poses were adjusted for them, medians in metres and degrees; zero
    where they were not.
    starts: int64 (N + 1,), rows of place i are starts[i] to starts[i + 1].  rows: (M,) of
    `row_type`, memory-mapped where read.
    """

    features: str
    camera: Camera
    points: int
    error: float
    starts: NDArray[np.int64]
    rows: NDArray[Any]
    moved: tuple[float, float] = (0.0, 0.0)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def places(self) -> int:
        """How many see any."""
        return int(np.count_nonzero(np.diff(self.starts)))

    @property
    def adjustment(self) -> str:
        """How far the poses moved, in words."""
        metres, degrees = self.moved
        return f"adjusted by {100 * metres:.1f} cm and {degrees:.2f} degrees in the median"

    @property
    def place_bytes(self) -> float:
        """Mean size of a place."""
        return (self.rows.nbytes + self.starts.nbytes) / max(1, len(self))

    def comparable(self, other: Points) -> bool:
        """Whether both are of the same features, so that they can lie in one map."""
        return (self.features, self.rows.dtype) == (other.features, other.rows.dtype)

    def seen_at(self, place: int) -> tuple[NDArray[np.float64], Keypoints]:
        """Points (n, 3) in the optical axes of a place, and what they look like there."""
        rows = np.asarray(self.rows[self.starts[place] : self.starts[place + 1]])
        xy = rows["xy"].astype(np.float32) / np.float32(STEPS_A_PIXEL)
        return rows["point"].astype(np.float64), Keypoints(xy, rows["descriptor"])

    def of_places(self, places: Sequence[int]) -> Points:
        """Those of some places, in this order."""
        counts = np.diff(self.starts)[list(places)]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        chosen = [self.rows[self.starts[i] : self.starts[i + 1]] for i in places]
        rows = np.concatenate([self.rows[:0], *chosen])
        return replace(self, starts=starts, rows=rows)


def joined(parts: Sequence[Points | None], places: Sequence[int]) -> Points | None:
    """The points of several maps' places one after another, places[i] of part i; None of none.

    Places of a part without points have none, and so have those of other features than the first
    part that has any, whose camera the whole names. It tells the furthest that poses of a part
    moved.
    """
    first = next((part for part in parts if part is not None), None)
    if first is None:
        return None
    some = [part for part in parts if part is not None and part.comparable(first)]
    counts = [
        np.diff(part.starts) if part in some else np.zeros(number, np.int64)
        for part, number in zip(parts, places, strict=True)
    ]
    rows = np.concatenate([part.rows for part in some])
    squares = sum(part.error**2 * len(part.rows) for part in some)
    return Points(
        first.features,
        first.camera,
        sum(part.points for part in some),
        math.sqrt(squares / max(1, len(rows))),
        np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64),
        rows,
        max(part.moved for part in some),
    )


def write_points(folder: Path, points: Points) -> None:
    """Write the files into the folder of a map."""
    np.save(folder / ROWS_FILE, points.rows, allow_pickle=False)
    np.save(folder / STARTS_FILE, points.starts, allow_pickle=False)
    head = {
        "features": points.features,
        "descriptor_size": points.rows.dtype["descriptor"].shape[0],
        "points": points.points,
        "error_px": round(points.error, 4),
        "moved": [round(value, 4) for value in points.moved],
        "camera": points.camera.as_dict(),
    }
    text = yaml.safe_dump(head, sort_keys=False)
    (folder / METRIC_FILE).write_text(text, encoding="utf-8")


def points_head(path: Path) -> Points:
    """What `metric.yaml` tells, with no places; SaaneError says what is wrong with it."""
    try:
        head = yaml.safe_load(path.read_text(encoding="utf-8"))
        features, size = str(head["features"]), int(head["descriptor_size"])
        count, error = int(head["points"]), float(head["error_px"])
        camera = camera_from(head["camera"], str(path))
        # Older maps adjusted no poses.
        metres, degrees = map(float, head.get("moved", (0.0, 0.0)))
        if (
            not 0 < size <= 4096
            or count < 0
            or not all(map(math.isfinite, (error, metres, degrees)))
        ):
            raise ValueError
    except (OSError, *YAML_FAULTS, TypeError, KeyError, ValueError, OverflowError) as cause:
        if isinstance(cause, SaaneError):
            raise
        raise _unfit(path) from None
    none = np.zeros(1, np.int64), np.empty(0, row_type(size))
    return Points(features, camera, count, error, *none, (metres, degrees))


def read_points(folder: Path, places: int) -> Points:
    """The points of a map of so many places; SaaneError says what is wrong with a file."""
    head = points_head(folder / METRIC_FILE)
    starts, rows = _array(folder / STARTS_FILE), _array(folder / ROWS_FILE)
    if starts.dtype != np.int64 or starts.shape != (places + 1,) or starts[0] != 0:
        raise _unfit(folder / STARTS_FILE)
    if (np.diff(starts) < 0).any() or rows.dtype != head.rows.dtype or rows.shape != (starts[-1],):
        raise _unfit(folder / ROWS_FILE)
    return replace(head, starts=np.array(starts), rows=rows)


def _array(path: Path) -> NDArray[Any]:
    with parsing(f"{path} is no NumPy array", "build the map again"):
        # An empty file cannot be mapped.
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _unfit(path: Path) -> SaaneError:
    return SaaneError(f"{path} does not fit the map: build the map again or restore a copy.")
