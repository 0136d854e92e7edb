"""Mapillary Street-Level Sequences: per city `query/` and `database/` with UTM tables.

`<split>/<city>/{query,database}/postprocessed.csv` (key, easting, northing, unique_cluster, night,
...), `raw.csv` (key, ..., pano), `subtask_index.csv` (a column of True and False for each subtask)
and `images/<key>.jpg` (Warburg et al. 2020).

Two protocols are in use. "cities": every city is a benchmark of its own, and queries without a
positive count as missed. "official", as the authors' loader does it: images of a subtask alone,
queries without a positive left out, all cities in one database.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.dataset import Dataset, Where
from saane_ros.data.datasets.truth import RADIUS_M, within_radius
from saane_ros.data.images.lists import ImageFiles
from saane_ros.data.images.places import PlaceImages, grouped
from saane_ros.errors import SaaneError
from saane_ros.reading import read_named_rows


@dataclass(frozen=True)
class Msls:
    """cities: folders below `split`; the defaults are the validation cities.

    panoramas: whether panoramic images take part.  protocol: see above.  subtask: of the official
    protocol, from summer to winter ("s2w") and back, old to new, day to night, or all.
    """

    split: str = "train_val"
    cities: tuple[str, ...] = ("cph", "sf")
    radius: float = RADIUS_M
    panoramas: bool = False
    protocol: Literal["cities", "official"] = "cities"
    subtask: Literal["all", "s2w", "w2s", "o2n", "n2o", "d2n", "n2d"] = "all"


class Image(NamedTuple):
    path: Path
    easting: float
    northing: float
    cluster: int


def read(where: Where, options: Msls) -> list[Dataset]:
    """One dataset a city, in which all queries count in Recall@N, or the official one."""
    if options.protocol == "official":
        return [_official(where, options)]
    return [_city(where, options, city) for city in options.cities]


def _official(where: Where, options: Msls) -> Dataset:
    """All cities in one database; images of different cities are never positives.

    Positions are left out, as those of two cities lie in two zones of UTM.
    """
    queries: list[Path] = []
    references: list[Path] = []
    correct: list[NDArray[np.int64]] = []
    for city in options.cities:
        here, there = (
            read_part(where, options, city, part, options.subtask) for part in ("query", "database")
        )
        found = within_radius(_positions(here), _positions(there), options.radius)
        kept = [row for row, positives in enumerate(found) if len(positives)]
        queries += [here[row].path for row in kept]
        correct += [found[row] + len(references) for row in kept]
        references += [image.path for image in there]
    return Dataset(
        where.name,
        ImageFiles(queries),
        ImageFiles(references),
        tuple(correct),
        f"official: subtask {options.subtask}, queries without a positive left out, "
        f"{', '.join(options.cities)} in one database"
        + ("" if options.panoramas else ", panoramas left out"),
        f"within {options.radius:g} m",
    )


def _positions(images: list[Image]) -> NDArray[np.float64]:
    return np.array([(image.easting, image.northing) for image in images]).reshape(-1, 2)


def places(where: Where, options: Msls) -> PlaceImages:
    """The published clusters as classes, over queries and database; cities are groups."""
    return grouped(
        [
            (f"{city}/{image.cluster:06d}", city, image.path)
            for city in options.cities
            for part in ("query", "database")
            for image in read_part(where, options, city, part)
        ]
    )


def _city(where: Where, options: Msls, city: str) -> Dataset:
    queries, references = (read_part(where, options, city, p) for p in ("query", "database"))
    here, there = _positions(queries), _positions(references)
    return Dataset(
        f"{where.name}/{city}",
        ImageFiles([image.path for image in queries]),
        ImageFiles([image.path for image in references]),
        within_radius(here, there, options.radius),
        f"each city alone: all queries of {city} searched in its database"
        + ("" if options.panoramas else ", panoramas left out"),
        f"within {options.radius:g} m",
        here,
        there,
        all_queries=True,
        group=where.name,
    )


def read_part(where: Where, options: Msls, city: str, part: str, subtask: str = "") -> list[Image]:
    """Images of `query` or `database` of a city, in the order of the table.

    subtask: a column of the subtask file; by default all images.
    """
    folder = (options.split, city, part)
    table = where.file(*folder, "postprocessed.csv")
    panoramas = set() if options.panoramas else _panoramas(where.file(*folder, "raw.csv"))
    rows = read_named_rows(table, "The table")
    if subtask:
        chosen = _subtask(where.file(*folder, "subtask_index.csv"), subtask)
        if len(chosen) != len(rows):
            raise SaaneError(
                f"{where.root.joinpath(*folder, 'subtask_index.csv')} has {len(chosen)} rows and "
                f"{table.name} has {len(rows)}: download both again."
            )
        rows = [row for row, wanted in zip(rows, chosen, strict=True) if wanted]
    images = []
    for number, row in rows:
        try:
            image = Image(
                where.root.joinpath(*folder, "images", f"{row['key']}.jpg"),
                float(row["easting"]),
                float(row["northing"]),
                int(row["unique_cluster"]),
            )
        except (KeyError, ValueError) as error:
            raise SaaneError(
                f"{table} line {number} lacks key, easting, northing or unique_cluster: "
                "download it again."
            ) from error
        if row["key"] not in panoramas:
            images.append(image)
    where.files([image.path for image in images])
    return images


def _subtask(table: Path, subtask: str) -> list[bool]:
    """Whether each row of the city's tables belongs to a subtask."""
    rows = read_named_rows(table, "The table")
    lacking = [number for number, row in rows if subtask not in row]
    if lacking:
        raise SaaneError(f"{table} line {lacking[0]} lacks {subtask}: download it again.")
    return [row[subtask].strip().lower() == "true" for _, row in rows]


def _panoramas(table: Path) -> set[str]:
    rows = read_named_rows(table, "The table")
    lacking = [number for number, row in rows if not {"key", "pano"} <= row.keys()]
    if lacking:
        raise SaaneError(f"{table} line {lacking[0]} lacks key or pano: download it again.")
    return {row["key"] for _, row in rows if row["pano"].strip().lower() == "true"}
