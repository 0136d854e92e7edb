"""Mapillary Street-Level Sequences: per city `query/` and `database/` with UTM tables.

`<split>/<city>/{query,database}/postprocessed.csv` (key, easting, northing, unique_cluster, night,
...), `raw.csv` (key, ..., pano) and `images/<key>.jpg` (Warburg et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from saane_ros.data.datasets.dataset import Dataset, Where
from saane_ros.data.datasets.truth import RADIUS_M, within_radius
from saane_ros.data.images.lists import ImageFiles
from saane_ros.data.images.places import PlaceImages, grouped
from saane_ros.errors import SaaneError
from saane_ros.reading import read_named_rows


@dataclass(frozen=True)
class Msls:
    """cities: folders below `split`; the defaults are the validation cities.

    panoramas: whether panoramic images take part.
    """

    split: str = "train_val"
    cities: tuple[str, ...] = ("cph", "sf")
    radius: float = RADIUS_M
    panoramas: bool = False


class Image(NamedTuple):
    path: Path
    easting: float
    northing: float
    cluster: int


def read(where: Where, options: Msls) -> list[Dataset]:
    """One dataset a city; all queries count in Recall@N."""
    return [_city(where, options, city) for city in options.cities]


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
    here, there = (
        np.array([(image.easting, image.northing) for image in images]).reshape(-1, 2)
        for images in (queries, references)
    )
    return Dataset(
        f"{where.name}/{city}",
        ImageFiles([image.path for image in queries]),
        ImageFiles([image.path for image in references]),
        within_radius(here, there, options.radius),
        f"queries of {city} searched in its database"
        + ("" if options.panoramas else ", panoramas left out"),
        f"within {options.radius:g} m",
        here,
        there,
        all_queries=True,
        group=where.name,
    )


def read_part(where: Where, options: Msls, city: str, part: str) -> list[Image]:
    """Images of `query` or `database` of a city, in the order of the table."""
    folder = (options.split, city, part)
    table = where.file(*folder, "postprocessed.csv")
    panoramas = set() if options.panoramas else _panoramas(where.file(*folder, "raw.csv"))
    images = []
    for number, row in read_named_rows(table, "The table"):
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


def _panoramas(table: Path) -> set[str]:
    rows = read_named_rows(table, "The table")
    lacking = [number for number, row in rows if not {"key", "pano"} <= row.keys()]
    if lacking:
        raise SaaneError(f"{table} line {lacking[0]} lacks key or pano: download it again.")
    return {row["key"] for _, row in rows if row["pano"].strip().lower() == "true"}
