"""A folder with `ref/` and `query/` and ground truth by file, poses, names or order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.at_names import is_at_name, parse_at_name
from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.datasets.image_lists import ImageFiles
from saane_ros.data.datasets.where import Where
from saane_ros.data.folders import ImageFolder
from saane_ros.data.ground_truth import GROUND_TRUTH_FILE, RADIUS, read_ground_truth


@dataclass(frozen=True)
class RefQuery:
    """radius: metres within which a reference is right, where poses or '@' names decide."""

    radius: float = RADIUS


def read(where: Where, options: RefQuery) -> list[Dataset]:
    """One dataset; `data.ground_truth` says in which order sources of truth are looked for."""
    references = ImageFolder(where.folder("ref"))
    queries = ImageFolder(where.folder("query"), origin=references.origin)
    truth = read_ground_truth(where.root, options.radius)
    positions = _positions(queries), _positions(references)
    metric = positions[0] is not None and positions[1] is not None
    if (where.root / GROUND_TRUTH_FILE).is_file():
        tolerance = f"as {GROUND_TRUTH_FILE} lists"
    elif metric:
        tolerance = f"within {options.radius:g} m"
    else:
        tolerance = "the same image only"
    return [
        Dataset(
            where.name,
            _files(queries),
            _files(references),
            tuple(np.array(sorted(rows), np.int64) for rows in truth),
            "query/ searched in ref/",
            tolerance,
            positions[0] if metric else None,
            positions[1] if metric else None,
        )
    ]


def _files(folder: ImageFolder) -> ImageFiles:
    return ImageFiles([entry.path for entry in folder.entries])


def _positions(folder: ImageFolder) -> NDArray[np.float64] | None:
    """UTM of '@' names, else what a pose file says; None without either."""
    if all(is_at_name(entry.path.name) for entry in folder.entries):
        names = [parse_at_name(entry.path.name) for entry in folder.entries]
        return np.array([(name.easting, name.northing) for name in names])
    poses = [entry.pose for entry in folder.entries]
    if folder.pose_file is None or any(pose is None for pose in poses):
        return None
    return np.array([pose.position[:2] for pose in poses if pose is not None])
