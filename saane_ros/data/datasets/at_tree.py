"""A tree of '@'-named images: `<split>/database` and `<split>/queries`, as VPR downloaders write.

The names carry UTM positions, so that any tree of this form has ground truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset, Where
from saane_ros.data.datasets.truth import RADIUS_M, within_radius
from saane_ros.data.images.at_names import AtName, on_one_grid, parse_at_name
from saane_ros.data.images.files import is_image
from saane_ros.data.images.folders import natural_key
from saane_ros.data.images.lists import ImageFiles
from saane_ros.data.images.places import PlaceImages, cell_name, grouped
from saane_ros.errors import SaaneError


@dataclass(frozen=True)
class AtTree:
    """split: folder below `images/` or the root itself, such as "test"; empty: none.

    cell: metres of the square cells that are places in training.
    """

    split: str = "test"
    database: str = "database"
    queries: str = "queries"
    radius: float = RADIUS_M
    cell: float = 10.0


def read(where: Where, options: AtTree) -> list[Dataset]:
    """One dataset; all queries count in Recall@N, as in the tools that write such trees."""
    folder = _split(where, options)
    (references, theirs), (queries, ours) = (
        _images(where, folder, part) for part in (options.database, options.queries)
    )
    there, here = _together(theirs, ours)
    return [
        Dataset(
            where.name,
            queries,
            references,
            within_radius(here, there, options.radius),
            f"{options.queries}/ searched in {options.database}/"
            + (f" of the split {options.split}" if options.split else ""),
            f"within {options.radius:g} m",
            here,
            there,
            all_queries=True,
        )
    ]


def places(where: Where, options: AtTree) -> PlaceImages:
    """Images of the split in square cells of the ground; headings 60 degrees wide are apart."""
    folder = _split(where, options)
    files = _files(where, folder)
    names = [parse_at_name(path.name) for path in files]
    points = on_one_grid(names)[0].tolist()
    return grouped(
        [
            (cell_name(point[0], point[1], options.cell, name.heading), str(folder), path)
            for path, name, point in zip(files, names, points, strict=True)
        ]
    )


def _split(where: Where, options: AtTree) -> Path:
    inside = where.root / "images"
    base = inside if inside.is_dir() else where.root
    return where.folder(str((base / options.split).relative_to(where.root)))


def _together(
    references: list[AtName], queries: list[AtName]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points, _ = on_one_grid([*references, *queries])
    return points[: len(references)], points[len(references) :]


def _images(where: Where, folder: Path, part: str) -> tuple[ImageFiles, list[AtName]]:
    files = _files(where, where.folder(str((folder / part).relative_to(where.root))))
    return ImageFiles(files), [parse_at_name(path.name) for path in files]


def _files(where: Where, folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("@*") if is_image(path) and path.is_file()]
    if not files:
        raise SaaneError(
            f"No image below {folder} has an '@' name (@easting@northing@...): {where.source}"
        )
    return sorted(files, key=lambda path: natural_key(path.name))
