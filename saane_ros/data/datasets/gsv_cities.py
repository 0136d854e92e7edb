"""GSV-Cities: Street View images of 23 cities with place ids (Ali-bey et al. 2022).

`Dataframes/<City>.csv` with place_id, year, month, northdeg, city_id, lat, lon, panoid, and
`Images/<City>/<City>_<place>_<year>_<month>_<northdeg>_<lat>_<lon>_<panoid>.jpg`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from saane_ros.data.datasets.dataset import Dataset, Where, split_places
from saane_ros.data.images.places import PlaceImages, grouped
from saane_ros.errors import SaaneError
from saane_ros.reading import read_named_rows

COLUMNS = ("place_id", "year", "month", "northdeg", "city_id", "lat", "lon", "panoid")


@dataclass(frozen=True)
class GsvCities:
    """cities: names of the tables, empty for all.  at_least: images that a place must have."""

    cities: tuple[str, ...] = ()
    at_least: int = 4
    references: int = 1


def read(where: Where, options: GsvCities) -> list[Dataset]:
    """For an evaluation on cities kept out of training."""
    return [split_places(where.name, places(where, options), options.references)]


def places(where: Where, options: GsvCities) -> PlaceImages:
    """Place ids as classes, cities as groups, the oldest image of a place first."""
    tables = where.folder("Dataframes")
    cities = options.cities or tuple(sorted(path.stem for path in tables.glob("*.csv")))
    rows: list[tuple[str, str, Path]] = []
    for city in cities:
        by_place: dict[int, list[Path]] = {}
        for row in _rows(where.file("Dataframes", f"{city}.csv")):
            image = where.root / "Images" / city / image_name(row)
            by_place.setdefault(int(row["place_id"]), []).append(image)
        for place, images in sorted(by_place.items()):
            if len(images) >= options.at_least:
                rows += [(f"{city}/{place:07d}", city, image) for image in images]
    if not rows:
        raise SaaneError(f"No place of {where.root} has {options.at_least} images: {where.source}")
    where.files([path for _, _, path in rows])
    return grouped(rows)


def image_name(row: dict[str, str]) -> str:
    """The file name that belongs to one row of a city's table."""
    return (
        f"{row['city_id']}_{int(row['place_id']):07d}_{int(row['year']):04d}_"
        f"{int(row['month']):02d}_{int(row['northdeg']):03d}_{float(row['lat'])}_"
        f"{float(row['lon'])}_{row['panoid']}.jpg"
    )


def _rows(path: Path) -> list[dict[str, str]]:
    rows = read_named_rows(path, "The table")
    for number, row in rows:
        try:
            image_name(row)
        except (KeyError, ValueError) as error:
            raise SaaneError(
                f"{path} line {number} lacks one of {', '.join(COLUMNS)}: download it again."
            ) from error
    return sorted((row for _, row in rows), key=lambda row: (int(row["year"]), int(row["month"])))
