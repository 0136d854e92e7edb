"""`saane map build --bag` of several bags: a map of each drive, and of these one map."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from saane_ros.errors import SaaneError
from saane_ros.files import lock_folder, telling_full_disk
from saane_ros.fleet.shards import run_shards
from saane_ros.route_map.merge import merge_maps
from saane_ros.route_map.postprocessing import AUTO, PROJECTIONS
from saane_ros.route_map.store import RouteMap
from saane_ros.route_map.writing import check_target

_SAME_MAP = ("out", "workers", "threads", "weights", "run", "bag")
"""Options that a drive's map does not depend on; its model's weights are asked for by the build."""


def map_of_bags(
    options: argparse.Namespace, build: Callable[[argparse.Namespace], list[str]]
) -> RouteMap:
    """Build a map for every bag by `build`, which gives what is to be told of it; then join them.

    They lie in `.<name>.drives/` beside the map until it is written: what an interrupted build had
    finished is taken over. Raises SaaneError.
    """
    _check(options)
    folder = options.out.with_name(f".{options.out.name}.drives")
    with telling_full_disk(options.out):
        lock = lock_folder(folder, f"build is writing {options.out}")
    try:
        drives = [_drive(options, bag, folder) for bag in options.bag]
        told = run_shards(build, drives, options.workers, _has_devices(options))
        for bag, lines in zip(options.bag, told, strict=True):
            print("\n".join(f"{bag}: {line}" for line in lines))
        maps = [RouteMap.open(drive.out) for drive in drives]
        joined = options.postprocessing if options.postprocessing in PROJECTIONS else None
        route_map = merge_maps(maps, options.out, joined)
        shutil.rmtree(folder, ignore_errors=True)
        return route_map
    finally:
        os.close(lock)


def _check(options: argparse.Namespace) -> None:
    check_target(options.out)
    for bag in options.bag:
        if not bag.exists():
            raise SaaneError(f"There is no bag {bag}: check its name.")
    if len({bag.resolve() for bag in options.bag}) < len(options.bag):
        raise SaaneError("--bag names a bag twice: name each once.")
    if not options.pose_topic:
        raise SaaneError("Several bags need --pose-topic: their drives are joined by poses.")
    if options.postprocessing == AUTO:
        raise SaaneError("--postprocessing auto chooses for one drive: name one for several bags.")
    if options.workers > 1 and options.device.startswith("cuda:"):
        raise SaaneError(f"--device {options.device} is one for all workers: give cuda.")


def _drive(options: argparse.Namespace, bag: Path, folder: Path) -> argparse.Namespace:
    """The options of one bag; its folder is named after all that its map depends on."""
    given = {name: str(value) for name, value in vars(options).items() if name not in _SAME_MAP}
    files = [bag] if bag.is_file() else sorted(path for path in bag.rglob("*") if path.is_file())
    stamps = [(path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    known = json.dumps([given, str(bag.resolve()), stamps], sort_keys=True)
    key = hashlib.sha256(known.encode(errors="surrogateescape")).hexdigest()[:16]
    one = argparse.Namespace(**vars(options))
    one.bag, one.out, one.finished = [bag], folder / key / f"{bag.stem}.routemap", True
    one.postprocessing = "mean" if options.postprocessing in PROJECTIONS else one.postprocessing
    del one.run
    return one


def _has_devices(options: argparse.Namespace) -> bool:
    """Whether each worker is to have a GPU."""
    if options.workers == 1 or options.device not in ("auto", "cuda"):
        return False
    import torch

    return torch.cuda.is_available()
