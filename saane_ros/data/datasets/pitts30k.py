"""Pittsburgh 30k: Street View perspectives, split and positions in a MATLAB struct.

`pitts30k_<split>.mat` holds `dbStruct`; images lie at `<root>/000/...` and queries below
`queries_real/` (Arandjelovic et al. 2016).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset, Where
from saane_ros.data.datasets.truth import within_radius
from saane_ros.data.images.lists import ImageFiles
from saane_ros.data.images.places import PlaceImages, cell_name, grouped
from saane_ros.errors import SaaneError
from saane_ros.reading import parsing, read_matlab

FIELDS = (
    "whichSet",
    "dbImageFns",
    "utmDb",
    "qImageFns",
    "utmQ",
    "numImages",
    "numQueries",
    "posDistThr",
)


VIEW = re.compile(r"_pitch(?P<pitch>\d+)_yaw(?P<yaw>\d+)")
"""How an image was cut out of its panorama: one of 2 pitches and of 12 yaws."""


@dataclass(frozen=True)
class Pitts30k:
    """mat: folder of the .mat files below the root.  queries: folder of the query images.

    cell: metres of the square cells that are places in training.
    """

    split: Literal["train", "val", "test"] = "test"
    mat: str = "datasets"
    queries: str = "queries_real"
    cell: float = 10.0


class DbStruct(NamedTuple):
    """Image names and UTM positions (n, 2) of one split, and the metres of a correct match."""

    references: list[str]
    reference_positions: NDArray[np.float64]
    queries: list[str]
    query_positions: NDArray[np.float64]
    radius: float


def read(where: Where, options: Pitts30k) -> list[Dataset]:
    """One dataset; Recall@N counts every query, also those without a match."""
    content = _struct(where, options)
    references, queries = _images(where, options, content)
    return [
        Dataset(
            where.name,
            ImageFiles(queries, content.queries),
            ImageFiles(references, content.references),
            within_radius(content.query_positions, content.reference_positions, content.radius),
            f"split {options.split} of Pittsburgh 30k",
            f"within {content.radius:g} m",
            content.query_positions,
            content.reference_positions,
            all_queries=True,
        )
    ]


def places(where: Where, options: Pitts30k) -> PlaceImages:
    """Images in square cells of the ground; yaws 60 degrees wide and the two pitches are apart."""
    content = _struct(where, options)
    rows: list[tuple[str, str, Path]] = []
    for paths, positions in zip(
        _images(where, options, content),
        (content.reference_positions, content.query_positions),
        strict=True,
    ):
        for path, (easting, northing) in zip(paths, positions, strict=True):
            view = VIEW.search(path.stem)
            heading = None if view is None else 30.0 * (int(view["yaw"]) - 1)
            pitch = "" if view is None else f"-pitch{view['pitch']}"
            cell = cell_name(easting, northing, options.cell, heading)
            rows.append((cell + pitch, options.split, path))
    return grouped(rows)


def _struct(where: Where, options: Pitts30k) -> DbStruct:
    file = f"pitts30k_{options.split}.mat"
    path = next(
        (p for p in (where.root / options.mat / file, where.root / file) if p.is_file()), None
    )
    return read_struct(path or where.file(options.mat, file))


def _images(where: Where, options: Pitts30k, content: DbStruct) -> tuple[list[Path], list[Path]]:
    """Files of the references and of the queries."""
    return (
        where.files([where.root / name for name in content.references]),
        where.files([where.root / options.queries / name for name in content.queries]),
    )


def read_struct(path: Path) -> DbStruct:
    """`dbStruct` by field name; positions are stored 2 x n."""
    fault = f"{path} is no MATLAB file with dbStruct of Pittsburgh"
    variables = read_matlab(path, fault, "download it again")
    with parsing(fault, "download it again"):
        struct = variables["dbStruct"]
        values: dict[str, Any] = {name: getattr(struct, name) for name in FIELDS}
        content = DbStruct(
            [str(name) for name in np.atleast_1d(values["dbImageFns"])],
            np.asarray(values["utmDb"], np.float64).reshape(2, -1).T,
            [str(name) for name in np.atleast_1d(values["qImageFns"])],
            np.asarray(values["utmQ"], np.float64).reshape(2, -1).T,
            float(values["posDistThr"]),
        )
    counts = len(content.references), len(content.queries)
    if counts != (len(content.reference_positions), len(content.query_positions)):
        raise SaaneError(f"{path} has names and positions of different number: download it again.")
    return content
