"""The images that a calibration is fitted on: routes with a second drive, and places elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.data.datasets.ref_query import read_ground_truth
from saane_ros.data.images.files import is_image, read_image
from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.localization.sequence import tolerance_steps
from saane_ros.progress import progress
from saane_ros.reading import read_yaml
from saane_ros.route_map.cohort import Cohort
from saane_ros.simulation import Town, Traverse, render_many
from saane_ros.weights.schema import read_mapping

BATCH = 8
EVERY_PLACE_M = 1.6
"""Metres between the places of a town's map; its drives have an image every 0.8 m."""


@dataclass(frozen=True)
class RouteSource:
    """A map's folder and a drive's, or one folder of which every second image is the map.

    kind: of place, by which routes and other places are left out together.
    prefix: of the names that count.  first, last: images of both that count.
    truth: "names" where image i shows place i, "list" where the folder above has a
    ground_truth.csv.
    """

    name: str
    kind: str
    places: str
    drive: str = ""
    truth: str = "names"
    prefix: str = ""
    first: int = 0
    last: int = 1_000_000


@dataclass(frozen=True)
class ElsewhereSource:
    """Images of other places; a folder may be a pattern.  step: of every so many images one."""

    name: str
    kind: str
    folder: str
    prefix: str = ""
    first: int = 0
    last: int = 1_000_000
    step: int = 1


@dataclass(frozen=True)
class Towns:
    """Synthetic towns, each mapped by day and driven in every condition.

    elsewhere: seeds of towns that are only seen as another town.
    """

    seeds: tuple[int, ...]
    elsewhere: tuple[int, ...]
    conditions: tuple[str, ...]
    length_m: float = 400.0


@dataclass(frozen=True)
class EvidenceConfig:
    """models: whose distances the fit is to hold for, cards.  tested: of others, only a table."""

    models: tuple[str, ...]
    tested: tuple[str, ...]
    routes: tuple[RouteSource, ...]
    elsewhere: tuple[ElsewhereSource, ...]
    towns: Towns


def read_evidence_config(path: Path) -> EvidenceConfig:
    """Read `config/train/evidence.yaml` or one like it."""
    values = read_yaml(path, "The configuration")
    problems: list[str] = []
    config = read_mapping(EvidenceConfig, values, "", problems)
    if config is None:
        raise SaaneError(f"The configuration {path} is wrong: {'; '.join(problems)}.")
    return config


@dataclass(frozen=True, eq=False)
class Views:
    """Embedded images: descriptors float32 (n, D), compact grids int8 (n, h, w, P) or None."""

    descriptors: NDArray[np.float32]
    grids: NDArray[np.int8] | None

    def __len__(self) -> int:
        return len(self.descriptors)

    def __getitem__(self, rows: slice | Sequence[int]) -> Views:
        grids = None if self.grids is None else self.grids[rows]
        return Views(np.ascontiguousarray(self.descriptors[rows]), grids)


@dataclass(frozen=True, eq=False)
class DriveViews:
    """A drive along a route. right: the rows of places that each image may show.

    travelled: metres at each image, None where nobody knows.
    """

    name: str
    views: Views
    right: list[frozenset[int]]
    travelled: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Route:
    """A map to be and the drives along it. positions: of its places (n, 2), metres, or None."""

    name: str
    kind: str
    places: Views
    drives: list[DriveViews]
    positions: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Elsewhere:
    name: str
    kind: str
    views: Views


class Material:
    """Reads, embeds and keeps the images of a configuration for one model.

    data: folder that the sources' folders lie in.  folder: where embedded images are kept, so that
    an interrupted run goes on.
    """

    def __init__(
        self, config: EvidenceConfig, embedder: Embedder, cohort: Cohort, data: Path, folder: Path
    ) -> None:
        self._config, self._embedder, self._cohort = config, embedder, cohort
        self._data, self._folder = data, folder / embedder.fingerprint

    def routes(self, towns: int | None = None) -> list[Route]:
        """All routes, towns last; of these so many, all where None."""
        routes = [self._route(source) for source in self._config.routes]
        return routes + [self._town(seed) for seed in self._config.towns.seeds[:towns]]

    def elsewhere(self) -> list[Elsewhere]:
        """All other places."""
        found = []
        for source in self._config.elsewhere:
            files = self._files(source.folder, source.prefix)[source.first : source.last]
            views = self._embedded(source.name, files[:: source.step])
            found.append(Elsewhere(source.name, source.kind, views))
        for seed in self._config.towns.elsewhere:
            for condition in self._config.towns.conditions[:2]:
                views, _ = self._traverse(seed, condition, 1)
                found.append(Elsewhere(f"town-{seed}-{condition}", "town", views[::2]))
        return found

    def _route(self, source: RouteSource) -> Route:
        files = self._files(source.places, source.prefix)[source.first : source.last]
        places = self._embedded(f"{source.name}-places", files)
        if not source.drive:
            count = len(places) // 2
            right = [frozenset((i, i + 1)) for i in range(count)]
            drive = DriveViews("odd", places[1::2][:count], right)
            return Route(source.name, source.kind, places[0::2], [drive])
        files = self._files(source.drive)[source.first : source.last]
        views = self._embedded(f"{source.name}-drive", files)
        if source.truth == "list":
            folder = (self._data / source.drive).parent
            right = [frozenset(rows) for rows in read_ground_truth(folder)]
        else:
            right = [frozenset((i,)) for i in range(len(views))]
        return Route(source.name, source.kind, places, [DriveViews("drive", views, right)])

    def _town(self, seed: int) -> Route:
        towns = self._config.towns
        day, traverse = self._traverse(seed, "day", 0)
        kept = _every(traverse.travelled, EVERY_PLACE_M)
        along = traverse.travelled[kept]
        positions = np.array([traverse.poses[i].position[:2] for i in kept])
        drives = []
        for number, condition in enumerate(towns.conditions, start=1):
            views, drive = self._traverse(seed, condition, number)
            reach = tolerance_steps(EVERY_PLACE_M) * EVERY_PLACE_M
            near = [np.flatnonzero(abs(along - s) <= reach) for s in drive.travelled]
            right = [frozenset(map(int, rows)) for rows in near]
            drives.append(DriveViews(condition, views, right, drive.travelled))
        return Route(f"town-{seed}", "town", day[kept], drives, positions)

    def _traverse(self, seed: int, condition: str, drive: int) -> tuple[Views, Traverse]:
        length = self._config.towns.length_m
        traverse = Traverse(Town(seed, length), condition, seed=seed * 100 + drive)
        name = f"town-{seed}-{condition}-{drive}"
        kept = self._kept(name, f"{length} {len(traverse)}")
        if not kept.is_file():
            rows = range(len(traverse))
            frames = progress(render_many(traverse, list(rows)), name, len(traverse), "image")
            self._keep(kept, [self._embed([frame.image]) for frame in frames])
        return self._read(kept), traverse

    def _files(self, folder: str, prefix: str = "") -> list[Path]:
        folders = sorted(self._data.glob(folder))
        files = [path for one in folders for path in sorted(one.iterdir()) if is_image(path)]
        files = [path for path in files if path.name.startswith(prefix)]
        if not files:
            raise SaaneError(
                f"There are no images at {self._data / folder}: give the folder that holds it with "
                "--data."
            )
        return files

    def _embedded(self, name: str, files: list[Path]) -> Views:
        kept = self._kept(name, " ".join(path.name for path in files))
        if not kept.is_file():
            batches = [files[i : i + BATCH] for i in range(0, len(files), BATCH)]
            bar = progress(batches, name, len(batches), "batch")
            self._keep(kept, [self._embed([read_image(path) for path in one]) for one in bar])
        return self._read(kept)

    def _embed(self, images: list[NDArray[np.uint8]]) -> Views:
        projection = self._cohort.projection
        found = self._embedder.embed(images, grid=projection is not None)
        grids = [
            projection.compact(one.grid)
            for one in found
            if projection is not None and one.grid is not None
        ]
        return Views(
            np.stack([one.descriptor for one in found]), np.stack(grids) if grids else None
        )

    def _kept(self, name: str, content: str) -> Path:
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        return self._folder / f"{name}-{digest}.npz"

    def _keep(self, path: Path, parts: list[Views]) -> None:
        arrays = {"descriptors": np.concatenate([part.descriptors for part in parts])}
        grids = [part.grids for part in parts if part.grids is not None]
        if grids:
            arrays["grids"] = np.concatenate(grids)
        with replacing_file(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]

    def _read(self, path: Path) -> Views:
        with np.load(path, allow_pickle=False) as content:
            return Views(content["descriptors"], content.get("grids"))


def _every(travelled: NDArray[np.float64], metres: float) -> list[int]:
    kept = [0]
    for row, at in enumerate(travelled):
        if at - travelled[kept[-1]] >= metres - 0.1:
            kept.append(row)
    return kept
