"""What a frame costs in maps of any size: `python -m saane_ros.localization.benchmark`.

The maps are written like those of long drives. Their descriptors come from a drive through the
synthetic town: every place is a mixture of three views of it, which move along as the drive goes
on, and every street mixes another three. Frames lie between places, and differ from them by what
the town's views differ by night. Prints a table and writes it to out/bench-maps.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from saane_ros.embedding import Embedder
from saane_ros.files import replacing_file
from saane_ros.localization.localizer import Localizer
from saane_ros.progress import progress
from saane_ros.route_map.cohort import Cohort, cohort_of
from saane_ros.route_map.index_trial import NEAREST, exact_nearest
from saane_ros.route_map.info import MapInfo
from saane_ros.route_map.postprocessing import at_norm, projection_of
from saane_ros.route_map.search import MapSearch
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.writing import write_map
from saane_ros.settings import Settings
from saane_ros.types import Embedding, Place, Pose

MODEL = "saane-town"
SIZE = 512
TOWN_SEED, TOWN_M, VIEWS, RATE_HZ, SPEED_MPS = 7, 700.0, 640, 10.0, 10.0
STREET = 500
"""Places along which three views go together."""
SHARES = (1.0, 0.8, 0.6)
NIGHT = 0.5
"""Of what a view differs by night from the same by day, in the frames."""
DRIVES, DRIVEN = 10, 100
"""Drives over the map, and frames of each."""
TARGETS = "targets: 100,000 places 1 ms; 1,000,000 places 5 ms, opened in 2 s, 600 MB"

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Views:
    """Descriptors (n, SIZE) of the same views by day and by night, and of the cohort (c, SIZE)."""

    day: Floats
    night: Floats
    cohort: Floats


def town_views(views: int = VIEWS) -> Views:
    """Views of the town's drive, whitened to SIZE values at most."""
    from saane_ros.embedding.loading import load_embedder  # PyTorch stays out of what is measured

    embedder = load_embedder(MODEL, "", "cpu", "auto", 0)
    day, night = (_embedded(embedder, light, views) for light in ("day", "night"))
    cohort = cohort_of(embedder).descriptors
    mean = day.mean(axis=0)
    projection = projection_of(day - mean, SIZE)
    whitened = [at_norm((rows - mean) @ projection.T) for rows in (day, night, cohort)]
    return Views(*whitened)


def _embedded(embedder: Embedder, light: str, views: int) -> Floats:
    from saane_ros.simulation import Town, Traverse, render_many

    town = Town(TOWN_SEED, TOWN_M)
    drive = Traverse(town, light, 3, rate_hz=RATE_HZ, speed_mps=SPEED_MPS, lateral_m=0.0)
    shown = progress(render_many(drive, range(min(views, len(drive)))), f"views by {light}")
    images, rows = [], []
    for frame in shown:
        images.append(frame.image)
        if len(images) == 8:
            rows += [one.descriptor for one in embedder.embed(images)]
            images.clear()
    return np.stack(rows)


class Drive:
    """A drive of so many places: their descriptors, and those of frames on it."""

    def __init__(self, views: Views, count: int) -> None:
        self._views, self.count = views, count
        streets = -(-count // STREET)
        random = np.random.default_rng(1)
        self._first = random.uniform(0, len(views.day) - 1, (streets, len(SHARES)))
        self._pace = random.choice((-1.0, 1.0), (streets, len(SHARES)))

    def places(self, begin: int, end: int) -> Floats:
        """Descriptors of places (n, P)."""
        return self._mixed(np.arange(begin, end, dtype=np.float64), 0.0)

    def frames(self, along: NDArray[np.float64]) -> Floats:
        """Descriptors of frames so many places along (n, P)."""
        return self._mixed(along, NIGHT)

    def _mixed(self, along: NDArray[np.float64], night: float) -> Floats:
        street = np.minimum(along / STREET, len(self._first) - 1).astype(np.int64)
        into = along - street * STREET
        rows = np.zeros((len(along), self._views.day.shape[1]), np.float32)
        last = len(self._views.day) - 1
        for view, share in enumerate(SHARES):
            at = self._first[street, view] + self._pace[street, view] * into
            at = last - np.abs(at % (2 * last) - last)  # to the end of the drive and back
            low = np.minimum(at.astype(np.int64), last - 1)
            part = (at - low).astype(np.float32)[:, None]
            for row, weight in ((low, 1 - part), (low + 1, part)):
                seen = self._views.day[row]
                seen = seen + night * (self._views.night[row] - seen) if night else seen
                rows += share * weight * seen
        return at_norm(rows)


class _Rows:
    """The descriptors of a drive as an array that `write_map` reads block by block."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive
        self.shape = (drive.count, drive.places(0, 1).shape[1])

    def __getitem__(self, rows: list[int]) -> Floats:
        return self._drive.places(rows[0], rows[-1] + 1)


def write_drive(path: Path, drive: Drive, cohort: Floats) -> None:
    """Write the map of a drive that winds, two metres from place to place."""
    course = np.cumsum(0.02 * np.sin(np.arange(drive.count) / 300.0))
    steps = 2.0 * np.stack((np.cos(course), np.sin(course)), axis=1)
    # Streets lie side by side, so that none crosses another.
    points = np.cumsum(steps, axis=0) + np.arange(drive.count)[:, None] * (0.0, 1e-3)
    info = MapInfo(
        "bench", "bench", MODEL, "map", None, "now", drive.count, cohort.shape[1], "float32"
    )
    places = [
        Place(row, f"{row:07}", 10**9 * (row + 1), Pose((float(x), float(y), 0.0)))
        for row, (x, y) in enumerate(points)
    ]
    rows = _Rows(drive)
    write_map(path, info, places, rows, range(drive.count), [], Cohort(cohort))  # type: ignore[arg-type]


class _NoModel:
    """In the place of a model: the descriptors are there."""

    name, fingerprint, descriptor_size = MODEL, "bench", SIZE


def measure(path: str, views: Views, count: int) -> dict[str, float]:
    """Figures of a map, in a process of its own: opening, memory, milliseconds, recall.

    Memory is the most after any frame.
    """
    faiss.omp_set_num_threads(1)
    drive = Drive(views, count)
    RouteMap.open(path)  # read in full, once
    before = _resident_mb()
    began = time.perf_counter()
    route_map = RouteMap.open(path)
    localizer = Localizer(_NoModel(), route_map, Settings())  # type: ignore[arg-type]
    opened = time.perf_counter() - began
    times, stamp, most = [], 0, 0.0
    starts = np.linspace(0, count - 2 * DRIVEN, DRIVES)
    for start in starts:
        localizer.reset()
        for descriptor in drive.frames(start + 0.3 + np.arange(DRIVEN)):
            stamp += 10**8
            match = localizer.locate(Embedding(descriptor), stamp)
            times.append([match.timings_ms["search"], match.timings_ms["filter"]])
            memory = _resident_mb()
            if memory["RssAnon"] + memory["RssFile"] > most:
                most, of_files = memory["RssAnon"] + memory["RssFile"], memory["RssFile"]
    some = np.random.default_rng(2).uniform(0, count - 1, 200)
    recall = _recall(route_map, drive.frames(some))
    search, filtering = np.median(times, axis=0)
    whole = np.sum(times, axis=1)
    return {
        "open_s": opened,
        "memory_mb": most,
        "of_files_mb": of_files,
        "before_mb": before["RssAnon"] + before["RssFile"],
        "search_ms": float(search),
        "filter_ms": float(filtering),
        "frame_ms": float(np.median(whole)),
        "frame_p95_ms": float(np.percentile(whole, 95)),
        **recall,
    }


def _recall(route_map: RouteMap, queries: Floats) -> dict[str, float]:
    """How often the nearest place is the first found, and how many of the nearest are."""
    exact = exact_nearest(route_map.descriptors, queries, NEAREST)
    search = MapSearch(route_map)
    found = [search.nearest(query, NEAREST).places for query in queries]
    first = [nearest[0] == best[0] for nearest, best in zip(found, exact, strict=True)]
    shared = [len(np.intersect1d(a, b)) / NEAREST for a, b in zip(found, exact, strict=True)]
    return {"recall_1": float(np.mean(first)), "recall_64": float(np.mean(shared))}


def _resident_mb() -> dict[str, float]:
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split(":") for line in lines if line.startswith("Rss"))
    return {name: float(value.split()[0]) / 1024 for name, value in pairs}


def main(arguments: list[str] | None = None) -> int:
    """Write and measure maps of the given sizes."""
    parser = argparse.ArgumentParser(description="Measure what a frame costs in large maps.")
    parser.add_argument("--places", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where maps are written; a temporary one")
    parser.add_argument("--out", type=Path, default=Path("out/bench-maps.json"), help="%(default)s")
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    views = town_views()
    results: dict[int, dict[str, float]] = {}
    for count in options.places:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder) / "bench.routemap"
            began = time.perf_counter()
            write_drive(path, Drive(views, count), views.cohort)
            written = time.perf_counter() - began
            size = sum(file.stat().st_size for file in path.iterdir()) / count
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                measured = pool.apply(measure, (str(path), views, count))
            results[count] = {"write_s": written, "bytes_a_place": size, **measured}
        print(f"\n{count:,} places of {views.day.shape[1]} values, one core")
        for name, value in results[count].items():
            print(f"  {name:16} {value:10.4g}")
    print(f"\n{TARGETS}")
    with replacing_file(options.out) as part:
        part.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
