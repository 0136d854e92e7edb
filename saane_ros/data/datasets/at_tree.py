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
from saane_ros.data.images.at_names import parse_at_name
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
    (references, there), (queries, here) = (
        _images(where, folder, part) for part in (options.database, options.queries)
    )
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
    rows = []
    for path in _files(where, folder):
        name = parse_at_name(path.name)
        place = cell_name(name.easting, name.northing, options.cell, name.heading)
        rows.append((place, str(folder), path))
    return grouped(rows)


def _split(where: Where, options: AtTree) -> Path:
    inside = where.root / "images"
    base = inside if inside.is_dir() else where.root
    return where.folder(str((base / options.split).relative_to(where.root)))


def _images(where: Where, folder: Path, part: str) -> tuple[ImageFiles, NDArray[np.float64]]:
    files = _files(where, where.folder(str((folder / part).relative_to(where.root))))
    names = [parse_at_name(path.name) for path in files]
    return ImageFiles(files), np.array([(name.easting, name.northing) for name in names])


def _files(where: Where, folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("@*") if is_image(path) and path.is_file()]
    if not files:
        raise SaaneError(
            f"No image below {folder} has an '@' name (@easting@northing@...): {where.source}"
        )
    return sorted(files, key=lambda path: natural_key(path.name))
