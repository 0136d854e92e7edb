"""Datasets by name, by YAML file or by folder."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saane_ros.data.datasets import (
    at_tree,
    cameras,
    gsv_cities,
    msls,
    nordland,
    pairs,
    pitts30k,
    recorded,
    ref_query,
    robotcar,
    st_lucia,
    town,
)
from saane_ros.data.datasets.dataset import Dataset, Where
from saane_ros.data.datasets.ref_query import GROUND_TRUTH_FILE
from saane_ros.data.images.places import PlaceImages
from saane_ros.errors import SaaneError
from saane_ros.paths import share_folder
from saane_ros.reading import read_yaml
from saane_ros.weights.schema import read_mapping


@dataclass(frozen=True)
class Reader:
    """options: dataclass of the YAML's further keys.  datasets, places: what can be read."""

    options: type[Any]
    datasets: Callable[[Where, Any], list[Dataset]]
    places: Callable[[Where, Any], PlaceImages] | None = None


READERS = {
    "at_tree": Reader(at_tree.AtTree, at_tree.read, at_tree.places),
    "cameras": Reader(cameras.Cameras, cameras.read, cameras.places),
    "gsv_cities": Reader(gsv_cities.GsvCities, gsv_cities.read, gsv_cities.places),
    "msls": Reader(msls.Msls, msls.read, msls.places),
    "nordland": Reader(nordland.Nordland, nordland.read),
    "pairs": Reader(pairs.Pairs, pairs.read),
    "pitts30k": Reader(pitts30k.Pitts30k, pitts30k.read, pitts30k.places),
    "recorded": Reader(recorded.Recorded, recorded.read),
    "ref_query": Reader(ref_query.RefQuery, ref_query.read),
    "robotcar": Reader(robotcar.RobotCar, robotcar.read),
    "st_lucia": Reader(st_lucia.StLucia, st_lucia.read),
    "town": Reader(town.Town, town.read),
}
COMMON = ("reader", "name", "about", "source", "folder")
OWN_SOURCE = "give the folder that holds it with --root."


@dataclass(frozen=True)
class Description:
    """A dataset as its YAML file tells it. folder: below the root.  source: where it is got."""

    name: str
    reader: str
    options: Any
    about: str = ""
    source: str = OWN_SOURCE
    folder: str = ""

    def where(self, root: Path) -> Where:
        return Where(self.name, root / self.folder, self.source)


def open_datasets(dataset: str, root: str | Path = "") -> list[Dataset]:
    """The dataset of a name in config/datasets/, of a YAML file, or in a folder.

    root: folder that the description's `folder` lies in; by default the YAML file's own for a
    file of one's own and the working directory for a name.  Several datasets where the benchmark
    has several query sets.  Raises SaaneError that says what to download where it is absent.
    """
    described, where = _found(dataset, root)
    return READERS[described.reader].datasets(where, described.options)


def open_places(dataset: str, root: str | Path = "") -> PlaceImages:
    """The same, as images grouped by place for training."""
    described, where = _found(dataset, root)
    read = READERS[described.reader].places
    if read is None:
        with_places = ", ".join(name for name, reader in READERS.items() if reader.places)
        raise SaaneError(
            f"Dataset {described.name} (reader {described.reader}) has no places to train on: use "
            f"one of the readers {with_places}."
        )
    return read(where, described.options)


def _found(dataset: str, root: str | Path) -> tuple[Description, Where]:
    path = Path(dataset).expanduser()
    if path.suffix in (".yaml", ".yml"):
        described, base = read_description(path), path.parent
    elif path.is_dir():
        described = describe_folder(path)
        return described, described.where(path)
    else:
        described, base = read_description(_named(dataset)), Path()
    return described, described.where(Path(root).expanduser() if root else base)


def descriptions() -> list[Description]:
    """Every dataset that config/datasets/ describes."""
    return [read_description(path) for path in sorted(_folder().glob("*.yaml"))]


def read_description(path: Path) -> Description:
    """A dataset's YAML file: `reader`, the keys of COMMON, and the reader's own options."""
    values = read_yaml(path, "The dataset file")
    if not isinstance(values, dict) or values.get("reader") not in list(READERS):
        raise SaaneError(
            f"The dataset file {path} names no known reader: give `reader:` one of "
            f"{', '.join(READERS)}."
        )
    common = {key: str(values.pop(key)) for key in COMMON if key in values}
    problems: list[str] = []
    options = read_mapping(READERS[common["reader"]].options, values, "", problems)
    if problems:
        raise SaaneError(
            f"The dataset file {path} has mistakes: {'; '.join(problems)}. Correct them."
        )
    return Description(**{"name": path.stem, **common}, options=options)


def describe_folder(path: Path) -> Description:
    """The reader that a folder's layout asks for."""
    name = path.resolve().name
    if (path / "ref").is_dir() and (path / "query").is_dir():
        return Description(name, "ref_query", ref_query.RefQuery())
    for split in ("test", "val", ""):
        base = path / "images" if (path / "images").is_dir() else path
        if all((base / split / part).is_dir() for part in ("database", "queries")):
            return Description(name, "at_tree", at_tree.AtTree(split=split))
    if (path / GROUND_TRUTH_FILE).is_file():
        return Description(name, "recorded", recorded.Recorded())
    raise SaaneError(
        f"The folder {path} has no layout known here: give ref/ and query/, database/ and queries/ "
        "with '@' names, or describe it in a YAML file (see config/datasets/example.yaml)."
    )


def _named(name: str) -> Path:
    names = sorted(path.stem for path in _folder().glob("*.yaml"))
    if name in names:
        return _folder() / f"{name}.yaml"
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}? The" if close else "the"
    raise SaaneError(
        f"There is no dataset or folder {name!r}: {hint} datasets are {', '.join(names)}; one of "
        "your own is given as the path of its folder or YAML file."
    )


def _folder() -> Path:
    return share_folder() / "config" / "datasets"
