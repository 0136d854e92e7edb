"""A folder with `ref/` and `query/` and ground truth by file, poses, names or order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset, Where
from saane_ros.data.images.at_names import is_at_name, on_one_grid, parse_at_name
from saane_ros.data.images.folders import ImageFolder, image_files
from saane_ros.data.images.lists import ImageFiles
from saane_ros.errors import SaaneError
from saane_ros.reading import read_rows

GROUND_TRUTH_FILE = "ground_truth.csv"
RADIUS = 10.0
"""Metres within which a reference with a pose shows the query's place."""
FARTHEST_M = 1000.0
"""Queries that are all further from every reference are of another frame."""
COLUMNS = ("query_index", "correct_reference_indices")


@dataclass(frozen=True)
class RefQuery:
    """radius: metres within which a reference is right, where poses or '@' names decide."""

    radius: float = RADIUS


def read(where: Where, options: RefQuery) -> list[Dataset]:
    """One dataset; `read_ground_truth` says in which order sources of truth are looked for."""
    references = ImageFolder(where.folder("ref"))
    queries = ImageFolder(where.folder("query"), origin=references.origin)
    truth = read_ground_truth(where.root, options.radius)
    here, there = _positions(references, queries) or (None, None)
    if (where.root / GROUND_TRUTH_FILE).is_file():
        tolerance = f"as {GROUND_TRUTH_FILE} lists"
    elif here is not None:
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
            here,
            there,
        )
    ]


def read_ground_truth(folder: str | Path, radius: float = RADIUS) -> list[set[int]]:
    """The correct references of every query, both counted as `ImageFolder` gives them.

    The first of these that exists: `ground_truth.csv` (query_index and the correct reference
    indices separated by blanks, counted in natural order of the names); poses in both folders, by
    pose file or '@' names (within `radius` metres); the same file stems, where any are the same;
    the same indices. An empty set means that a query has no match. Raises SaaneError where none
    applies, and where positions of queries and references lie in frames that do not meet.
    """
    root = Path(folder)
    references = ImageFolder(root / "ref")
    queries = ImageFolder(root / "query", origin=references.origin)
    file = root / GROUND_TRUTH_FILE
    if file.is_file():
        return _from_file(file, queries, references)
    if (positions := _positions(references, queries)) is not None:
        here, there = positions
        _check_meeting(root, here, there, radius)
        distance = np.linalg.norm(here[:, None] - there[None], axis=2)
        # A position that is not finite is near no other: NaN compares as false.
        return [set(np.flatnonzero(row <= radius).tolist()) for row in distance]
    by_stem = {entry.path.stem: index for index, entry in enumerate(references.entries)}
    if any(entry.path.stem in by_stem for entry in queries.entries):
        found = [by_stem.get(entry.path.stem) for entry in queries.entries]
        return [set() if row is None else {row} for row in found]
    if len(references) == len(queries):
        return [{index} for index in range(len(queries))]
    raise SaaneError(
        f"{root} has {len(references)} references and {len(queries)} queries and nothing that says "
        f"which belong together: add {GROUND_TRUTH_FILE}, pose files or equal names."
    )


def _files(folder: ImageFolder) -> ImageFiles:
    return ImageFiles([entry.path for entry in folder.entries])


def _from_file(path: Path, queries: ImageFolder, references: ImageFolder) -> list[set[int]]:
    """The table's indices count all files, also those that have no pose and are left out."""
    truth = read_table(path, len(image_files(queries.path)), len(image_files(references.path)))
    kept = {entry.path: index for index, entry in enumerate(references.entries)}
    by_index = [kept.get(file) for file in image_files(references.path)]
    order = {file: index for index, file in enumerate(image_files(queries.path))}
    return [
        {
            found
            for index in truth.get(order[entry.path], set())
            if (found := by_index[index]) is not None
        }
        for entry in queries.entries
    ]


def read_table(path: Path, queries: int, references: int) -> dict[int, set[int]]:
    """`ground_truth.csv`: query index to correct reference indices, below these numbers."""
    truth: dict[int, set[int]] = {}
    (_, header), *rows = read_rows(path, "The ground truth") or [(1, [])]
    if tuple(header) != COLUMNS:
        raise SaaneError(f"{path} does not begin with the header {','.join(COLUMNS)}: add it.")
    for number, row in rows:
        try:
            query, correct = int(row[0]), {int(index) for index in row[1].split()}
        except (ValueError, IndexError) as error:
            raise SaaneError(
                f"{path} line {number} is no query index and list of references: correct it."
            ) from error
        if not 0 <= query < queries or not all(0 <= index < references for index in correct):
            raise SaaneError(
                f"{path} line {number} names an image beyond the {queries} queries and "
                f"{references} references: correct it."
            )
        truth[query] = correct
    return truth


def _positions(
    references: ImageFolder, queries: ImageFolder
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Ground positions of queries (Q, 2) and references (R, 2) in one frame, or None."""
    if all(is_at_name(e.path.name) for e in (*references.entries, *queries.entries)):
        names = [parse_at_name(e.path.name) for e in (*queries.entries, *references.entries)]
        points, _ = on_one_grid(names)
        return points[: len(queries)], points[len(queries) :]
    if references.pose_file is None or queries.pose_file is None:
        return None
    if (references.origin is None) != (queries.origin is None):
        lie = [
            "on the Earth" if f.origin else "in a frame of metres" for f in (queries, references)
        ]
        raise SaaneError(
            f"The poses of {queries.path} lie {lie[0]} and those of {references.path} {lie[1]}: "
            "give both in one frame."
        )
    return _from_poses(queries), _from_poses(references)


def _check_meeting(
    root: Path, here: NDArray[np.float64], there: NDArray[np.float64], radius: float
) -> None:
    """Refuse positions that are nowhere near each other: they are of two frames."""
    here, there = (points[np.isfinite(points).all(axis=1)] for points in (here, there))
    if not len(here) or not len(there):
        return
    nearest = min(float(np.linalg.norm(there - point, axis=1).min()) for point in here)
    if nearest > max(FARTHEST_M, 10 * radius):
        middles = [" ".join(f"{v:.1f}" for v in np.median(p, axis=0)) for p in (here, there)]
        raise SaaneError(
            f"The positions of queries and references of {root} do not meet: the queries lie about "
            f"{middles[0]}, the references about {middles[1]}. Give both in one frame."
        )


def _from_poses(folder: ImageFolder) -> NDArray[np.float64]:
    return np.array([entry.pose.position[:2] for entry in folder.entries if entry.pose])
