"""What a fleet store costs: `python -m saane_ros.fleet.benchmark`.

Maps are those of `saane_ros.localization.benchmark`, and one of them has points of 24.5 kB a place
besides. Each is pushed, pushed again, pulled, and searched by frames between its places: by the
store and by the map's own folder; then a version in which one place of a hundred differs is pushed
and pulled, and the first is removed. Then versions of maps of a square kilometre are listed: all of
them, and those within 5 km of a place. settle_s is the part of a push in which the embedded edition
makes what came last and quick to search, which a server does by itself. Prints a table and writes
it to out/bench-fleet.json. --store measures a server; without it the embedded edition in a
temporary folder.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from saane_ros.files import replacing_file
from saane_ros.fleet.engine import Stored
from saane_ros.fleet.manifest import MANIFEST_ROOM, Manifest, Pieces, id_of
from saane_ros.fleet.pull import pull
from saane_ros.fleet.push import push
from saane_ros.fleet.region import Region
from saane_ros.fleet.remove import remove
from saane_ros.fleet.search import FleetIndex
from saane_ros.fleet.store import BATCH_POINTS, open_store
from saane_ros.localization.benchmark import Drive, Views, town_views, write_drive
from saane_ros.metric.cameras import camera_of
from saane_ros.metric.store import Points, row_type
from saane_ros.route_map.derived import write_derived
from saane_ros.route_map.index_trial import NEAREST, exact_nearest
from saane_ros.route_map.place_index import FOUND
from saane_ros.route_map.search import MapSearch
from saane_ros.route_map.store import RouteMap

QUERIES = 200
PLACE_BYTES = 24_500
"""Of points, as a map of `--metric` has them."""


def measure(
    path: Path, changed: Path, address: str, maps: Path, frames: NDArray[np.float32]
) -> dict[str, float]:
    """Push, pull and search the map at `path`, push and pull its version at `changed`.

    frames: descriptors (n, D) of queries.
    """
    faiss.omp_set_num_threads(1)
    route_map = RouteMap.open(path)
    size = sum(file.stat().st_size for file in path.iterdir())
    settled: list[float] = []
    with open_store(address, make=True) as store:
        settle = store.engine.settle

        def timed(room: str) -> None:
            began = time.perf_counter()
            settle(room)
            settled.append(time.perf_counter() - began)

        store.engine.settle = timed  # type: ignore[method-assign]
        began = time.perf_counter()
        report = push(store, route_map)
        pushed = time.perf_counter() - began
        settle_s = sum(settled)
        began = time.perf_counter()
        push(store, route_map, everything=False)
        again = time.perf_counter() - began
        manifest = store.manifest(route_map.info.name, report.version)
        began = time.perf_counter()
        pull(store, manifest, maps, None)
        pulled = time.perf_counter() - began
        exact = exact_nearest(route_map.descriptors, frames, NEAREST)
        fleet = _searched(MapSearch(route_map, FleetIndex(store, manifest)), frames, exact)
        settled.clear()
        began = time.perf_counter()
        anew = push(store, RouteMap.open(changed))
        changed_s = time.perf_counter() - began - sum(settled)
        newest = store.manifest(route_map.info.name, anew.version)
        began = time.perf_counter()
        pull(store, newest, maps, None)
        changed_pull_s = time.perf_counter() - began
        settled.clear()
        began = time.perf_counter()
        remove(store, [manifest])
        remove_s = time.perf_counter() - began - sum(settled)
    folder = _searched(MapSearch(route_map), frames, exact)
    return {
        "map_mb": size / 1e6,
        "push_s": pushed - settle_s,
        "settle_s": settle_s,
        "push_places_a_s": report.of_places / (pushed - settle_s),
        "push_mb_a_s": size / 1e6 / (pushed - settle_s),
        "push_again_s": again,
        "pull_s": pulled,
        "pull_places_a_s": report.of_places / pulled,
        "pull_mb_a_s": size / 1e6 / pulled,
        "changed_places": anew.places,
        "changed_push_s": changed_s,
        "changed_pull_s": changed_pull_s,
        "remove_s": remove_s,
        **{f"store_{name}": value for name, value in fleet.items()},
        **{f"folder_{name}": value for name, value in folder.items()},
    }


def _searched(
    search: MapSearch, frames: NDArray[np.float32], exact: NDArray[np.int64]
) -> dict[str, float]:
    times, first, shared = [], [], []
    for query, best in zip(frames, exact, strict=True):
        began = time.perf_counter()
        found = search.nearest(query, NEAREST).places
        times.append(1e3 * (time.perf_counter() - began))
        first.append(found[0] == best[0])
        shared.append(len(np.intersect1d(found, best)) / NEAREST)
    return {
        "search_ms": float(np.median(times)),
        "search_p95_ms": float(np.percentile(times, 95)),
        "recall_1": float(np.mean(first)),
        "recall_64": float(np.mean(shared)),
    }


def listed(address: str, count: int) -> dict[str, float]:
    """List so many versions, ten of each map, and those near a place."""
    side = math.ceil(math.sqrt(count / 10))
    files = {f"file {i}": Pieces(1 << 20, (id_of(bytes([i])),)) for i in range(10)}
    points = []
    for number in range(count):
        south, west = 48 + 0.009 * (number // 10 // side), 11 + 0.0135 * (number // 10 % side)
        one = Manifest(
            *(f"map {number // 10}", f"{number % 10:012}", "", f"{number % 10}", "", "m", "f"),
            *(1000, 512, "float32", "none", "enu", (south, west, 0.0)),
            *((south, west, south + 0.009, west + 0.0135), {"descriptors.npy": ""}, True, files),
        )
        points.append(Stored(one.id, one.payload()))
    middle = np.array([[48 + 0.0045 * side, 11 + 0.00675 * side]])
    region = Region(middle, 5000.0)
    times = []
    with open_store(address, make=True) as store:
        store.make_room(MANIFEST_ROOM, 0)
        for start in range(0, count, BATCH_POINTS):
            store.engine.insert(MANIFEST_ROOM, points[start : start + BATCH_POINTS])
        store.engine.settle(MANIFEST_ROOM)
        for box in (None, region.box):
            began = time.perf_counter()
            found = [one for one in store.manifests(touching=box) if region.touches(one)]
            times.append(time.perf_counter() - began)
    return {"versions": count, "list_s": times[0], "near_s": times[1], "near": len(found)}


def with_points(route_map: RouteMap, path: Path) -> RouteMap:
    """The same map with so many bytes of points a place, of noise: nothing looks at them here."""
    places, kind = len(route_map.places), row_type(128)
    each = PLACE_BYTES // kind.itemsize
    noise = np.random.default_rng(3).integers(0, 255, places * each * kind.itemsize, np.uint8)
    camera = camera_of(640, 480, "", (400, 0, 320, 0, 400, 240, 0, 0, 1), (), "the benchmark")
    starts = np.arange(places + 1, dtype=np.int64) * each
    points = Points("noise", camera, places * each, 1.0, starts, noise.view(kind))
    rows = range(places)
    listed = list(route_map.places)
    return write_derived(path, route_map, listed, route_map.descriptors, rows, None, None, points)


def with_changes(route_map: RouteMap, path: Path) -> RouteMap:
    """The same map with another descriptor at every hundredth place."""
    descriptors = np.array(route_map.descriptors)
    descriptors[::100] = descriptors[::100][:, ::-1]
    rows = range(len(descriptors))
    listed = list(route_map.places)
    return write_derived(path, route_map, listed, descriptors, rows, None, None, route_map.points)


def main(arguments: list[str] | None = None) -> int:
    """Measure maps of the given sizes."""
    parser = argparse.ArgumentParser(description="Measure what a fleet store costs.")
    parser.add_argument("--places", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--versions", type=int, default=10_000, help="of maps that are listed")
    parser.add_argument("--store", default="", help="address of a server")
    parser.add_argument("--folder", type=Path, help="where maps are written; a temporary one")
    parser.add_argument(
        "--out", type=Path, default=Path("out/bench-fleet.json"), help="%(default)s"
    )
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    views = town_views()
    results: dict[str, dict[str, float]] = {}
    makers: dict[str, tuple[int, Callable[[RouteMap, Path], RouteMap] | None]] = {
        f"{count:,} places": (count, None) for count in options.places
    }
    if options.places:
        least = min(options.places)
        makers[f"{least:,} places with points"] = (least, with_points)
    for name, (count, change) in makers.items():
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            results[name] = _measured(Path(folder), views, count, change, options.store)
        print(f"\n{name} of {views.day.shape[1]} values; nearest of {FOUND}")
        for key, value in results[name].items():
            print(f"  {key:18} {value:10.4g}", flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        name = f"{options.versions:,} versions"
        results[name] = listed(options.store or place, options.versions)
    print(f"\n{name}: {results[name]}")
    with replacing_file(options.out) as part:
        part.write_text(json.dumps(results, indent=2) + "\n")
    return 0


def _measured(
    folder: Path,
    views: Views,
    count: int,
    change: Callable[[RouteMap, Path], RouteMap] | None,
    address: str,
) -> dict[str, float]:
    path, drive = folder / "bench.routemap", Drive(views, count)
    write_drive(path, drive, views.cohort)
    if change is not None:
        path = change(RouteMap.open(path), folder / "points.routemap").path
    route_map = RouteMap.open(path)
    changed = with_changes(route_map, folder / "changed" / path.name).path
    along = np.random.default_rng(2).uniform(0, count - 1, QUERIES)
    frames = drive.frames(along)
    found = measure(path, changed, address or str(folder / "store"), folder / "maps", frames)
    # Some files are made large at once, and empty.
    blocks = sum(file.stat().st_blocks for file in (folder / "store").rglob("*"))
    return {**found, "store_mb": 512 * blocks / 1e6}


if __name__ == "__main__":
    sys.exit(main())
